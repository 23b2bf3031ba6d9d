"""`openmimo rl difficulty`: verdicts of many solutions in, the difficulty of every test out [R 3.3.1].

Rows are JSONL, of several models in one file or several: Rollout rows (openmimo/rows.py), or what `openmimo judge run
--json` prints, whose tests are known by their place. A test's pass rate pools all solutions of all models; see
`difficulty.levels` for unknown and never-passed tests, ties, and problems of one level or one test.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from openmimo.errors import UserError
from openmimo.judge.formats import read_problems
from openmimo.judge.pool import Judge
from openmimo.rl.difficulty import DifficultyTable
from openmimo.rows import Problem, Rollout, Test, TestVerdict, from_dict, read_jsonl

VERDICTS = {"AC", "WA", "TLE", "MLE", "OLE", "RE", "IE"}
Tests = dict[str, list[str]]  # problem id -> its tests' ids, in order


def tabulate(rollouts: Sequence[Path], problems: Path | None, out: Path, console: Console) -> None:
    """Writes the table to `out` and prints how many tests are of which level. problems: any format that the judge
    reads; with it, tests that no row has are in the table too, and rows may know their tests by place."""
    known: Tests | None = None
    if problems:
        with Judge() as judge:
            known = {p.id: [t.id for t in p.tests] for p in read_problems(problems, judge) if p.tests}
    rows = [row for path in rollouts for row in read_verdicts(path, known)]
    if not rows:
        raise UserError(
            f"{rollouts[0]}: there are no verdicts of code problems; give rollouts whose programs were judged"
        )
    table = DifficultyTable.build(stand_ins(rows, known), rows)
    table.save(out)
    show(table, len(rows), out, console)


def read_verdicts(path: Path, known: Tests | None) -> Iterator[Rollout]:
    """The rows with verdicts; those without (math, no program in the response) say nothing about tests."""
    for where, data in read_jsonl(path):
        row = by_place(data, known, where) if isinstance(data, dict) and "task_id" in data else None
        row = row or from_dict(data, Rollout, where)
        tests = [verdict.test_id for verdict in row.verdicts]
        if bad := next((v.verdict for v in row.verdicts if v.verdict not in VERDICTS), None):
            raise UserError(f"{where}: verdict {bad!r} is not one of {', '.join(sorted(VERDICTS))}")
        if len(set(tests)) < len(tests):
            raise UserError(f"{where}: a test comes twice; give each test of a rollout one verdict")
        if known is not None and tests and not set(tests) <= set(known.get(row.problem_id, ())):
            raise UserError(f"{where}: problem {row.problem_id!r} has no such tests in the file of problems")
        if tests:
            yield row


def by_place(data: dict[str, Any], known: Tests | None, where: str) -> Rollout:
    """A row of `openmimo judge run --json` as a Rollout; it may end early (`--stop-on-failure`)."""
    task, tests = data["task_id"], data.get("tests")
    if known is None:
        raise UserError(f"{where}: this row's tests are known by their place alone; give the problems with --problems")
    if task not in known or not isinstance(tests, list) or len(tests) > len(known[task]):
        raise UserError(
            f"{where}: {task!r} with these tests is not in the file of problems; give the one it was judged on"
        )
    verdicts = [TestVerdict(test, one["verdict"]) for test, one in zip(known[task], tests, strict=False)]
    return Rollout(task, "", 0, 0, 0, 0, [], [], "stop", verdicts=verdicts)


def stand_ins(rows: list[Rollout], known: Tests | None) -> list[Problem]:
    """Problems with the tests that are known, or that the rows name in the order in which they name them."""
    found: dict[str, dict[str, None]] = {}
    for row in rows if known is None else ():
        found.setdefault(row.problem_id, {}).update(dict.fromkeys(v.test_id for v in row.verdicts))
    shape = Problem("", "code", [{"role": "user", "content": ""}])
    return [
        replace(shape, id=name, tests=[Test(test, "stdin", "", "") for test in tests])
        for name, tests in (known or found).items()
    ]


def show(table: DifficultyTable, solutions: int, out: Path, console: Console) -> None:
    """How many problems have how many levels, how many tests are in each, and the table's hash."""
    rates = [rate for of in table.passrates.values() for rate in of.values()]
    deepest = max(map(len, table.levels.values()))
    shown = Table("levels", "problems", *(f"tests of level {n + 1}" for n in range(deepest)))
    for count in range(1, deepest + 1):
        some = [levels for levels in table.levels.values() if len(levels) == count]
        sizes = [str(sum(len(levels[n]) for levels in some)) if n < count else "" for n in range(deepest)]
        shown.add_row(str(count), str(len(some)), *sizes)
    console.print(shown)
    console.print(
        f"{solutions} solutions, {len(table.levels)} problems, {len(rates)} tests: {rates.count(0)} never passed, "
        f"{rates.count(None)} of unknown rate; level 1 is the easiest\nwrote {out}, hash {table.hash[:16]}",
        highlight=False,
    )
