"""`openmimo judge run PROBLEMS SOLUTIONS`: a verdict for every test of every program, as a table or as JSON lines.

PROBLEMS: any format of `formats`. SOLUTIONS: JSONL of `{"task_id", "solution"}`, a whole program each (for a math problem:
the answer, or a response that holds it in a box). Several solutions of a task are several programs.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from openmimo.errors import UserError
from openmimo.judge.answers import final_answer
from openmimo.judge.formats import read_problems
from openmimo.judge.formats.files import read_raw
from openmimo.judge.pool import Judge
from openmimo.rows import Problem, TestVerdict

AT_ONCE = 64  # programs between two signs of progress
EVERY_S = 10.0
Found = tuple[str, list[TestVerdict]]  # of one program: task id, verdicts


def run(
    problems: Path, solutions: Path, as_json: bool, stop_on_failure: bool, time_limit: float | None,
    memory_mb: int | None, workers: int, unsafe: bool, console: Console,
) -> bool:  # fmt: skip
    """Judges and prints. time_limit: CPU seconds a test; it and memory_mb replace the problems' own limits. unsafe: see
    `Judge`. Returns whether judging worked: False when a test has IE."""
    asked = read_solutions(solutions)
    errors = Console(stderr=True)
    bars = Progress(console=errors, transient=True, disable=not errors.is_terminal)
    with Judge(workers, unsafe=unsafe) as judge, bars as progress:
        known = {p.id: limited(p, time_limit, memory_mb) for p in of_tasks(problems, asked, judge, progress)}
        for where, task, _ in asked:
            if task not in known:
                raise UserError(f"{where}: task {task!r} is not among the problems of {problems}; leave it out")
        found = []
        for one in judged([(known[task], text) for _, task, text in asked], judge, stop_on_failure, progress):
            found.append(one)
            if as_json:
                print(json.dumps(as_row(*one)), flush=True)
    if as_json:
        print(f"judged on rung {judge.rung}", file=sys.stderr)
    else:
        print_table(found, judge.rung, console)
    return not any(v.verdict == "IE" for _, verdicts in found for v in verdicts)


def read_solutions(path: Path) -> list[tuple[str, str, str]]:
    """(`path:line`, task id, solution) of each row; a UserError for one that is not `{"task_id", "solution"}`."""
    found = []
    for where, row in read_raw(path):
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in ("task_id", "solution")):
            raise UserError(f'{where}: not a solution; a row is {{"task_id": text, "solution": a whole program}}')
        found.append((where, row["task_id"], row["solution"]))
    if not found:
        raise UserError(f"{path}: there are no solutions; give a file with at least one row")
    return found


def of_tasks(path: Path, asked: list[tuple[str, str, str]], judge: Judge, progress: Progress) -> list[Problem]:
    """The problems that the solutions are for; shows how far the golden solutions are, where they must be run."""
    return read_problems(path, judge, {task for _, task, _ in asked}, shower(progress, "golden solutions"))


def shower(progress: Progress, what: str) -> Callable[[int, int], None]:
    """Shows `done` of `total`: a bar on a terminal, else a line on standard error every ten seconds."""
    bar = progress.add_task(what, visible=False)
    told = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal told
        progress.update(bar, completed=done, total=total, visible=done < total)
        if progress.disable and time.monotonic() - told > EVERY_S:
            told = time.monotonic()
            print(f"{what}: {done} of {total}", file=sys.stderr)

    return show


def limited(problem: Problem, time_limit: float | None, memory_mb: int | None) -> Problem:
    """The problem with the command's limits in place of its own."""
    limits = problem.limits
    if time_limit is not None:
        limits = replace(limits, cpu_s=time_limit, wall_s=3 * time_limit + 2)
    if memory_mb is not None:
        limits = replace(limits, memory_mb=memory_mb)
    return replace(problem, limits=limits)


def judged(
    items: list[tuple[Problem, str]], judge: Judge, stop_on_failure: bool, progress: Progress
) -> Iterator[Found]:
    """Every program's verdicts, in order; none for a problem without tests."""
    show = shower(progress, "programs")
    for start in range(0, len(items), AT_ONCE):
        some = items[start : start + AT_ONCE]
        code = judge.judge_many([item for item in some if item[0].tests], stop_on_failure)
        answers = judge.judge_answers([(answer_of(text), p.answer) for p, text in some if p.kind == "math"])
        verdicts, rights = iter(code), iter(answers)
        for problem, _ in some:
            if problem.kind == "math":
                yield problem.id, [TestVerdict("answer", next(rights))]
            else:
                yield problem.id, next(verdicts) if problem.tests else []
        show(start + len(some), len(items))


def answer_of(text: str) -> str:
    """The answer in a math solution: what its last box holds, or all of it where there is none."""
    found = final_answer(text)
    return text if found is None else found


def passed(verdicts: list[TestVerdict]) -> bool | None:
    """Whether all tests passed; None (no verdict) without tests, and where only our own fault (IE) speaks against it."""
    kinds = {v.verdict for v in verdicts}
    if not kinds or (kinds - {"AC", "right"} == {"IE"}):
        return None
    return kinds <= {"AC", "right"}


def as_row(task: str, verdicts: list[TestVerdict]) -> dict:
    """One program as a line of `--json`."""
    tests = [
        {"verdict": v.verdict, "cpu_s": round(v.cpu_s, 6), "wall_s": round(v.wall_s, 6), "memory_mb": round(v.memory_mb, 2)}
        for v in verdicts
    ]  # fmt: skip
    return {"task_id": task, "passed": passed(verdicts), "tests": tests}


def print_table(found: list[Found], rung: str, console: Console) -> None:
    """A row a program, and how many passed."""
    table = Table("task", "passed", "tests", "slowest CPU s", "memory MB")
    for task, verdicts in found:
        counts = Counter(v.verdict for v in verdicts).most_common()
        table.add_row(
            task,
            {True: "[green]yes", False: "[red]no", None: "no verdict"}[passed(verdicts)],
            ", ".join(f"{kind} {count}" for kind, count in counts) or "none",
            f"{max((v.cpu_s for v in verdicts), default=0):.3f}",
            f"{max((v.memory_mb for v in verdicts), default=0):.0f}",
        )
    console.print(table)
    results = Counter(passed(verdicts) for _, verdicts in found)
    unknown = f", {results[None]} without a verdict" if results[None] else ""
    console.print(f"{results[True]} of {len(found)} programs passed{unknown}; judged on rung {rung}", highlight=False)
