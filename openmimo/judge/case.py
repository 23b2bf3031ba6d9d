"""One program before the judge: which tests are next, and what the worker's outcomes mean for them."""

from __future__ import annotations

import json
from typing import NamedTuple

from openmimo.errors import UserError
from openmimo.judge import compare, wire
from openmimo.rows import Problem, Test, TestVerdict

TRIES = 3
BY_STATUS = {wire.ERROR: "RE", wire.TIME: "TLE", wire.MEMORY: "MLE", wire.OUTPUT: "OLE"}


class Outcome(NamedTuple):
    """What the worker reports of one test, or of a program's loading."""

    status: bytes  # one of wire's
    cpu_s: float
    wall_s: float
    memory_mb: float
    body: bytes  # the result as tagged JSON, or the standard output


class Case:
    """A program and the tests it still has to face. All call tests share a child until one kills it; a stdin or
    checker test has a child to itself."""

    def __init__(self, problem: Problem, program: str, stop_on_failure: bool = False):
        if problem.kind != "code" or not problem.tests:
            raise UserError(f"problem {problem.id!r}: no verdict without tests; give it tests or leave it out")
        self.problem, self.rules = problem, compare.Rules.of(problem.tags)
        before, after = problem.tags.get("before", ""), problem.tags.get("after", "")
        self.program = (program if "from __future__" in program else before + program) + after
        self.pending = list(range(len(problem.tests)))
        self.batch: list[int] = []  # the tests of the request under way
        self.verdicts: list[TestVerdict | None] = [None] * len(problem.tests)
        self.failures, self.stop_on_failure = 0, stop_on_failure

    def request(self) -> tuple[bytes, bytes]:
        """(header, payload) for the next tests: the program and their inputs, never the outputs."""
        tests, limits = self.problem.tests, self.problem.limits
        is_call = tests[self.pending[0]].kind == "call"
        self.batch = [i for i in self.pending if tests[i].kind == "call"] if is_call else self.pending[:1]
        if is_call:
            inputs = [self._data(tests[i], "input", list) for i in self.batch]
            job = {"program": self.program, "entry_point": self.problem.entry_point, "inputs": inputs}
        else:
            job = {"program": self.program, "stdin": self._data(tests[self.batch[0]], "input", str)}
        payload = json.dumps(job).encode()
        numbers = (len(self.batch), not is_call, limits.cpu_s, limits.wall_s, limits.memory_mb, limits.output_kb)
        return wire.REQUEST.pack(len(payload), *numbers), payload

    def book(self, outcomes: list[Outcome]) -> None:
        """Turns the outcomes of `batch` into verdicts; what has none stays pending. A FAULT counts as a failure."""
        is_call = self.problem.tests[self.batch[0]].kind == "call"
        if is_call and outcomes[0].status != wire.LOADED:  # the program's top level failed, whatever the test
            outcomes = outcomes[:1] * len(self.batch)
        elif is_call:
            outcomes = outcomes[1:]
        if outcomes and outcomes[0].status == wire.FAULT:
            return self.fail()
        for position, outcome in zip(self.batch, outcomes, strict=False):
            test = self.problem.tests[position]
            verdict = BY_STATUS.get(outcome.status) or self._compare(test, outcome.body)
            self.verdicts[position] = TestVerdict(test.id, verdict, outcome.cpu_s, outcome.wall_s, outcome.memory_mb)
            self.pending.remove(position)
            if self.stop_on_failure and verdict != "AC":
                self.pending = []
                return None

    def fail(self) -> None:
        """The worker failed us. After three times the tests that are left get IE."""
        self.failures += 1
        if self.failures == TRIES:
            for position in self.pending:
                self.verdicts[position] = TestVerdict(self.problem.tests[position].id, "IE")
            self.pending = []

    def _compare(self, test: Test, body: bytes) -> str:
        """AC, WA, or RE when the body is not what an honest child sends."""
        if test.kind == "stdin":
            return "AC" if compare.same_text(self._data(test, "output", str), body, self.rules) else "WA"
        if test.kind == "checker":
            accepted = self._data(test, "output", list)
            return "AC" if any(compare.same_text(text, body, self.rules) for text in accepted) else "WA"
        expected = self._data(test, "output", object)
        try:
            return "AC" if compare.same_value(expected, json.loads(body), self.rules) else "WA"
        except (ValueError, RecursionError):
            return "RE"

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
