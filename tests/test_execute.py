"""Stages as child processes: their order, their errors, their deaths."""

import json
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest
from conftest import SMOKE
from rich.console import Console

from openmimo.errors import UserError
from openmimo.execute import execute
from openmimo.progress import Progress
from openmimo.recipe import load_recipe
from openmimo.runs import RunFolder, Stage, StageFailed


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


ROOM = """
import os, time
from openmimo.errors import UserError

def work(context):
    for name, folder in context.inputs.items():
        assert (folder / "out").read_text() == name
    for step in (1, 2):
        context.log.row({"step": step, "total": 2})
    (context.folder / "out").write_text(context.stage)
    with (context.run / "order").open("a") as order:
        order.write(f"{context.stage} {context.rank}\\n")

def bad_input(context):
    raise UserError("rows.jsonl:3: no such thing; give another")

def broken(context):
    return {}["absent"]

def dies(context):
    os._exit(9)

def second_rank_complains(context):
    if context.rank == 1:
        raise UserError("rank 1 says no")
    time.sleep(60)

def full(context):
    raise OSError(28, "No space left on device")
"""


@pytest.fixture
def room(tmp_path, monkeypatch):
    (tmp_path / "a_room.py").write_text(textwrap.dedent(ROOM))
    monkeypatch.syspath_prepend(tmp_path)


def carry_out(run, stages, *overrides):
    handle = run.lock()
    try:
        with Progress(Console(file=open(os.devnull, "w"))) as progress:
            return execute(stages, load_recipe(SMOKE, overrides), run, progress)
    finally:
        handle.close()


def stages_of(**functions) -> list[Stage]:
    """a, then b and c beside each other, then d with all workers."""
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    return [
        Stage(n, n, f"a_room:{functions.get(n, 'work')}", ("rl",) if n == "c" else (), needs[n], wide=n == "d")
        for n in needs
    ]


def test_stages_run_in_the_order_of_their_needs_and_once(run, room):
    assert carry_out(run, stages_of()) == ["a", "b", "c", "d"]
    order = (run.path / "order").read_text().splitlines()
    assert order[0] == "a 0" and set(order[1:3]) == {"b 0", "c 0"} and sorted(order[3:]) == ["d 0", "d 1"]
    assert [json.loads(line)["step"] for line in (run.path / "a" / "log.jsonl").read_text().splitlines()] == [1, 2]
    assert carry_out(run, stages_of()) == []
    assert carry_out(run, stages_of(), "rl.steps=9") == ["c", "d"]
    damage_remove_out = run.path / "b" / "out"
    damage_remove_out.unlink()
    assert carry_out(run, stages_of(), "rl.steps=9") == ["b"]
    assert damage_remove_out.read_text() == "b"


FAILURES = [
    ("bad_input", UserError, r"^rows.jsonl:3: no such thing; give another$"),
    ("broken", StageFailed, r"stage b failed:\n(.|\n)*KeyError: 'absent'"),
    ("dies", StageFailed, r"stage b died \(exit code 9; .*the same command goes on"),
    ("full", UserError, r"the disk is full .*; free some space, then run the same command again"),
]


@pytest.mark.parametrize(("function", "error", "message"), FAILURES, ids=[name for name, *_ in FAILURES])
def test_an_error_in_a_child_is_the_runs_error(run, room, function, error, message):
    """What is finished stays finished; nothing appears under the failed stage's name."""
    with pytest.raises(error, match=message):
        carry_out(run, stages_of(b=function))
    assert (run.path / "a" / "manifest.json").exists()
    assert not (run.path / "b").exists() and not (run.path / "d").exists()
    done = carry_out(run, stages_of())
    assert done[0] in ("b", "c") and done[-1] == "d" and "a" not in done


def test_a_killed_child_is_reported(run, room):
    """As the kernel does when memory runs out."""
    (run.path).mkdir()
    text = f"\ndef dies(context):\n    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    path = Path(sys.path[0]) / "another_room.py"
    path.write_text("import os\n" + text)
    with pytest.raises(StageFailed, match=r"stage a died \(exit code -9; killed, or out of memory\)"):
        carry_out(run, [Stage("a", "a", "another_room:dies")])


def test_an_error_of_a_silent_rank_ends_the_stage(run, room):
    """The other rank, which would wait for it for ever, ends too."""
    began = time.monotonic()
    with pytest.raises(UserError, match="rank 1 says no"):
        carry_out(run, [Stage("a", "a", "a_room:second_rank_complains", wide=True)])
    assert time.monotonic() - began < 30
