"""`openmimo generate`: rows in, rows out in the same order, equal to the engine; bad rows stop it before it starts."""

import io
import json
import shutil
import sys

import pytest
import torch
from miniature import CONFIG, VOCABULARY, checkpoint_folder

from openmimo import cli
from openmimo.errors import UserError
from openmimo.infer.engine import Request, generate
from openmimo.infer.generate import generate_file
from openmimo.infer.load import end_ids, load_engine
from openmimo.model.hub import load_checkpoint
from openmimo.model.transformer import token_logprobs

CHAT = [{"role": "user", "content": "What is 2 + 2?"}]
ROWS = [{"prompt": "2 + 2 ="}, {"messages": CHAT}, {"token_ids": [5, 6, 7]}, {"prompt": "Ask for the sum"}] * 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Some ids more end a text, so that some texts end."""
    folder = checkpoint_folder(tmp_path_factory.mktemp("generate") / "model")
    config = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": list(range(20, 40))}))
    return folder


@pytest.fixture
def run(folder, tmp_path):
    """Answers rows (or raw lines); returns (output rows, summary)."""

    def answered(rows, max_tokens=12, temperature=1.0, top_p=1.0, seed=3, mtp=0, checkpoint=folder):
        path, out = tmp_path / "prompts.jsonl", io.StringIO()
        path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
        summary = generate_file(checkpoint, path, max_tokens, temperature, top_p, seed, mtp, out)
        return [json.loads(line) for line in out.getvalue().splitlines()], summary

    return answered


def test_rows_come_back_in_order_as_the_engine_gives_them(folder, run):
    found, summary = run(ROWS)
    engine, tokenizer = load_engine(folder, 3)
    prompts = [
        tokenizer.encode(r["prompt"]) if "prompt" in r else tokenizer.encode_chat(r["messages"]) if "messages" in r
        else r["token_ids"] for r in ROWS
    ]  # fmt: skip
    events = generate(engine, [Request(tuple(p), 12, ("generate", n), 1.0, seed=3) for n, p in enumerate(prompts)])
    assert len(found) == len(ROWS) and {e.finish_reason for e in events} == {"stop", "length"}
    for row, event in zip(found, events, strict=True):
        assert list(row) == ["text", "token_ids", "logprobs", "finish_reason"]
        assert (row["token_ids"], row["finish_reason"]) == (event.token_ids, event.finish_reason)
        assert row["logprobs"] == pytest.approx(event.logprobs, abs=1e-5)
        stopped = event.finish_reason == "stop"
        assert stopped == (event.token_ids[-1] in end_ids(folder, tokenizer))
        assert row["text"] == tokenizer.decode(event.token_ids[:-1] if stopped else event.token_ids)
    assert summary["rows"] == len(ROWS) and summary["tokens"] == sum(len(e.token_ids) for e in events)


def test_logprobs_are_of_the_unfiltered_logits_at_temperature_1(folder, run):
    (row,), _ = run([{"token_ids": [5, 6, 7]}], temperature=0.7, top_p=0.5)
    model, ids = load_checkpoint(folder), torch.tensor([[5, 6, 7, *row["token_ids"]]])
    with torch.no_grad():
        logits = model.logits(model(ids, torch.arange(ids.shape[1])[None]))[0, 2:-1]
    expected = token_logprobs(logits, ids[0, 3:])
    assert row["logprobs"] == pytest.approx(expected.tolist(), abs=1e-5)
    assert row["logprobs"] != pytest.approx(token_logprobs(logits / 0.7, ids[0, 3:]).tolist(), abs=1e-2)  # control


def test_the_seed_and_the_row_number_decide(run):
    same = [{"token_ids": [5, 6, 7]}] * 6
    one, again, other = run(same)[0], run(same)[0], run(same, seed=4)[0]
    assert one == again != other and len({tuple(row["token_ids"]) for row in one}) > 1
    greedy = run(same, temperature=0.0)[0]
    assert len({tuple(row["token_ids"]) for row in greedy}) == 1


def test_a_folder_without_a_tokenizer_takes_token_ids(folder, run, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    for path in bare.glob("tokenizer*"):
        path.unlink()
    (row,), _ = run([{"token_ids": [5, 6, 7]}], checkpoint=bare)
    assert row["text"] is None and len(row["token_ids"]) == len(row["logprobs"]) > 0
    with pytest.raises(UserError, match="prompts.jsonl:1: the checkpoint has no tokenizer"):
        run([{"prompt": "2"}], checkpoint=bare)


def test_the_end_ids_of_every_file_count(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": [7, 9]}))
    _, tokenizer = load_engine(copy, 1)
    assert set(end_ids(copy, tokenizer)) == {tokenizer.eos_id, 7, 9}


BAD = [
    ("not json", "not JSON"),
    ("[1]", "an object with one of prompt, messages, token_ids"),
    ("{}", "an object with one of"),
    ({"prompt": "a", "token_ids": [1]}, "an object with one of"),
    ({"prompt": "a", "temperature": 1}, "unknown key 'temperature'"),
    ({"prompt": 3}, "`prompt` must be text"),
    ({"prompt": ""}, "must not be empty"),
    ({"messages": []}, "`messages` must be"),
    ({"messages": [{"role": "user"}]}, "`messages` must be"),
    ({"token_ids": []}, "must not be empty"),
    ({"token_ids": [1, "2"]}, "list of whole numbers"),
    ({"token_ids": [True]}, "list of whole numbers"),
    ({"token_ids": [1.0]}, "list of whole numbers"),
    ({"token_ids": [-1]}, "token id -1 is not in the model's vocabulary"),
    ({"token_ids": [CONFIG.vocab_size]}, f"token id {CONFIG.vocab_size} is not in"),
    ({"token_ids": [5] * (CONFIG.max_length - 11)}, "exceeds the model's 96 positions; --max-tokens may be at most 11"),
]


@pytest.mark.parametrize(("row", "reason"), BAD, ids=[reason[:20] for _, reason in BAD])
def test_a_bad_row_is_named_and_nothing_is_written(run, row, reason):
    """Its line in the file, after a good row; the error comes before the first line of output."""
    with pytest.raises(UserError) as caught:
        run([ROWS[0], row])
    message = str(caught.value)
    assert "prompts.jsonl:2: " in message and reason in message and "\n" not in message
    assert VOCABULARY < CONFIG.vocab_size


@pytest.mark.parametrize(
    ("text", "mtp", "reason"), [("\n", 0, "no rows"), (None, 0, "no such file"), ('{"prompt": "2"}', 9, "use --mtp 1")]
)
def test_a_bad_file_or_option_is_named(folder, tmp_path, text, mtp, reason):
    path = tmp_path / "prompts.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=reason):
        generate_file(folder, path, 5, 1.0, 1.0, 0, mtp, io.StringIO())


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    """JSONL on stdout, the summary in the last line on stderr; a bad row is one line and exit code 2."""
    path = tmp_path / "prompts.jsonl"

    def call(text, *more):
        path.write_text(text)
        argv = ["openmimo", "generate", folder, "--prompts", path, "--max-tokens", 5, "--seed", 1, *more]
        monkeypatch.setattr(sys, "argv", [str(a) for a in argv])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code, *capsys.readouterr()

    code, out, err = call('{"prompt": "2 + 2"}\n{"prompt": "3"}\n', "--mtp", 1)
    assert code == 0 and all(1 <= len(json.loads(line)["token_ids"]) <= 5 for line in out.splitlines())
    summary = json.loads(err.splitlines()[-1])
    assert summary["rows"] == 2 == len(out.splitlines()) and summary["drafted"][0] >= summary["accepted"][0] >= 0
    assert call('{"prompt": "2 + 2"}\n{"prompt": "3"}\n')[1] == out  # the text is the same without MTP
    code, out, err = call('{"prompt": "2 + 2"}\n{}\n')
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("openmimo: ") and "prompts.jsonl:2: a row is an object" in err
