"""A machine that offers no rung: programs are refused, `--unsafe` alone gets round that, and a run goes on without code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import COMMAND, SMOKE, environment

NO_RUNG = (sys.executable, str(Path(__file__).with_name("no_rung.py")))
PROBLEM = {
    "id": "square", "kind": "code", "messages": [{"role": "user", "content": "?"}],
    "tests": [{"id": "a", "kind": "stdin", "input": "3", "output": "9"}],
}  # fmt: skip
MATH = {"id": "sum", "kind": "math", "messages": [{"role": "user", "content": "?"}], "answer": "2"}


def openmimo(*args, **more):
    return subprocess.run(
        [*NO_RUNG, *COMMAND, *map(str, args)], capture_output=True, text=True, env=environment(), **more
    )


@pytest.fixture
def files(tmp_path):
    problems, solutions = tmp_path / "problems.jsonl", tmp_path / "solutions.jsonl"
    problems.write_text(json.dumps(PROBLEM) + "\n")
    solutions.write_text(json.dumps({"task_id": "square", "solution": "print(int(input()) ** 2)"}) + "\n")
    return problems, solutions


def test_programs_are_refused_with_one_line(files):
    found = openmimo("judge", "run", *files)
    assert found.returncode == 2 and found.stdout == "" and found.stderr.count("\n") == 1
    assert "no worker starts here with namespaces, namespaces-only, landlock" in found.stderr
    assert "--unsafe" in found.stderr
    served = openmimo("judge", "serve", "--port", "0", "--workers", "1", timeout=60)
    assert served.returncode == 2 and "no worker starts here" in served.stderr


def test_unsafe_judges_all_the_same_and_says_so(files):
    found = openmimo("judge", "run", *files, "--json", "--unsafe")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["passed"] is True
    assert "judged on rung rlimits" in found.stderr


def test_unsafe_takes_the_highest_rung_there_is(files):
    """Control: without the filter the same command finds a rung above limits alone."""
    found = subprocess.run(
        [*COMMAND, "judge", "run", *map(str, files), "--json", "--unsafe"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert found.returncode == 0 and "judged on rung rlimits" not in found.stderr


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_a_run_goes_on_without_the_code_family(tmp_path):
    run = tmp_path / "run"
    found = openmimo("run", SMOKE, "--out", run)
    assert found.returncode == 0, found.stderr[-3000:]
    assert "Without the code family: no isolation for programs here" in " ".join(found.stdout.split())
    results = json.loads((run / "results.json").read_text())
    assert results["rung"] is None and set(results["models"]) == {"base", "rl-zero", "sft", "rl"}
    assert "Without the code family" in results["note"]
    kinds = [json.loads(line)["kind"] for line in (run / "problems" / "train.jsonl").read_text().splitlines()]
    assert set(kinds) == {"math"} and "Without the code family" in (run / "report.html").read_text()
    again = openmimo("run", SMOKE, "--out", run)
    assert again.returncode == 0 and "begins" not in again.stdout
