"""`openmimo judge run`: a table, or one JSON line a program, in order; bad input is one clear line."""

import json

import pytest
from conftest import openmimo

ASK = [{"role": "user", "content": "?"}]
CALLS = [{"id": str(n), "kind": "call", "input": [n], "output": n * n} for n in range(3)]
PROBLEMS = [
    {"id": "square", "kind": "code", "messages": ASK, "entry_point": "f", "tests": CALLS},
    {"id": "untested", "kind": "code", "messages": ASK},
    {"id": "half", "kind": "math", "messages": ASK, "answer": "1/2"},
]
RIGHT, WRONG = "def f(n):\n    return n * n\n", "def f(n):\n    return 2 * n\n"
SLOW = "def f(n):\n    for _ in range(10**7 * n): pass\n    return n * n\n"
SOLUTIONS = [("square", WRONG), ("untested", RIGHT), ("square", RIGHT), ("half", r"It is \boxed{0.5}."), ("half", "2")]


@pytest.fixture
def files(tmp_path):
    def write(solutions=SOLUTIONS):
        problems, programs = tmp_path / "problems.jsonl", tmp_path / "solutions.jsonl"
        problems.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
        lines = (s if isinstance(s, str) else json.dumps({"task_id": s[0], "solution": s[1]}) for s in solutions)
        programs.write_text("".join(line + "\n" for line in lines))
        return problems, programs

    return write


def rows(found):
    assert found.returncode == 0, found.stderr
    return [json.loads(line) for line in found.stdout.splitlines()]


def test_json_lines_in_order(files):
    found = rows(openmimo("judge", "run", *files(), "--json"))
    assert [row["task_id"] for row in found] == [task for task, _ in SOLUTIONS]
    assert [row["passed"] for row in found] == [False, None, True, True, False]
    kinds = [[test["verdict"] for test in row["tests"]] for row in found]
    assert kinds == [["AC", "WA", "AC"], [], ["AC", "AC", "AC"], ["right"], ["wrong"]]
    for row in found:
        assert list(row) == ["task_id", "passed", "tests"]
        assert all(list(test) == ["verdict", "cpu_s", "wall_s", "memory_mb"] for test in row["tests"])
    assert found[2]["tests"][0]["memory_mb"] > 1


def test_stop_on_failure_and_limits(files):
    found = rows(openmimo("judge", "run", *files(), "--json", "--stop-on-failure"))
    assert [[test["verdict"] for test in row["tests"]] for row in found][0] == ["AC", "WA"]
    slow = files([("square", SLOW), ("square", "x = 'x' * (50 << 20)\n" + RIGHT)])
    found = rows(openmimo("judge", "run", *slow, "--json", "--time-limit", "0.1", "--memory-mb", "32"))
    kinds = [[test["verdict"] for test in row["tests"]] for row in found]
    assert kinds == [["AC", "TLE", "TLE"], ["MLE", "MLE", "MLE"]]


def test_table(files):
    found = openmimo("judge", "run", *files())
    assert found.returncode == 0 and "2 of 5 programs passed, 1 without a verdict; judged on rung" in found.stdout
    assert "AC 2, WA 1" in found.stdout and "no verdict" in found.stdout


@pytest.mark.parametrize(
    ("solutions", "message"),
    [
        ([("square", RIGHT), ("circle", RIGHT)], "solutions.jsonl:2: task 'circle' is not among the problems of"),
        ([("square", RIGHT), '{"task_id": "square"}'], "solutions.jsonl:2: not a solution"),
        ([("square", RIGHT), '{"task_id": "square", "solution": 1}'], "solutions.jsonl:2: not a solution"),
        (["{"], "solutions.jsonl:1: not JSON"),
        ([], "there are no solutions"),
    ],
)
def test_bad_input_is_one_line(files, solutions, message):
    found = openmimo("judge", "run", *files(solutions))
    assert found.returncode == 2 and found.stdout == ""
    assert found.stderr.startswith("openmimo: ") and message in found.stderr and found.stderr.count("\n") == 1
