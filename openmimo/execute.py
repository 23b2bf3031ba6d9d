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
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import psutil

from openmimo.errors import UserError, disk_full
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
    run.open_again()
    facts, meter = run_facts(recipe.seed), Meter()
    context = fork_server()
    children: dict[str, Child] = {}
    try:
        while todo or children:
            for stage in [s for s in todo if set(s.needs) <= done]:
                busy = sum(len(c.processes) for c in children.values())
                ranks = recipe.workers if stage.wide else 1
                if busy + ranks <= recipe.workers:
                    children[stage.name] = Child(context, stage, recipe, run, keys[stage.name], ranks, facts)
                    progress.begin(stage)
                    todo.remove(stage)
            meter.look()
            for name in _listen(children, progress):
                child = children.pop(name)
                cost = {"seconds": child.seconds, "peak_memory_mb": round(child.peak_memory_mb, 1)}
                run.finish(name, child.key, cost | facts)
                done.add(name)
                progress.end(child.stage, child.seconds)
    finally:
        for child in children.values():
            child.kill()
        run.add_cost(*meter.read())
    return names


class Meter:
    """Wall time and peak memory of this process and all its descendants."""

    EVERY_S = 2.0

    def __init__(self):
        self.began = self.next = time.monotonic()
        self.peak = 0

    def look(self) -> None:
        """Takes a sample, now and then. Memory is what each process has for itself (USS), summed."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + self.EVERY_S
        me, total = psutil.Process(), 0
        for process in [me, *me.children(recursive=True)]:
            try:
                total += process.memory_full_info().uss
            except psutil.Error:
                continue  # it has just ended
        self.peak = max(self.peak, total)

    def read(self) -> tuple[float, float]:
        """(seconds, MB)."""
        return time.monotonic() - self.began, self.peak / 2**20


def fork_server() -> multiprocessing.context.BaseContext:
    """Starts the server if it does not run yet, deaf to Ctrl-C from its first moment: that is for us to act on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, ours)
    return context


class Child:
    """A stage at work in a process of its own, or in one for each rank. Each process holds one thread."""

    def __init__(self, context, stage: Stage, recipe: Recipe, run: RunFolder, key: str, ranks: int, facts: dict):
        self.stage, self.key, self.seconds, self.peak_memory_mb = stage, key, 0.0, 0.0
        self.processes: dict[Connection, Any] = {}  # what a rank says -> the rank
        self.talking: set[Connection] = set()
        self.leashes: list[Connection] = []
        folder = run.begin(stage.name, key)
        (folder / "rendezvous").unlink(missing_ok=True)
        job = {
            "recipe": recipe.model_dump(mode="json", exclude_unset=True),  # it knows what the user left out
            "stage": stage.name,
            "function": stage.function,
            "folder": str(folder),
            "run": str(run.path),
            "inputs": {name: str(run.path / name) for name in stage.needs},
            "ranks": ranks,
            "facts": facts,
        }
        for rank in range(ranks):
            mine, rows = context.Pipe(duplex=False)
            leash, hand = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(job | {"rank": rank}, rows, leash), daemon=True)
            process.start()
            rows.close()
            leash.close()
            self.processes[mine] = process
            self.leashes.append(hand)
        self.talking = set(self.processes)

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.join()


def _listen(children: dict[str, Child], progress: Progress) -> list[str]:
    """Shows what the children say; returns the names of those that finished. Raises their errors."""
    finished = []
    owners = {pipe: name for name, child in children.items() for pipe in child.talking}
    for pipe in wait(list(owners), timeout=0.5):
        name = owners[pipe]
        child = children[name]
        try:
            kind, value = pipe.recv()
        except EOFError:
            child.processes[pipe].join()
            raise StageFailed(
                f"stage {name} died (exit code {child.processes[pipe].exitcode}; killed, or out of memory); "
                "the same command goes on from its last checkpoint"
            ) from None
        if kind == "row":
            progress.row(child.stage, value)
        elif kind == "done":
            child.talking.remove(pipe)
            child.seconds = max(child.seconds, value["seconds"])
            child.peak_memory_mb += value["peak_memory_mb"]
            if not child.talking:
                for process in child.processes.values():
                    process.join()
                finished.append(name)
        elif kind == "user error":
            raise UserError(value)
        else:
            raise StageFailed(f"stage {name} failed:\n{value}")
    return finished


def _work(job: dict[str, Any], rows: Connection, leash: Connection) -> None:
    """The child: runs the stage's function and reports. Ranks above 0 keep silent unless something goes wrong."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    threading.Thread(target=_end_with_parent, args=(leash,), daemon=True).start()
    import torch

    from openmimo.train.log import Log

    began, rank, folder = time.perf_counter(), job["rank"], Path(job["folder"])
    torch.set_num_threads(1)
    try:
        if job["ranks"] > 1:
            place = (folder / "rendezvous").resolve()
            torch.distributed.init_process_group(
                "gloo", init_method=f"file://{place}", rank=rank, world_size=job["ranks"]
            )
            torch.distributed.barrier()  # no rank may be done before all are connected
        log = Log(folder, lambda row: rows.send(("row", row))) if rank == 0 else Log(None)
        inputs = {name: Path(path) for name, path in job["inputs"].items()}
        recipe, run = parse_recipe(job["recipe"]), Path(job["run"])
        context = Context(recipe, job["stage"], folder, run, inputs, log, rank, job["facts"])
        module, name = job["function"].split(":")
        getattr(importlib.import_module(module), name)(context)
        log.close()
        rows.send(("done", {"seconds": round(time.perf_counter() - began, 2), "peak_memory_mb": _peak_mb()}))
    except UserError as error:
        rows.send(("user error", str(error)))
    except BaseException as error:
        full = disk_full(error, folder)
        rows.send(("user error", str(full)) if full else ("error", traceback.format_exc()))


def _end_with_parent(leash: Connection) -> None:
    try:
        leash.recv()
    except (EOFError, OSError):
        os._exit(1)


def _peak_mb() -> float:
    """Peak resident memory of this process and of its own largest child, MB."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round((own + children) / 1024, 1)
