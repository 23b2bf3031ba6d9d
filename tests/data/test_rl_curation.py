"""RL curation of a file of problems: each step by hand, and pass rates from the project's own server."""

import json

import pytest
from rich.console import Console
from test_synth import BARE, SUMS, folder, url  # noqa: F401 - fixtures

from openmimo.data.asking import Asking
from openmimo.data.synthesis import curate
from openmimo.data.synthesis.band import Band
from openmimo.data.synthesis.curate_file import run_curate
from openmimo.data.synthesis.synth import Sampling
from openmimo.errors import UserError
from openmimo.rows import Problem, Test, read_rows, write_rows

HOW = Sampling(max_tokens=24, temperature=1.0, top_p=1.0)


def math(name: str, text: str, answer: str = "1") -> Problem:
    return Problem(name, "math", [{"role": "user", "content": text}], answer=answer)


def code(name: str, golden: str | None = "def f(x):\n    return 2 * x\n", tests: int = 1) -> Problem:
    return Problem(name, "code", [{"role": "user", "content": f"Double the number, problem {name}."}], entry_point="f",
                   tests=[Test(str(n), "call", [n], 2 * n) for n in range(tests)], golden=golden)  # fmt: skip


@pytest.mark.parametrize(
    "text, kind",
    [
        ("What is 2 + 3?", "answer"),
        ("Prove that there are infinitely many primes.", "proof"),
        ("Let n be even. Show that n^2 is divisible by 4.", "proof"),
        ("Show that n is even, and find the largest such n below 100.", "answer"),
        ("Which is prime?\n(A) 4\n(B) 5\n(C) 6\n(D) 8", "choice"),
        (r"The sum is $\textbf{(A) } 1 \qquad \textbf{(B) } 2 \qquad \textbf{(C) } 3$", "choice"),
        ("Points A, B and C lie on a line. Find AC.", "answer"),
        ("Explain why the sky is blue.", "proof"),
    ],
)
def test_kinds_by_rules(text, kind):
    assert curate.kind_by_rules(text) == kind


def test_steps_without_a_model(tmp_path):
    problems = [math("a", "What is 2 + 3?"), math("b", "What is 2 + 3 ?"), math("p", "Prove that 2 is prime."), code("c"), code("w", "def f(x):\n    return x\n", 3),
                code("n", tests=0), math("t", "How many ways are there to tile a floor of 3 by 8 squares with dominoes, if no two may share a long side?")]  # fmt: skip
    write_rows(tmp_path / "p.jsonl", problems)
    (tmp_path / "b.jsonl").write_text(json.dumps({"problem": problems[-1].messages[0]["content"].upper()}) + "\n")
    none = dict.fromkeys(("server", "model", "strong", "classifier", "per_minute", "prompt_file"))
    how = dict(n=16, rollouts=4, most=0.9, sampling=HOW, workers=2, console=Console(file=(tmp_path / "log").open("w")))
    counts = run_curate(tmp_path / "p.jsonl", tmp_path / "o.jsonl", [f"mine={tmp_path / 'b.jsonl'}"], **none, **how)
    assert [p.id for p in read_rows(tmp_path / "o.jsonl", Problem)] == ["a", "c"]
    assert counts == {
        "problems": 7,
        "proofs": 1,
        "code without tests": 1,
        "near-duplicates": 1,
        "overlap with a benchmark": 1,
        "golden program fails": 1,
        "kept": 2,
    }
    assert json.loads((tmp_path / "o.jsonl.json").read_text()) == counts
    with pytest.raises(UserError, match="no --server"):
        run_curate(tmp_path / "p.jsonl", tmp_path / "o.jsonl", [], **none | {"model": "m"}, **how)


def test_pass_rates_of_a_real_model(url, tmp_path):  # noqa: F811
    """The verdicts are those of all rollouts, with fewer asked; a problem that nobody solves goes as too hard."""
    hopeless = math("hopeless", "What is 7 + 9?", "1000")
    problems = [*SUMS, hopeless]
    with Asking(url, "sums", tmp_path / "full", 8) as asking:
        full = curate.right_of(problems, asking, HOW, BARE, lambda p: Band(8, 1.0, 8))  # settled by the first wrong one
        every = {p.id: [] for p in problems}
        for p in problems:
            given = [asking(curate._ask(tuple(p.messages), n, HOW)) for n in range(8)]
            with curate.Verifier([p]) as verifier:
                every[p.id] = verifier.right([(p, curate.response_of(a), a.finish_reason) for a in given])
    for p in problems:
        right, done = full[p.id]
        assert (right, done) == (sum(every[p.id][:done]), every[p.id].index(False) + 1 if False in every[p.id] else 8)
    with Asking(url, "sums", tmp_path / "some", 8) as asking:
        kept, dropped = curate.keep_solvable(problems, asking, HOW, BARE, 8)
        assert [p.id for p in kept] == [p.id for p in problems if any(every[p.id])] and "hopeless" not in {
            p.id for p in kept
        }
        kept, dropped = curate.keep_hard(kept, asking, HOW, BARE, 8, 0.6)
    assert [p.id for p in kept] == [p.id for p in problems if any(every[p.id]) and sum(every[p.id]) <= 4]
    assert dropped["rollouts not needed"] > 0 and asking.asked < 7 * 8


def test_the_file_with_a_model(url, tmp_path):  # noqa: F811
    write_rows(tmp_path / "p.jsonl", SUMS)
    (tmp_path / "bare.toml").write_text(
        "[analysis]\n[solve]\n[creative]\n[refusals]\npatterns = ['^sorry']\n[classify]\nprompt = '{text}'\n"
    )
    how = dict(against=[], n=16, server=url, model="sums", strong="sums", classifier="sums", rollouts=4, most=0.8, sampling=HOW,
               workers=4, per_minute=None, prompt_file=tmp_path / "bare.toml", console=Console(file=(tmp_path / "log").open("w")))  # fmt: skip
    counts = run_curate(tmp_path / "p.jsonl", tmp_path / "o.jsonl", **how)
    first = (tmp_path / "o.jsonl").read_bytes()
    assert (
        counts["kept"] == first.count(b"\n")
        and counts["kept"] + counts["solved too often"] + counts["strong model never solves it"] == 6
    )
    again = run_curate(tmp_path / "p.jsonl", tmp_path / "o.jsonl", **how)
    assert (tmp_path / "o.jsonl").read_bytes() == first and "requests" not in again
