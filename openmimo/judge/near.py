"""What became of tests near a limit, by content: a verdict that chance may decide is decided once.

A test that is near a limit again, with the same program and limits, gets the verdict of its run alone and is not run a
third time. One memory for all judges of a process; the oldest verdicts go first.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

from openmimo.rows import Problem, Test, TestVerdict

MOST = 100_000


class Memory:
    """Verdicts by `key`. Usable from any thread."""

    def __init__(self, most: int = MOST):
        self.most, self.lock = most, threading.Lock()
        self.verdicts: dict[bytes, TestVerdict] = {}

    def recall(self, key: bytes, test_id: str) -> TestVerdict | None:
        """The verdict kept under the key, under the name that the test has now."""
        with self.lock:
            found = self.verdicts.get(key)
        return found and replace(found, test_id=test_id)

    def keep(self, key: bytes, verdict: TestVerdict) -> None:
        with self.lock:
            self.verdicts[key] = verdict
            if len(self.verdicts) > self.most:
                del self.verdicts[next(iter(self.verdicts))]


MEMORY = Memory()


def key(program: bytes, problem: Problem, test: Test, rung: str) -> bytes:
    """A hash of all that the verdict depends on; `program` as the worker gets it."""
    parts = [
        problem.entry_point,
        problem.limits,
        sorted(problem.tags.items(), key=str),
        test.kind,
        test.input,
        test.output,
    ]
    return hashlib.sha256(program + repr([rung, *parts]).encode("utf-8", "surrogatepass")).digest()
