"""Expected values from golden solutions, computed in a sandbox of their own and kept on disk.

A problem whose tag `expected` is `golden` has inputs alone; `with_expected` runs its golden solution in the judge, where
it is as confined as any candidate, and returns the problem with outputs and limits. What was computed is kept under
`$XDG_CACHE_HOME/openmimo/expected/` (`~/.cache` without it), by the hash of program and inputs.

A test that costs the golden solution more than 10 s of CPU time, or whose result is more than 16 MB of JSON, is left out:
no candidate could be judged on it at a bearable price. The tag `left_out` names such tests (of MBPP+'s 41,015 they are
five, all of Mbpp/255).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.judge.case import Case
from openmimo.judge.pool import Judge
from openmimo.rows import Limits, Problem, Test

ROOMY = Limits(cpu_s=10.0, wall_s=120.0, memory_mb=4096, output_kb=1 << 14)
SLOWER, LEAST_CPU_S = 4.0, 1.0  # a candidate may take this many times the golden solution's slowest test, at least 1 s
AT_ONCE = 8  # golden solutions between two calls of `progress`
VERSION = 1  # of what is kept on disk
Progress = Callable[[int, int], None]  # golden solutions done, of how many


class Golden(Case):
    """A golden solution under way: every result is taken as it is, in `values` by test id."""

    def __init__(self, problem: Problem):
        super().__init__(replace(problem, limits=ROOMY), problem.golden)
        self.values: dict[str, Any] = {}

    def _compare(self, test: Test, body: bytes) -> str:
        self.values[test.id] = json.loads(body)
        return "AC"

    def found(self) -> dict[str, Any]:
        """`values`, and `cpu_s` of the slowest of these tests; a UserError where a test failed."""
        if bad := next((v for v in self.verdicts if v.verdict not in ("AC", "TLE", "OLE")), None):
            raise UserError(
                f"problem {self.problem.id!r}: its golden solution has {bad.verdict} on test {bad.test_id}, so there is "
                "no expected value; mend or leave out the row"
            )
        return {"values": self.values, "cpu_s": max((v.cpu_s for v in self.verdicts if v.verdict == "AC"), default=0.0)}


def with_expected(problems: Sequence[Problem], judge: Judge, progress: Progress) -> list[Problem]:
    """The problems, those of tag `expected` = `golden` complete. A UserError where a golden solution fails a test."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "openmimo" / "expected"
    asked = [p for p in problems if p.tags.get("expected") == "golden" and p.tests]
    known = {p.id: kept(folder / key(p)) for p in asked}
    missing = [p for p in asked if known[p.id] is None]
    for start in range(0, len(missing), AT_ONCE):
        cases = [Golden(p) for p in missing[start : start + AT_ONCE]]
        judge.run(cases)
        for case in cases:
            known[case.problem.id] = case.found()
            keep(folder / key(case.problem), known[case.problem.id])
        progress(start + len(cases), len(missing))
    return [complete(p, known[p.id]) if p.id in known else p for p in problems]


def complete(problem: Problem, found: dict[str, Any]) -> Problem:
    """The problem with its expected values, and limits by what the golden solution needed."""
    values = found["values"]
    tests = [replace(test, output=values[test.id]) for test in problem.tests if test.id in values]
    cpu_s = max(LEAST_CPU_S, SLOWER * found["cpu_s"])
    longest = max((len(json.dumps(value)) for value in values.values()), default=0)
    limits = replace(
        problem.limits, cpu_s=cpu_s, wall_s=3 * cpu_s + 2, output_kb=max(problem.limits.output_kb, 4 * longest >> 10)
    )
    tags = {name: value for name, value in problem.tags.items() if name != "expected"}
    if left_out := [test.id for test in problem.tests if test.id not in values]:
        tags["left_out"] = left_out
    return replace(problem, tests=tests, limits=limits, tags=tags)


def key(problem: Problem) -> str:
    """The file's name: a hash of all that the values depend on."""
    parts = [VERSION, problem.golden, problem.tags.get("after"), problem.entry_point, [t.input for t in problem.tests]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest() + ".json"


def kept(path: Path) -> dict[str, Any] | None:
    """What was computed before, or None."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None


def keep(path: Path, found: dict[str, Any]) -> None:
    """Writes it, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(found))
    part.replace(path)
