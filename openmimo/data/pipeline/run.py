"""`openmimo data run PIPELINE.toml`: phases by datatrove's executors, on this machine, Slurm or Ray; resumable by file.

What is done is done: the same command goes on after a kill with the first task that is not whole, and its output equals an
unbroken run's byte for byte. At the end `counts.json` says what every step kept and dropped, and why.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from openmimo.data.pipeline.files import is_local, list_files, whole_file
from openmimo.data.pipeline.settings import Output, Pipeline
from openmimo.errors import UserError
from openmimo.progress import Progress
from openmimo.runs import Stage

NEEDED = "data run: {} is missing; `pip install 'openmimo[data]'` brings datatrove, which executes the steps"


def run_pipeline(pipeline: Pipeline, console: Console) -> dict[str, Any] | None:
    """Carries it out and returns the counts; None where Slurm has taken it over."""
    try:
        from openmimo.data.pipeline.phases import Builder
    except ImportError as error:
        raise UserError(NEEDED.format(error.name)) from None
    work = work_folder(pipeline.output)
    built = Builder(pipeline, list_files(pipeline.input.files), work)
    counts_file = f"{pipeline.output.folder}/counts.json"
    if there := _read_json(counts_file):
        if there.get("key") != built.key:
            raise UserError(
                f"{pipeline.output.folder}: holds the output of another pipeline or input; remove it, or give another output.folder"
            )
        shutil.rmtree(work, ignore_errors=True)
        console.print(f"{pipeline.output.folder} was made by this very pipeline before; nothing to do", highlight=False)
        return there
    with _lock(work), Progress(console) as progress:
        if not _execute(built.phases, pipeline, work, progress, console):
            return None
        counts = {"key": built.key, "files": len(built.files), "steps": add_up(built.phases, work)}
        if built.index and is_local(pipeline.output.folder):
            _publish_index(built.index, Path(pipeline.output.folder) / "index" / "near-dedup")
        _clean(pipeline.output.folder)
        with whole_file(counts_file) as out:
            out.write((json.dumps(counts, indent=1) + "\n").encode())
    shutil.rmtree(work)
    print_counts(counts["steps"], console)
    console.print(f"wrote {pipeline.output.folder}", highlight=False)
    return counts


def work_folder(output: Output) -> Path:
    if output.work is None and not is_local(output.folder):
        raise UserError(f"output.folder {output.folder} is not local; give output.work, a local or shared folder for what lies between the steps")  # fmt: skip
    return Path(output.work or f"{output.folder.removeprefix('file://')}/.work").absolute()


def _execute(phases: list, pipeline: Pipeline, work: Path, progress: Progress, console: Console) -> bool:
    """Whether all phases are done."""
    from datatrove.utils.logging import logger

    executors: list = []
    for phase in phases:
        (phase.folder / "progress").mkdir(parents=True, exist_ok=True)
        executors.append(_executor(phase, pipeline, executors[-1] if executors else None))
    if pipeline.run.executor == "slurm":
        if any(e.get_incomplete_ranks() for e in executors):
            executors[-1].run()
            console.print(f"submitted {len(phases)} Slurm jobs; when they are done, the same command sums up")
            return False
        return True
    for phase, executor in zip(phases, executors, strict=True):
        stage = Stage(phase.name, phase.title, "")
        if not executor.get_incomplete_ranks():
            progress.skip(stage)
            continue
        progress.begin(stage)
        executor.depends = None
        with _watched(phase, stage, progress) as seconds, _errors_to(work / "executor.log"):
            try:
                _executing.now = True
                executor.run()
            except UserError:
                raise
            except Exception as error:
                raise UserError(_reason(error, phase)) from error
            finally:
                _executing.now = False
        if executor.get_incomplete_ranks():
            raise UserError(f"{phase.title}: some tasks failed; their logs are in {phase.folder}/log/logs")
        progress.end(stage, seconds())
    logger.remove()
    return True


def _executor(phase, pipeline: Pipeline, depends):
    """datatrove's executor of one phase."""
    settings = pipeline.run
    common = dict(pipeline=phase.blocks, tasks=phase.tasks, logging_dir=str(phase.folder / "log"))
    common["workers"] = min(settings.workers, phase.tasks)
    try:
        if settings.executor == "slurm":
            from datatrove.executor import SlurmPipelineExecutor

            return SlurmPipelineExecutor(**common, job_name=phase.name, depends=depends, **settings.options)
        if settings.executor == "ray":
            from datatrove.executor import RayPipelineExecutor

            return RayPipelineExecutor(**common, **settings.options)
        from datatrove.executor import LocalPipelineExecutor

        return LocalPipelineExecutor(**common, **settings.options)
    except TypeError as error:
        raise UserError(f"run.options: {str(error).split('__init__() ')[-1]}; see datatrove's {settings.executor} executor") from None  # fmt: skip


def _reason(error: Exception, phase) -> str:
    return f"{phase.title}: {type(error).__name__}: {str(error)[:300]}; the tasks' logs are in {phase.folder}/log/logs"


_executing = threading.local()


def _die_with_parent() -> None:
    """In a forked child: what an executor forks (its manager) must not outlive a run that is killed."""
    if getattr(_executing, "now", False) and sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        _executing.now = False


os.register_at_fork(after_in_child=_die_with_parent)


@contextmanager
def _watched(phase, stage: Stage, progress: Progress):
    """Shows how many of the phase's tasks are done, and how many documents have been read."""
    began, stop = time.monotonic(), threading.Event()

    def watch():
        while not stop.wait(0.5):
            done = len(list((phase.folder / "log" / "completions").glob("*")))
            read = sum(int(p.read_text() or 0) for p in (phase.folder / "progress").glob("*"))
            text = f"{read:,} documents read" if read else ""
            progress.row(stage, {"step": done, "total": phase.tasks, "stage": text})

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: time.monotonic() - began
    finally:
        stop.set()
        thread.join()


@contextmanager
def _errors_to(path: Path):
    """File descriptor 2, to which the executor and its workers talk, goes to a log."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as log:
        os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _lock(work: Path):
    """This process alone works there; the lock is not handed down to its children."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{work}: another openmimo is working there; wait for it") from None
        yield


def add_up(phases: list, work: Path) -> dict[str, dict[str, int]]:
    """Step -> what happened -> documents, over all phases and tasks, in the order of the pipeline."""
    total: dict[str, Counter] = {}
    for phase in phases:
        for path in sorted((phase.folder / "counts").glob("*.json")):
            for name, counts in json.loads(path.read_text()):
                if name != "between":
                    total.setdefault(name, Counter()).update(counts)
    return {name: dict(sorted(counts.items())) for name, counts in total.items()}


def print_counts(steps: dict[str, dict[str, int]], console: Console) -> None:
    table = Table("step", "what happened", title="documents by step", title_justify="left")
    table.add_column("count", justify="right")
    for name, counts in steps.items():
        for i, (reason, count) in enumerate(counts.items()):
            table.add_row("" if i else name, reason, f"{count:,}")
    console.print(table)


def _publish_index(sketches: Path, target: Path) -> None:
    """Links the sketches into the output, without those (`.RANK-PART.PID`) that killed tasks left half-written."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = shutil.ignore_patterns(".*")
    try:
        shutil.copytree(sketches, target, ignore=whole, copy_function=os.link)
    except (OSError, shutil.Error):  # another filesystem
        shutil.copytree(sketches, target, ignore=whole, dirs_exist_ok=True)


def _clean(folder: str) -> None:
    """Removes what killed tasks left half-written among the output."""
    for part in Path(folder).glob("*/*.part") if is_local(folder) else ():
        part.unlink()


def _read_json(path: str) -> dict[str, Any] | None:
    import fsspec

    system, inner = fsspec.core.url_to_fs(path)
    return json.loads(system.cat_file(inner)) if system.isfile(inner) else None
