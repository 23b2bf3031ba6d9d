"""The work of a judge server: a bounded queue of jobs, and one judge with one worker for each lane that takes them.

    service = Service(workers=2, most=128)
    job = service.add(Job(problem, program))        # Full: come again in so many seconds
    service.add_answers([("1/2", "0.5"), ...])

A job is one program, or some math answers. Each lane takes the next job when it is free, so a slow program holds up
nobody but itself. A job that its asker has given up is dropped when its turn comes.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future

from openmimo.judge.pool import Judge
from openmimo.rows import Problem, TestVerdict

FIRST_GUESS_S = 0.1  # of a job, before any was timed


class Full(Exception):
    """The queue has no room. `retry_after`: seconds until it should have."""

    def __init__(self, retry_after: int):
        super().__init__(f"the judge's queue is full; come again in {retry_after} s")
        self.retry_after = retry_after


class Closed(Exception):
    """The service takes no more jobs."""


class Program:
    """A program to judge; `future` will hold its list of TestVerdict."""

    def __init__(self, problem: Problem, program: str, stop_on_failure: bool):
        self.problem, self.program, self.stop_on_failure = problem, program, stop_on_failure
        self.future: Future[list[TestVerdict]] = Future()

    def run(self, judge: Judge) -> list[TestVerdict]:
        return judge.judge_many([(self.problem, self.program)], self.stop_on_failure)[0]


class Answers:
    """Math answers to judge; `future` will hold a list of verdicts."""

    def __init__(self, pairs: list[tuple[str | None, str]]):
        self.pairs = pairs
        self.future: Future[list[str]] = Future()

    def run(self, judge: Judge) -> list[str]:
        return judge.judge_answers(self.pairs)


class Service:
    """Lanes that judge, and the queue before them. Usable from any thread."""

    def __init__(self, workers: int, most: int, unsafe: bool = False):
        """most: jobs that may wait; more are refused, unless nothing waits (one request of any size gets in). unsafe:
        see `Judge`."""
        self.judges = [Judge(1, unsafe=unsafe) for _ in range(workers)]
        self.rung, self.most = self.judges[0].rung, most
        self.waiting: deque[Program | Answers] = deque()
        self.changed, self.closed = threading.Condition(), False
        self.busy, self.job_s = 0, FIRST_GUESS_S  # a running mean
        self.threads = [threading.Thread(target=self._lane, args=(judge,), daemon=True) for judge in self.judges]
        for thread in self.threads:
            thread.start()

    def add(self, jobs: Sequence[Program | Answers]) -> None:
        """Queues all jobs or none. Full, Closed."""
        with self.changed:
            if self.closed:
                raise Closed
            if self.waiting and len(self.waiting) + len(jobs) > self.most:
                raise Full(max(1, math.ceil(len(self.waiting) * self.job_s / len(self.judges))))
            self.waiting.extend(jobs)
            self.changed.notify(len(jobs))

    def _lane(self, judge: Judge) -> None:
        """Takes jobs until the service is closed. Whatever a job raises is its asker's to see."""
        while True:
            with self.changed:
                while not self.waiting and not self.closed:
                    self.changed.wait()
                if self.closed:
                    return
                job = self.waiting.popleft()
                if not job.future.set_running_or_notify_cancel():
                    continue
                self.busy += 1
            began = time.monotonic()
            try:
                result = job.run(judge)
            except Exception as error:
                job.future.set_exception(error)
            else:
                job.future.set_result(result)
            with self.changed:
                self.busy -= 1
                self.job_s += 0.1 * (time.monotonic() - began - self.job_s)

    def close(self) -> None:
        """Drops what waits, finishes what runs, ends the workers."""
        with self.changed:
            self.closed = True
            for job in self.waiting:
                job.future.cancel()
            self.waiting.clear()
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()
        for judge in self.judges:
            judge.close()
