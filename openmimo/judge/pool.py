"""The judge: programs in, a verdict for every test out. It keeps the expected outputs, and the workers on a leash.

    with Judge(workers=2) as judge:
        verdicts = judge.judge_many([(problem, program), ...])     # one list of TestVerdict each, in test order

Verdicts: AC; WA; TLE (CPU time; wall time is a backstop), MLE, OLE; RE (an exception, a crash, a result that is not
data); IE (our fault: a worker died or could not start the program; tried on three workers). Standard library only:
workers are processes of their own that import nothing of ours, so the judge's process may hold torch. Programs have the
standard library and no packages.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from openmimo.errors import UserError
from openmimo.judge.case import TRIES, Case
from openmimo.judge.leash import Worker, WorkerDied
from openmimo.judge.maths import MathJudge
from openmimo.judge.near import MEMORY
from openmimo.rows import Problem, TestVerdict

RUNGS = ("namespaces", "namespaces-only", "landlock", "rlimits")  # see `confine`; the last only where asked for


class Judge:
    """A pool of workers. One caller at a time (others wait); usable from any thread. `rung` names the isolation."""

    def __init__(self, workers: int = 1, rung: str | None = None, unsafe: bool = False):
        """rung: one of RUNGS; None takes the highest that the machine offers. unsafe: take the last one where there is
        no other; programs can then read the machine's files. Each worker and its programs run on one CPU."""
        if workers < 1:
            raise UserError(f"judge: workers must be at least 1, not {workers}")
        if rung not in (None, *RUNGS):
            raise UserError(f"judge: rung {rung!r} is not one of {', '.join(RUNGS)}")
        self.lock = threading.Lock()
        self.maths: MathJudge | None = None
        self.again = 0  # tests near a limit that were run a second time, alone
        cpus = sorted(os.sched_getaffinity(0))
        cpus = [cpus[(os.getpid() + number) % len(cpus)] for number in range(workers)]
        self.rung, first = first_rung([rung] if rung else RUNGS if unsafe else RUNGS[:-1], cpus[0])
        self.workers = [first] + [Worker(self.rung, cpu) for cpu in cpus[1:]]
        for worker in self.workers[1:]:
            worker.wait_ready()

    def judge_many(self, items: list[tuple[Problem, str]], stop_on_failure: bool = False) -> list[list[TestVerdict]]:
        """Every program on all tests of its problem; the order of items and of tests is kept. stop_on_failure: the tests
        after a program's first failure are not judged and not listed. A UserError for a problem without tests, since no
        verdict on it would mean anything."""
        cases = [Case(problem, program, stop_on_failure) for problem, program in items]
        self.run(cases)
        return [case.results() for case in cases]

    def judge_answers(self, pairs: list[tuple[str | None, str]]) -> list[str]:
        """Math answers: a verdict for each (answer, gold answer), see `maths.MathJudge`."""
        if self.maths is None:
            self.maths = MathJudge(len(self.workers))
        return self.maths.judge_many(pairs)

    def run(self, cases: list[Case]) -> None:
        """Runs every case to its end: first all side by side, then the tests near a limit with nothing beside them on
        their CPU."""
        with self.lock:
            for case in cases:
                case.rung = self.rung
            try:
                self._run(cases, len(self.workers))
                again = [case for case in cases if case.near]
                self.again += sum(case.again_alone(MEMORY) for case in again)
                self._run(again, len({worker.cpu for worker in self.workers}))
                for case in again:
                    case.keep(MEMORY)
            finally:  # after an interruption a busy worker's answer would be taken for the next one's
                for worker in list(self.workers):
                    if worker.case:
                        self._replace(worker)

    def _run(self, cases: list[Case], width: int) -> None:
        """Runs the cases on the first `width` workers, which is one for each CPU where it is no more than those."""
        waiting = deque(case for case in cases if case.pending)
        while waiting or any(worker.case for worker in self.workers):
            for worker in self.workers[:width]:
                if waiting and not worker.case:
                    self._give(worker, waiting.popleft(), waiting)
            self._step(waiting)

    def _give(self, worker: Worker, case: Case, waiting: deque[Case]) -> None:
        """Sends the case's next request to the worker, or to its successor where it died idle (no fault of the case)."""
        if worker.process.poll() is not None:
            worker = self._replace(worker)
        try:
            worker.send(case)
        except WorkerDied:
            self._lost(worker, waiting)

    def _step(self, waiting: deque[Case]) -> None:
        """Waits for a busy worker, moves its bytes, books its outcomes."""
        poll, owner = select.poll(), {}
        busy = [worker for worker in self.workers if worker.case]
        for worker in busy:
            for fd, events in worker.interests():
                poll.register(fd, events)
                owner[fd] = worker
        patience = min((worker.deadline for worker in busy), default=0.0) - time.monotonic()
        happened = {owner[fd] for fd, _ in poll.poll(max(0.0, patience) * 1000 + 1)}
        for worker in busy:
            try:
                if worker in happened and worker.advance():
                    if not worker.case.book(worker.outcomes):
                        raise WorkerDied  # it could not start the program
                    case, worker.case = worker.case, None
                    if case.pending:
                        self._give(worker, case, waiting)
                elif time.monotonic() > worker.deadline:
                    raise WorkerDied
            except WorkerDied:
                self._lost(worker, waiting)

    def _lost(self, worker: Worker, waiting: deque[Case]) -> None:
        """A worker is gone: its case goes first in the queue, a new worker takes its place."""
        case = worker.case
        self._replace(worker)
        case.fail()
        if case.pending:
            waiting.appendleft(case)

    def _replace(self, worker: Worker) -> Worker:
        worker.stop()
        new = first_rung([self.rung] * TRIES, worker.cpu)[1]
        self.workers[self.workers.index(worker)] = new
        return new

    def close(self) -> None:
        """Ends the workers; safe to call twice."""
        with self.lock:
            for worker in self.workers:
                worker.stop()
            self.workers = []
        if self.maths:
            self.maths.close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def judge_for(problems: Sequence[Problem]) -> AbstractContextManager[Judge | None]:
    """A judge of one worker where any of the problems is code; none where all are math, which needs no rung."""
    return Judge() if any(problem.kind == "code" for problem in problems) else nullcontext()


def require_verdicts(problems: Sequence[Problem], vectors: Sequence[Sequence[TestVerdict]]) -> None:
    """Raises UserError where a test has the verdict IE: our fault says nothing about a program."""
    for problem, vector in zip(problems, vectors, strict=True):
        if failed := [v.test_id for v in vector if v.verdict == "IE"]:
            raise UserError(
                f"judging problem {problem.id}, test {failed[0]} failed three times by our fault (IE); see to the "
                "machine's memory and processes, then run the same command again"
            )


def first_rung(rungs: Sequence[str], cpu: int) -> tuple[str, Worker]:
    """The first rung on which a worker starts, and that worker."""
    for rung in rungs:
        worker = Worker(rung, cpu)
        try:
            worker.wait_ready()
            return rung, worker
        except WorkerDied:
            worker.stop()
    tried = ", ".join(dict.fromkeys(rungs))
    raise UserError(
        f"judge: no worker starts here with {tried}; allow user namespaces, or Landlock and seccomp, "
        "or give --unsafe (limits alone: `judge run`, `judge serve`) if you trust the programs"
    )
