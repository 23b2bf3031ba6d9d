"""`kill -9` at any moment, then the same command: what comes out is bit-equal to an unbroken run's."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
from conftest import SMOKE, openmimo, start

OFTEN = ("--set", "checkpoint.every_s=0.2")
TRAINED = ("base", "sft", "rl-zero", "rl")
TIMED = ("manifest.json", "cost.json", "results.json", "report.html", "README.md", "trace.jsonl")
CLOCKS = ("time", "tokens_per_s", "rollout_s", "reward_s", "train_s", "cpu_s", "wall_s", "memory_mb",
          "started", "surplus")  # fmt: skip


def rows_of(path: Path) -> list[dict]:
    """A log, or rollouts with their verdicts, without what a clock wrote."""
    return [json.loads(line, object_hook=without_clocks) for line in path.read_text().splitlines()]


def without_clocks(row: dict) -> dict:
    return {k: v for k, v in row.items() if k not in CLOCKS}


def assert_equal_runs(one: Path, two: Path) -> None:
    """Every file but those with times and memory is the same, bit for bit; logs and verdicts but for their clocks."""
    for path in sorted(one.rglob("*")):
        name = path.relative_to(one).as_posix()
        if path.is_dir() or path.name in (*TIMED, ".lock", "recipe.json"):
            continue
        other = two / name
        if path.name in ("log.jsonl", "rollouts.jsonl"):
            assert rows_of(other) == rows_of(path), name
        else:
            assert other.read_bytes() == path.read_bytes(), name
    results = [json.loads((run / "results.json").read_text()) for run in (one, two)]
    assert all(results[0][key] == results[1][key] for key in ("models", *results[0]["models"], "differences"))


def work_log(run: Path, stage: str) -> Path:
    return run / ".work" / stage / "log.jsonl"


def wait_for_rows(process, log: Path, rows: int, file: str = "log.jsonl") -> None:
    """Until the stage has logged so many rows, and `file` lies beside them."""
    patience = time.monotonic() + 200
    while not log.with_name(file).exists() or log.read_text().count("\n") < rows:
        assert process.poll() is None and time.monotonic() < patience, process.communicate()
        time.sleep(0.01)


def family_of(process) -> list[psutil.Process]:
    """The process and all that it started."""
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def alive(processes) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_a_kill_in_pre_training_and_one_in_rl(smoke, tmp_path):
    """A sample of the proof below: the parent alone is killed, and nobody stays behind; then the whole group."""
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run)
    for stage in ("base", "rl"):
        shutil.rmtree(run / stage)
    process = start("run", SMOKE, "--out", run, *OFTEN)
    wait_for_rows(process, work_log(run, "base"), 9, "checkpoint.pt")
    family = family_of(process)
    assert len(family) >= 3
    process.kill()
    process.communicate()
    patience = time.monotonic() + 20
    while alive(family):
        assert time.monotonic() < patience, alive(family)
        time.sleep(0.05)
    assert (run / ".work" / "base" / "checkpoint.pt").exists() and not (run / "base").exists()
    before = work_log(run, "base").read_text().count("\n")

    process = start("run", SMOKE, "--out", run, *OFTEN)
    wait_for_rows(process, work_log(run, "base"), before - 1)
    assert rows_of(work_log(run, "base"))[0]["step"] == 1
    wait_for_rows(process, work_log(run, "rl"), 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (run / "base" / "manifest.json").exists() and not (run / "rl").exists()

    found = openmimo("run", SMOKE, "--out", run, *OFTEN)
    assert found.returncode == 0, found.stderr
    assert "done before   pre-training" in found.stdout and not (run / ".work").exists()
    assert_equal_runs(smoke.path, run)


def test_the_comparison_sees_one_bit(smoke, tmp_path):
    """Negative control."""
    run = tmp_path / "smoke"
    shutil.copytree(smoke.path, run)
    assert_equal_runs(smoke.path, run)
    path = run / "rl" / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(AssertionError, match="rl/model.safetensors"):
        assert_equal_runs(smoke.path, run)


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_moments(smoke, tmp_path, seed):
    """Eight kills over a run, each at a moment of its own; then the same command to the end."""
    rng, run, kills = random.Random(seed), tmp_path / "smoke", []
    while len(kills) < 8:
        process = start("run", SMOKE, "--out", run, "--set", f"checkpoint.every_s={rng.choice((0, 0.3, 2))}")
        try:
            process.wait(timeout=rng.uniform(1.0, max(6.0, smoke.seconds / 5)))
            break  # done before eight kills
        except Exception:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        done = [name for name in os.listdir(run) if (run / name / "manifest.json").exists()] if run.exists() else []
        kills.append(len(done))
    assert len(kills) >= 4
    found = openmimo("run", SMOKE, "--out", run)
    assert found.returncode == 0, found.stderr
    for name in TRAINED:
        assert (run / name / "model.safetensors").read_bytes() == (smoke.path / name / "model.safetensors").read_bytes()
    assert_equal_runs(smoke.path, run)
