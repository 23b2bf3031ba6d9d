"""Synthesis against the project's own server with a small trained model: verified, stopped in time, resumed, counted."""

import json
import re
import socket
import threading
from collections import Counter

import pytest
import torch
import uvicorn
from conftest import openmimo
from miniature import TEXT
from rich.console import Console

from openmimo.data.asking import Asking, key_of, read_cache
from openmimo.data.overlap.near import Seen
from openmimo.data.synthesis.synth import (
    Query,
    Sampling,
    prompts,
    reason_to_drop,
    response_of,
    solve_queries,
    synthesise,
)
from openmimo.data.synthesis.synth_file import run_synth
from openmimo.data.synthesis.verify import Verifier
from openmimo.errors import UserError
from openmimo.infer.backends import Answer, Ask
from openmimo.infer.load import load_engine
from openmimo.infer.server import app_of
from openmimo.model.config import ModelConfig
from openmimo.model.hub import save_checkpoint
from openmimo.model.tokenizer import Tokenizer, train_bpe
from openmimo.model.transformer import Transformer
from openmimo.rows import Problem, Test, write_rows

torch.set_num_threads(1)
SUMS = [
    Problem(f"p{n}", "math", [{"role": "user", "content": f"What is {n} + 2?"}], answer=str(n + 2)) for n in range(6)
]
BARE = prompts() | {"solve": {}}  # the model is too small for instructions
SAMPLING = Sampling(max_tokens=24, temperature=1.0, top_p=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint that knows some sums: each question with the right answer twice, and with a wrong one."""
    folder = tmp_path_factory.mktemp("sums")
    said = [f"\\boxed{{{n + 2}}}" for n in range(6)]
    train_bpe(
        [TEXT + "".join(p.messages[0]["content"] + s for p, s in zip(SUMS, said, strict=True)) * 5],
        290,
        folder / "tokenizer",
    )
    tokenizer = Tokenizer.load(folder / "tokenizer")
    torch.manual_seed(0)
    config = ModelConfig(vocab_size=304, hidden_size=64, layers=2, heads=4, kv_heads=2, head_dim=16, ffn_size=128, max_length=256,
                         rope_base=500.0, mtp_layers=0)  # fmt: skip
    model = Transformer(config)
    rows = []
    for p, right in zip(SUMS, said, strict=True):
        for answer in (right, right, "\\boxed{9}"):
            rows.append(tokenizer.encode_chat(p.messages) + tokenizer.encode(answer) + [tokenizer.eos_id])
    length = max(map(len, rows))
    ids = torch.tensor([row + [tokenizer.eos_id] * (length - len(row)) for row in rows])
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    places = torch.arange(length - 1)[None].expand(len(rows), -1)
    for _ in range(100):
        loss = torch.nn.functional.cross_entropy(
            model.logits(model(ids[:, :-1], places)).flatten(0, 1), ids[:, 1:].flatten()
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return save_checkpoint(folder / "model", model.eval(), folder / "tokenizer")


@pytest.fixture(scope="module")
def url(folder):
    """Its address."""
    engine, tokenizer = load_engine(folder, slots=8)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app_of(engine, tokenizer, "sums"), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


def solve(url, cache, right=2, budget=8, workers=8):
    with Asking(url, "sums", cache, workers, price_in=1.0, price_out=10.0) as asking:
        found = synthesise(list(solve_queries(SUMS, BARE)), asking, SAMPLING, BARE, right=right, budget=budget)
    return *found, asking


def test_solutions_are_verified_and_a_query_stops_in_time(url, tmp_path):
    """A model that is right about two times in three; identical right answers count as one, so that --right 2 spends the budget."""
    kept, dropped, counts, asking = solve(url, tmp_path / "a", right=1)
    assert len(kept) >= 4 and {row["query_id"] for row in kept} <= {p.id for p in SUMS}
    for row in kept:
        number = int(re.search(r"\d+", row["messages"][0]["content"])[0])
        assert (
            f"\\boxed{{{number + 2}}}" in row["messages"][-1]["content"]
            and row["messages"][0] == SUMS[number].messages[0]
        )
    assert counts["kept"] == len(kept) and asking.asked == len(kept) + len(dropped) <= 6 * 8
    for problem in SUMS:  # asked until the first right one, and no more
        mine = sorted([r["sample"] for r in kept + dropped if r["query_id"] == problem.id])
        right = [r["sample"] for r in kept if r["query_id"] == problem.id]
        assert mine == list(range(len(mine))) and (right == [mine[-1]] or len(mine) == 8)
    assert any(row["reason"] == "wrong answer" for row in dropped)
    more, dropped, counts, asking = solve(url, tmp_path / "b", right=2, budget=4)
    assert counts["dropped, near-duplicate"] and all(
        sum(r["query_id"] == p.id for r in more + dropped) == 4 for p in SUMS
    )


def test_the_cache_resumes_and_nothing_depends_on_the_workers(url, tmp_path):
    whole = solve(url, tmp_path / "a")
    lines = (tmp_path / "a").read_bytes().splitlines(keepends=True)
    (tmp_path / "b").write_bytes(b"".join(lines[:5]) + lines[5][:20])  # stopped in the middle of a line
    again = solve(url, tmp_path / "b", workers=1)
    assert again[:3] == whole[:3] and again[3].asked == whole[3].asked - 5 and again[3].cached == 5
    third = solve(url, tmp_path / "b")
    assert third[:3] == whole[:3] and third[3].asked == 0 and third[3].cost == 0
    assert len(read_cache(tmp_path / "b")) == len(lines)


def test_tokens_and_cost(url, tmp_path):
    *_, asking = solve(url, tmp_path / "a", right=1)
    answers = list(read_cache(tmp_path / "a").values())
    assert (
        asking.tokens_out == sum(a.tokens for a in answers) > 0
        and asking.tokens_in == sum(a.prompt_tokens for a in answers) > 0
    )
    assert asking.cost == pytest.approx((asking.tokens_in + 10 * asking.tokens_out) / 1e6)


def test_the_rate_is_kept(url, tmp_path):
    import time

    with Asking(url, "sums", tmp_path / "a", 8, per_minute=600) as asking:
        began = time.monotonic()
        asks = [Ask(tuple(SUMS[0].messages), 4, 1.0, 1.0, seed) for seed in range(6)]
        assert len(list(asking.each(asking, asks))) == 6
        assert time.monotonic() - began >= 0.5  # six requests, a tenth of a second apart


def test_a_request_is_known_by_its_whole_content():
    ask = Ask(({"role": "user", "content": "a"},), 4)
    others = [
        Ask(({"role": "user", "content": "b"},), 4),
        Ask(ask.messages, 5),
        Ask(ask.messages, 4, 0.5),
        Ask(ask.messages, 4, seed=1),
    ]
    assert len({key_of("m", ask), key_of("n", ask), *(key_of("m", other) for other in others)}) == 6


class Scripted:
    """In the place of Asking, for what a small model never says."""

    model, workers = "m", 1

    def __init__(self, *answers):
        self.answers = list(answers)

    def __call__(self, ask):
        return self.answers.pop(0)

    def each(self, work, items):
        return map(work, items)


def test_what_is_dropped():
    texts = prompts()
    said = lambda text, reasoning="", finish="stop": Answer(reasoning, text, finish, 3)  # noqa: E731
    for answer, reason in [
        (said("Fine."), None), (said("Fine.", "As 1 < 2."), None), (said("Fine.", finish="length"), "no end of sequence (length)"),
        (said("", "and then"), "nothing after </think>"), (said("", ""), "empty response"), (said("<think>and"), "unclosed <think>"),
        (said("I'm sorry, but no."), "refusal"), (said("Sorry, I can't."), "refusal"), (said("As an AI language model I"), "refusal"),
        (said("The village is sorry."), None), (said("The sum of the two is seven, и это все, as one can see"), "mixed language"),
    ]:  # fmt: skip
        assert reason_to_drop(answer, texts["refusal"]) == reason, answer
    queries = [Query(str(n), ({"role": "user", "content": "Write."},), "s") for n in range(3)]
    long = "Once there was a small shop at the end of the street that sold nothing but old clocks."
    kept, dropped, counts = synthesise(
        queries, Scripted(said(long), said(long + " Really."), said("A poem.")), SAMPLING, texts
    )
    assert [r["query_id"] for r in kept] == ["0", "2"] and dropped[0]["reason"] == "near-duplicate"
    assert counts == {"kept": 2, "dropped, near-duplicate": 1} and response_of(said("b", "a")) == "<think>a</think>b"


def test_programs_are_judged():
    problem = Problem(
        "c", "code", [{"role": "user", "content": "Double x."}], entry_point="f", tests=[Test("0", "call", [2], 4)]
    )
    right, wrong = "```python\ndef f(x):\n    return 2 * x\n```", "```python\ndef f(x):\n    return 3 * x\n```"
    with Verifier([problem, *SUMS]) as verifier:
        given = [
            (problem, right, "stop"),
            (SUMS[1], "\\boxed{3}", "stop"),
            (problem, wrong, "stop"),
            (problem, right, "length"),
            (SUMS[1], "3", "stop"),
        ]
        assert verifier.right(given) == [True, True, False, False, False]


def test_near_duplicates():
    seen = Seen(0.8)
    text = " ".join(f"word{n}" for n in range(60))
    assert (
        seen.add(text)
        and not seen.add(text.upper() + "!")
        and not seen.add(text + " more")
        and seen.add("other " + text[:200])
    )
    assert seen.add("") and not seen.add("") and seen.add("two words") and not seen.add("Two words.")


def test_the_files_and_the_command(url, tmp_path):
    write_rows(tmp_path / "p.jsonl", SUMS)
    (tmp_path / "bare.toml").write_text(
        (prompts_text()).replace('math = "Reason step by step. Put the final answer into \\\\boxed{}."', 'math = ""')
    )
    options = [
        "--server",
        url,
        "--model",
        "sums",
        "--max-tokens",
        24,
        "--temperature",
        1,
        "--top-p",
        1,
        "--prompts",
        tmp_path / "bare.toml",
    ]
    found = openmimo("data", "synth", "solve", tmp_path / "p.jsonl", "--out", tmp_path / "s.jsonl", *options)
    assert found.returncode == 0, found.stderr
    counts, rows = json.loads((tmp_path / "s.jsonl.json").read_text()), (tmp_path / "s.jsonl").read_text().splitlines()
    assert counts["kept"] == len(rows) and counts["requests"] == counts["kept"] + len(
        (tmp_path / "s.jsonl.dropped").read_text().splitlines()
    )
    before = (tmp_path / "s.jsonl").read_bytes()
    again = openmimo("data", "synth", "solve", tmp_path / "p.jsonl", "--out", tmp_path / "s.jsonl", *options)
    assert again.returncode == 0 and (tmp_path / "s.jsonl").read_bytes() == before and "requests: 0" in again.stdout
    bad = openmimo("data", "synth", "sing", "--out", tmp_path / "x", *options)
    assert bad.returncode == 2 and "not one of" in bad.stderr


def prompts_text() -> str:
    from importlib import resources

    return resources.files("openmimo.data").joinpath("prompts/synthesis.toml").read_text()


def test_analyses_and_writing(url, tmp_path):
    documents = [{"id": f"d{n}", "url": "", "title": "", "text": f"Passage {n}: as a + {n} = b, b > a.", "source": "s",
                  "meta": {"tags": {"reasoning_depth": n}}} for n in range(4)]  # fmt: skip
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    (tmp_path / "q.jsonl").write_text(
        '{"query": "What is 2 + 2?"}\n{"messages": [{"role": "user", "content": "What is 1 + 2?"}]}\n'
    )
    (tmp_path / "short.toml").write_text(
        "[analysis]\nprompts = ['''{text}''']\n[solve]\n[creative]\nforms = ['a', 'b']\ntopics = ['c', 'd']\nprompt = 'What is {form} + {topic}?'\n"
        "[refusals]\npatterns = ['^sorry']\n"
    )
    console = Console(file=open(tmp_path / "log", "w"))
    how = dict(server=url, model="sums", sampling=SAMPLING, right=1, budget=1, workers=4, per_minute=None, price_in=0, price_out=0,
               prompt_file=tmp_path / "short.toml", console=console)  # fmt: skip
    counts = run_synth("analysis", tmp_path / "d.jsonl", tmp_path / "a", samples=2, least_depth=2.0, **how)
    assert counts["documents below the depth"] == 2 and counts["queries"] == 2
    assert sum(n for what, n in counts.items() if what.startswith(("kept", "dropped"))) == 4
    counts = run_synth("general", tmp_path / "q.jsonl", tmp_path / "g", samples=1, least_depth=0, **how)
    assert counts["queries"] == 2
    counts = run_synth("creative", None, tmp_path / "c", samples=3, least_depth=0, **how)
    asked = Counter(
        json.loads(line)["messages"][0]["content"]
        for name in ("c", "c.dropped")
        for line in (tmp_path / name).read_text().splitlines()
    )
    assert (
        counts["queries"] == 3
        and set(asked.values()) == {1}
        and all(re.fullmatch(r"What is [ab] \+ [cd]\?", text) for text in asked)
    )
    with pytest.raises(UserError, match="give a file"):
        run_synth("solve", None, tmp_path / "a", samples=1, least_depth=0, **how)
    with pytest.raises(UserError, match="no such file"):
        run_synth("solve", tmp_path / "nowhere.jsonl", tmp_path / "a", samples=1, least_depth=0, **how)
    with pytest.raises(UserError, match="nothing to ask"):
        run_synth("analysis", tmp_path / "d.jsonl", tmp_path / "a", samples=1, least_depth=9.0, **how)
    with pytest.raises(UserError, match="status 404"):
        run_synth("creative", None, tmp_path / "e", samples=1, least_depth=0, **how | {"model": "other"})


def test_a_teacher_whose_replies_cannot_be_read(url, tmp_path):
    """A server's model that knows sums alone is asked for labels: every page twice, then it is said."""
    from openmimo.data.tags.tagging import run_tag

    (tmp_path / "r.toml").write_text(
        'prompt = "{text}"\n[heads.tone]\nkind = "class"\nvalues = ["dry", "warm"]\nquestion = "?"\n'
    )
    rows = [{"id": str(n), "url": "", "title": "", "text": f"What is {n} + 2?", "source": "s"} for n in range(3)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    console = Console(file=(tmp_path / "log").open("w"))
    with pytest.raises(UserError, match="no reply of 'sums' could be read"):
        run_tag(
            tmp_path / "d.jsonl",
            None,
            tmp_path / "l.jsonl",
            None,
            url,
            "sums",
            tmp_path / "r.toml",
            9,
            16,
            2,
            None,
            0,
            console,
        )
    assert len(read_cache(tmp_path / "l.jsonl.asked")) == 6
