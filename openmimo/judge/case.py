"""One program before the judge: which tests are next, and what the worker's outcomes mean for them.

A test near one of its limits has a verdict that chance may decide, so a first run gets twice the limits, and a test that
used between half and twice of one is run again alone: nothing beside it on its CPU, in a process of its own, under the
limits as they stand. The second verdict counts, also the next time that they come (`near`).
"""

from __future__ import annotations

import json
from typing import NamedTuple

from openmimo.errors import UserError
from openmimo.judge import compare, wire
from openmimo.judge.near import Memory, key
from openmimo.judge.texts import TEXTS
from openmimo.rows import Problem, Test, TestVerdict

TRIES = 3
FIRST_RUN = 2  # how many times its limits a test may use in its first run
STDIN_AT_ONCE, CALLS_AT_ONCE, BYTES_AT_ONCE = 16, 1024, 16 << 20  # of one request
BEFORE_STOP = 4  # tests of one request where the first failure ends it
BY_STATUS = {wire.ERROR: "RE", wire.TIME: "TLE", wire.MEMORY: "MLE", wire.OUTPUT: "OLE"}


class Outcome(NamedTuple):
    """What the worker reports of one test, or of a program's loading."""

    status: bytes  # one of wire's
    cpu_s: float
    wall_s: float
    memory_mb: float
    body: bytes  # the result as tagged JSON, or the standard output


class Case:
    """A program and the tests it still has to face. call tests share a child until one fails in it; a stdin or checker
    test has a child to itself."""

    def __init__(self, problem: Problem, program: str, stop_on_failure: bool = False):
        if problem.kind != "code" or not problem.tests:
            raise UserError(f"problem {problem.id!r}: no verdict without tests; give it tests or leave it out")
        self.problem, self.rules, self.stop_on_failure = problem, compare.Rules.of(problem.tags), stop_on_failure
        before, after = problem.tags.get("before", ""), problem.tags.get("after", "")
        text = (program if "from __future__" in program else before + program) + after
        self.program = text.encode("utf-8", "surrogatepass")
        self.pending = list(range(len(problem.tests)))
        self.batch: list[int] = []  # the tests of the request under way
        self.verdicts: list[TestVerdict | None] = [None] * len(problem.tests)
        self.near: list[int] = []  # tests to run again, each alone
        self.near_load = False  # the program's loading was near one: all its tests again, in one process
        self.alone, self.rung = False, ""  # the pool fills in the rung
        self.decided: list[int] = []  # tests that were run alone
        self.failures = 0

    def results(self) -> list[TestVerdict]:
        """A verdict for each test, in order; up to the first failure where that stops it."""
        failed = [number for number, verdict in enumerate(self.verdicts) if verdict and verdict.verdict != "AC"]
        return self.verdicts[: failed[0] + 1] if self.stop_on_failure and failed else self.verdicts

    def request(self) -> bytes:
        """The next request: the program and the inputs of its next tests, never the outputs."""
        tests, limits = self.problem.tests, self.problem.limits
        is_call = tests[self.pending[0]].kind == "call"
        at_once = CALLS_AT_ONCE if is_call else STDIN_AT_ONCE
        if self.stop_on_failure:
            at_once = BEFORE_STOP
        if self.alone and not self.near_load:
            at_once = 1
        self.batch, inputs, size = [], [], 0
        for position in self.pending:
            if (tests[position].kind == "call") == is_call:
                inputs.append(self._input(tests[position]))
                self.batch.append(position)
                size += len(inputs[-1])
                if len(inputs) == at_once or size > BYTES_AT_ONCE:
                    break
        program = self.program
        if is_call:
            program = self.problem.entry_point.encode() + b"\n" + program
        factor = 1 if self.alone else FIRST_RUN
        numbers = (not is_call, limits.cpu_s * factor, limits.wall_s * factor, int(limits.memory_mb * factor))
        header = wire.REQUEST.pack(len(program), len(inputs), *numbers, limits.output_kb)
        return b"".join([header, *(wire.SIZE.pack(len(text)) for text in inputs), program, *inputs])

    def book(self, outcomes: list[Outcome]) -> bool:
        """Turns the outcomes of `batch` into verdicts; False where one was our fault: those tests stay pending."""
        peak = 0.0
        if self.problem.tests[self.batch[0]].kind == "call":
            load, outcomes = outcomes[0], outcomes[1:]
            peak, self.near_load = load.memory_mb, self._is_near(load)
            if load.status != wire.LOADED:  # the program's top level failed, whatever the test
                outcomes = [load] * len(self.batch)
        for position, outcome in zip(self.batch, outcomes, strict=True):
            if outcome.status == wire.FAULT:
                return False
            test = self.problem.tests[position]
            verdict = BY_STATUS.get(outcome.status) or self._compare(test, outcome.body)
            self.verdicts[position] = TestVerdict(
                test.id, verdict, outcome.cpu_s, outcome.wall_s, outcome.memory_mb, self.rung
            )
            self.pending.remove(position)
            self.failures = 0
            if self.alone:
                self.decided.append(position)
            if not self.alone and (self.near_load or self._is_near(outcome, peak)):
                self.near.append(position)
            elif self.stop_on_failure and verdict != "AC":
                self.pending = []
                return True
            peak = outcome.memory_mb
        return True

    def again_alone(self, memory: Memory) -> int:
        """Makes the tests near a limit pending again, those of which the memory knows nothing; how many they are."""
        self.alone = True
        for position in sorted(self.near):
            known = memory.recall(self._key(position), self.problem.tests[position].id)
            if known:
                self.verdicts[position] = known
            else:
                self.pending.append(position)
        return len(self.pending)

    def keep(self, memory: Memory) -> None:
        """Gives the memory the verdicts of the runs alone."""
        for position in self.decided:
            memory.keep(self._key(position), self.verdicts[position])

    def _key(self, position: int) -> bytes:
        return key(self.program, self.problem, self.problem.tests[position], self.rung)

    def fail(self) -> None:
        """The worker failed us. After three times the tests that are left get IE."""
        self.failures += 1
        if self.failures == TRIES:
            for position in self.pending:
                self.verdicts[position] = TestVerdict(self.problem.tests[position].id, "IE", rung=self.rung)
            self.pending = []

    def _is_near(self, outcome: Outcome, peak: float = 0.0) -> bool:
        """Whether it used between half and twice of a limit. peak: of the process before; it counts if it rose."""
        limits = self.problem.limits
        if outcome.cpu_s < limits.cpu_s / 2 and outcome.wall_s < limits.wall_s / 2 and outcome.memory_mb <= peak:
            return False
        used = [outcome.cpu_s / limits.cpu_s, outcome.wall_s / limits.wall_s]
        if outcome.memory_mb > peak:
            used.append(outcome.memory_mb / limits.memory_mb)
        return outcome.status not in (wire.OUTPUT, wire.FAULT) and max(used) >= 0.5 and max(used) <= FIRST_RUN

    def _compare(self, test: Test, body: bytes) -> str:
        """AC, WA, or RE when the body is not what an honest child sends."""
        if test.kind == "stdin":
            return "AC" if compare.same_text(self._data(test, "output", str), body, self.rules) else "WA"
        if test.kind == "checker":
            accepted = self._data(test, "output", list)
            return "AC" if any(compare.same_text(text, body, self.rules) for text in accepted) else "WA"
        if body == TEXTS.of(test, "output", lambda: self._data(test, "output", object)):
            return "AC"
        expected = self._data(test, "output", object)
        try:
            return "AC" if compare.same_value(expected, json.loads(body), self.rules) else "WA"
        except (ValueError, RecursionError):
            return "RE"

    def _input(self, test: Test) -> bytes:
        """What the child reads: standard input, or the arguments as tagged JSON."""
        if test.kind == "call":
            return TEXTS.of(test, "input", lambda: self._data(test, "input", list))
        return self._data(test, "input", str).encode("utf-8", "surrogateescape")

    def _data(self, test: Test, side: str, kind: type) -> object:
        """A test's input or output as tagged JSON; a UserError when it is not data, or not of the kind it must be."""
        value = getattr(test, side)
        where = f"problem {self.problem.id!r}, test {test.id!r}: {side}"
        if not isinstance(value, kind):
            raise UserError(f"{where} must be a {kind.__name__} for a {test.kind} test, not {type(value).__name__}")
        try:
            return wire.encode(value, escape=False)
        except (TypeError, RecursionError) as error:
            raise UserError(f"{where} is not JSON data ({error}); write it as openmimo/judge/wire.py says") from None
