"""Carries out stages in child processes, side by side where they do not need each other, and shows their progress.

Children come from a fork server that has torch loaded, so a stage starts at once. A child ends when its parent does,
however that died; an error in a child is the run's error, and what is finished stays finished.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import threading
import time
import traceback
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.progress import Progress
from openmimo.recipe import Recipe, parse_recipe
from openmimo.runs import Context, RunFolder, Stage, StageFailed, keys_of, run_facts

PRELOAD = ["torch", "openmimo.stages", "openmimo.model.transformer", "openmimo.model.hub", "openmimo.train.optim"]


def execute(stages: list[Stage], recipe: Recipe, run: RunFolder, progress: Progress) -> list[str]:
    """Does every stage that is not done; returns the names of those it did. `stages` has needs first."""
    keys = keys_of(stages, recipe)
    done = {s.name for s in stages if run.is_done(s.name, keys[s.name])}
    for stage in stages:
        if stage.name in done:
            progress.skip(stage)
    todo = [s for s in stages if s.name not in done]
    if not todo:
        return []
    names = [s.name for s in todo]
    facts = run_facts(recipe.seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    children: dict[str, Child] = {}
    try:
        while todo or children:
            for stage in [s for s in todo if set(s.needs) <= done]:
                busy = sum(c.threads for c in children.values())
                threads = recipe.workers if stage.wide else 1
                if busy + threads <= recipe.workers:
                    children[stage.name] = Child(context, stage, recipe, run, keys[stage.name], threads, facts)
                    progress.begin(stage)
                    todo.remove(stage)
            for name in _listen(children, progress):
                child = children.pop(name)
                run.finish(name, child.key, child.facts | facts)
                done.add(name)
                progress.end(child.stage, child.facts["seconds"])
    finally:
        for child in children.values():
            child.process.kill()
    return names


class Child:
    """A stage at work in a process of its own."""

    def __init__(self, context, stage: Stage, recipe: Recipe, run: RunFolder, key: str, threads: int, facts: dict):
        self.stage, self.key, self.threads, self.facts = stage, key, threads, {}
        folder = run.begin(stage.name, key)
        self.rows, rows = context.Pipe(duplex=False)
        leash, self.leash = context.Pipe(duplex=False)
        job = {
            "recipe": recipe.model_dump(mode="json"),
            "stage": stage.name,
            "function": stage.function,
            "folder": str(folder),
            "run": str(run.path),
            "inputs": {name: str(run.path / name) for name in stage.needs},
            "threads": threads,
            "facts": facts,
        }
        self.process = context.Process(target=_work, args=(job, rows, leash), daemon=True)
        self.process.start()
        rows.close()
        leash.close()


def _listen(children: dict[str, Child], progress: Progress) -> list[str]:
    """Shows what the children say; returns the names of those that finished. Raises their errors."""
    finished = []
    by_pipe = {child.rows: name for name, child in children.items()}
    for pipe in wait(list(by_pipe), timeout=0.5):
        name = by_pipe[pipe]
        child = children[name]
        try:
            kind, value = pipe.recv()
        except EOFError:
            child.process.join()
            raise StageFailed(
                f"stage {name} died (exit code {child.process.exitcode}; killed, or out of memory); "
                "the same command goes on from its last checkpoint"
            ) from None
        if kind == "row":
            progress.row(child.stage, value)
        elif kind == "done":
            child.facts = value
            child.process.join()
            finished.append(name)
        elif kind == "user error":
            raise UserError(value)
        else:
            raise StageFailed(f"stage {name} failed:\n{value}")
    return finished


def _work(job: dict[str, Any], rows: Connection, leash: Connection) -> None:
    """The child: runs the stage's function and reports."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()
    import torch

    from openmimo.train.log import Log

    began = time.perf_counter()
    torch.set_num_threads(job["threads"])
    folder = Path(job["folder"])
    try:
        context = Context(
            parse_recipe(job["recipe"]),
            job["stage"],
            folder,
            Path(job["run"]),
            {name: Path(path) for name, path in job["inputs"].items()},
            Log(folder, lambda row: rows.send(("row", row))),
            job["threads"],
            job["facts"],
        )
        module, name = job["function"].split(":")
        getattr(importlib.import_module(module), name)(context)
        context.log.file.close()
        if context.log.path.stat().st_size == 0:
            context.log.path.unlink()
        rows.send(("done", {"seconds": round(time.perf_counter() - began, 2), "peak_memory_mb": _peak_mb()}))
    except UserError as error:
        rows.send(("user error", str(error)))
    except OSError as error:
        if error.errno in (28, 122):  # no space left, quota
            rows.send(("user error", f"{folder}: the disk is full; free some space, then run the same command again"))
        else:
            rows.send(("error", traceback.format_exc()))
    except BaseException:
        rows.send(("error", traceback.format_exc()))


def _end_with_parent(leash: Connection) -> None:
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)


def _peak_mb() -> float:
    """Peak resident memory of this process and of its own largest child, MB."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round((own + children) / 1024, 1)
