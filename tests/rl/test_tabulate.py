"""`openmimo rl difficulty`: rollouts of several models in, a table with a hash out; and RL that uses one."""

import json
from fractions import Fraction as F

import pytest
from conftest import openmimo
from miniature import checkpoint_folder

from openmimo.rl.difficulty import DifficultyTable
from openmimo.rows import Problem, Rollout, Test, TestVerdict, write_rows

ASK = [{"role": "user", "content": "?"}]


def rollout(model, verdicts, problem="p"):
    found = [TestVerdict(test, verdict) for test, verdict in zip("abcd", verdicts, strict=False)]
    return Rollout(problem, model, 0, 0, 0, 0, [], [], "stop", verdicts=found)


@pytest.fixture
def files(tmp_path):
    tests = [Test(name, "call", [n], n) for n, name in enumerate("abcd")]
    write_rows(tmp_path / "problems.jsonl", [Problem("p", "code", ASK, entry_point="f", tests=tests),
                                             Problem("q", "code", ASK, entry_point="f", tests=tests[:1])])  # fmt: skip
    strong, weak = [("AC", "AC", "WA"), ("AC", "AC", "RE")], [("AC", "WA", "TLE"), ("AC", "IE", "WA")]
    write_rows(tmp_path / "strong.jsonl", [rollout("strong", row) for row in strong])
    write_rows(tmp_path / "weak.jsonl", [rollout("weak", row) for row in weak] + [rollout("weak", "")])
    return tmp_path


def test_a_table_of_several_models(files):
    inputs = [files / "strong.jsonl", files / "weak.jsonl"]
    found = openmimo("rl", "difficulty", *inputs, "--problems", files / "problems.jsonl", "--out", files / "a.json")
    assert found.returncode == 0, found.stderr
    table = DifficultyTable.load(files / "a.json")
    assert table.passrates == {"p": {"a": F(1), "b": F(2, 3), "c": F(0), "d": None}, "q": {"a": None}}
    assert table.levels == {"p": [["a"], ["b"], ["c", "d"]], "q": [["a"]]}
    assert "4 solutions, 2 problems, 5 tests: 1 never passed, 2 of unknown rate" in found.stdout
    assert table.hash[:16] in found.stdout
    again = openmimo(
        "rl", "difficulty", *inputs[::-1], "--problems", files / "problems.jsonl", "--out", files / "b.json"
    )
    assert again.returncode == 0 and (files / "a.json").read_bytes() == (files / "b.json").read_bytes()


def test_rows_of_judge_run(files):
    programs = ["def f(n):\n    return n", "def f(n):\n    return 0", "def f(n):\n    return min(n, 2)"]
    solutions = [json.dumps({"task_id": "p", "solution": program}) for program in programs]
    (files / "solutions.jsonl").write_text("\n".join(solutions))
    judged = openmimo("judge", "run", files / "problems.jsonl", files / "solutions.jsonl", "--json")
    assert judged.returncode == 0, judged.stderr
    (files / "verdicts.jsonl").write_text(judged.stdout)
    rows, out = files / "verdicts.jsonl", files / "table.json"
    found = openmimo("rl", "difficulty", rows, "--problems", files / "problems.jsonl", "--out", out)
    assert found.returncode == 0, found.stderr
    assert DifficultyTable.load(out).passrates["p"] == {"a": F(1), "b": F(2, 3), "c": F(2, 3), "d": F(1, 3)}
    alone = openmimo("rl", "difficulty", rows, "--out", files / "none.json")
    assert alone.returncode == 2 and "give the problems with --problems" in alone.stderr


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (rollout("m", ["AC", "OK"]), "verdict 'OK' is not one of"),
        (Rollout("p", "m", 0, 0, 0, 0, [], [], "stop", verdicts=[TestVerdict("z", "AC")]), "has no such tests"),
        (Rollout("p", "m", 0, 0, 0, 0, [], [], "stop", verdicts=[TestVerdict("a", "AC")] * 2), "a test comes twice"),
        (rollout("m", ""), "there are no verdicts"),
    ],
)
def test_bad_rows_are_one_line(files, row, message):
    write_rows(files / "bad.jsonl", [row])
    out = files / "table.json"
    found = openmimo("rl", "difficulty", files / "bad.jsonl", "--problems", files / "problems.jsonl", "--out", out)
    assert found.returncode == 2 and message in found.stderr and found.stderr.count("\n") == 1
    assert not out.exists()


def test_rl_wants_a_checkpoint_and_the_table_of_these_tests(files, tmp_path):
    found = openmimo("rl")
    assert found.returncode == 2 and "--from is missing" in found.stderr
    other = DifficultyTable({"p": [["x"]]}, {"p": {"x": None}})
    other.save(files / "other.json")
    checkpoint_folder(tmp_path / "model")
    found = openmimo("rl", "--from", tmp_path / "model", "--problems", files / "problems.jsonl",
                     "--difficulty", files / "other.json", "--out", tmp_path / "out")  # fmt: skip
    assert found.returncode == 2 and "the difficulty table is for other tests" in found.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.part").exists()
