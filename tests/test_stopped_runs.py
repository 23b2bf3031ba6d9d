"""Runs that are stopped: by an empty corpus, Ctrl-C, a damaged checkpoint of their own, a full disk. What was whole stays."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import SMOKE, environment, openmimo, start
from miniature import checkpoint_folder, problems


def test_an_empty_corpus(tmp_path):
    empty = [x for key in ("stdlib_files", "pydoc_pages", "exercise_pages") for x in ("--set", f"data.{key}=0")]
    few = ["--set", "problems.train=4", "--set", "problems.test=4", "--set", "problems.synthetic=0"]
    found = openmimo("run", SMOKE, "--out", tmp_path / "run", *empty, *few, "--set", "problems.families={gcd = 1}")
    assert found.returncode == 2
    assert found.stderr == (
        "openmimo: corpus: no document is left; raise data.stdlib_files, data.pydoc_pages or data.exercise_pages\n"
    )
    assert "Traceback" not in found.stdout
    left = {p.name for p in (tmp_path / "run").iterdir() if p.name[0] != "."}
    assert left == {"problems", "recipe.json", "cost.json"}


@pytest.fixture
def copy(smoke, tmp_path):
    """A copy of the unbroken run in which the given stages are still to do."""

    def make(*without):
        path = tmp_path / "smoke"
        shutil.copytree(smoke.path, path)
        for stage in without:
            shutil.rmtree(path / stage)
        return path

    return make


def whole(run) -> bool:
    """Every folder there is an artefact with its manifest."""
    return all((p / "manifest.json").exists() for p in run.iterdir() if p.is_dir() and p.name != ".work")


def interrupt(run, stage, *args, rows=2) -> tuple[int, str, str]:
    """Runs until `stage` has logged some rows, then Ctrl-C, as a terminal sends it: to the whole group."""
    process = start("run", SMOKE, "--out", run, *args)
    log, patience = run / ".work" / stage / "log.jsonl", time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < rows:
        assert process.poll() is None and time.monotonic() < patience, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(smoke, copy):
    run = copy("sft")
    code, _, err = interrupt(run, "sft", "--set", "checkpoint.every_s=0")
    assert code == 130
    assert re.fullmatch(r"openmimo: stopped\. .*the same command goes on from the last checkpoint\.", err.strip())
    assert whole(run) and not (run / "sft").exists()
    steps = (run / ".work" / "sft" / "log.jsonl").read_text().count("\n")
    checkpoint = run / ".work" / "sft" / "checkpoint.pt"
    assert steps >= 2 and checkpoint.exists()

    kept = checkpoint.read_bytes()
    checkpoint.write_bytes(kept[: len(kept) // 2])
    found = openmimo("run", SMOKE, "--out", run)
    assert found.returncode == 2 and found.stderr.count("\n") == 1
    assert f"{checkpoint}: damaged checkpoint" in found.stderr and "delete this file, then run again" in found.stderr
    checkpoint.write_bytes(kept)

    found = openmimo("run", SMOKE, "--out", run)
    assert found.returncode == 0 and found.stdout.count("begins") == 1
    for name in ("model.safetensors", "config.json"):
        assert (run / "sft" / name).read_bytes() == (smoke.path / "sft" / name).read_bytes()
    assert numbered_steps(run / "sft") == numbered_steps(smoke.path / "sft")


def test_ctrl_c_before_the_first_stage_is_as_quiet(tmp_path):
    """While the fork server loads torch: no traceback of anybody's, nothing begun."""
    process = start("run", SMOKE, "--out", tmp_path / "run")
    while not process.stdout.readline().startswith("folder"):
        assert process.poll() is None
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert re.fullmatch(r"openmimo: stopped\. .*the same command goes on from the last checkpoint\.", err.strip())
    assert {p.name for p in (tmp_path / "run").iterdir()} <= {".lock", ".work", "recipe.json", "cost.json"}


def numbered_steps(folder) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


LIMITED = """
import resource, sys
from openmimo import cli
size = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
cli.main()
"""


def limited(size: int, *args, cwd) -> subprocess.CompletedProcess:
    """A command whose files may not grow beyond `size` bytes: writes fail as on a full disk, for any user."""
    command = [sys.executable, "-c", LIMITED, str(size), *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment())


def is_full(err: str) -> bool:
    """One line, which says that there is no room and what to do."""
    said = "is full" in err or "File too large" in err or "could not write" in err
    return err.count("\n") == 1 and said and ("free" in err or "check" in err)


@pytest.mark.parametrize("size", [300, 90_000])
def test_a_full_disk_under_a_stage_alone(tmp_path, size):
    """In the log, in the weights."""
    checkpoint_folder(tmp_path / "model")
    chats = [[*p.messages, {"role": "assistant", "content": p.answer}] for p in problems(200)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps({"messages": m}) + "\n" for m in chats))
    args = [
        "--from",
        "model",
        "--data",
        "chats.jsonl",
        "--out",
        "out",
        "--set",
        "sft.length=64",
        "--set",
        "sft.batch=1",
    ]
    found = limited(size, "sft", *args, cwd=tmp_path)
    assert found.returncode == 2 and is_full(found.stderr), found.stderr
    assert "out.part" in found.stderr
    assert {p.name for p in tmp_path.iterdir()} == {"model", "tokenizer", "chats.jsonl"}


@pytest.mark.parametrize(("stage", "size"), [("problems", 9000), ("sft", 500_000)])
def test_a_full_disk_under_a_run(smoke, copy, tmp_path, stage, size):
    """What was whole stays whole, and with room again the same command finishes the stage."""
    run = copy(stage)
    found = limited(size, "run", SMOKE, "--out", run, "--set", "checkpoint.every_s=0", cwd=tmp_path)
    assert found.returncode == 2 and is_full(found.stderr), found.stderr
    assert str(run) in found.stderr
    assert whole(run) and not (run / stage).exists()
