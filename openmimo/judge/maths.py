r"""Math answers: is the response's answer the gold one? Exact match first, then Math-Verify in processes of its own.

    with MathJudge(workers=2) as judge:
        judge.judge_many([("\\frac{1}{2}", "0.5"), ("3", "4"), (None, "4")])  ->  ["right", "wrong", "unparsable"]

Verdicts: right; wrong; unparsable (no answer, or Math-Verify finds no mathematics in it, or not in time); IE (our fault:
three processes died of it). Math-Verify's own time limit is an alarm that a busy C loop or a thread never hears, so the
process is killed from outside when one answer has had its CPU time. Several answers are one wrong answer.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

from openmimo.errors import UserError
from openmimo.judge.maths_text import normal, settled

CPU_S, WALL_S, TRIES = 5.0, 60.0, 3
LOOK_S = 0.25  # between two looks at the clocks of busy processes
Pair = tuple[str | None, str]


class MathJudge:
    """A pool of Math-Verify processes, started when they are first needed. One caller at a time; others wait."""

    def __init__(self, workers: int = 1):
        if workers < 1:
            raise UserError(f"math judge: workers must be at least 1, not {workers}")
        self.lock = threading.Lock()
        self.count = workers
        self.workers: list[Verifier] = []

    def judge_many(self, pairs: list[Pair], short_circuit: bool = True) -> list[str]:
        """A verdict for each (response's answer, gold answer); both as text or LaTeX, without `\\boxed`. short_circuit:
        plainly the same text is right, two whole numbers are compared at once."""
        known = {pair: settled(*pair, short_circuit) for pair in dict.fromkeys(pairs)}
        with self.lock:
            known |= self._verify([pair for pair, verdict in known.items() if verdict is None])
        return [known[pair] for pair in pairs]

    def _verify(self, pairs: list[Pair]) -> dict[Pair, str]:
        """Math-Verify's verdicts, whatever becomes of its processes."""
        waiting, found, tries = deque(pairs), {}, dict.fromkeys(pairs, TRIES)
        while len(self.workers) < min(self.count, len(pairs)):
            self.workers.append(Verifier())
        for worker in self.workers:  # after an interruption, a busy worker's answer would be taken for the next one's
            if worker.pair:
                worker.stop()
        try:
            while len(found) < len(pairs):
                for worker in self.workers:
                    if waiting and worker.pair is None:
                        worker.ask(waiting.popleft())
                busy = {worker.replies(): worker for worker in self.workers if worker.pair}
                ready = select.select(list(busy), [], [], LOOK_S)[0]
                for fd, worker in busy.items():
                    pair, verdict = worker.pair, worker.answer(fd in ready)
                    if verdict == "died":
                        tries[pair] -= 1
                        if tries[pair]:
                            waiting.appendleft(pair)
                        else:
                            found[pair] = "IE"
                    elif verdict:
                        found[pair] = verdict
        finally:
            for worker in self.workers:
                if worker.pair:
                    worker.stop()
        return found

    def close(self) -> None:
        """Ends the processes; the next answer that needs one starts another. Safe to call twice."""
        with self.lock:
            for worker in self.workers:
                worker.stop()
            self.workers = []

    def __enter__(self) -> MathJudge:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class Verifier:
    """One Math-Verify process and the pair that it works on; a new process takes the place of one that ended."""

    def __init__(self):
        self.process: subprocess.Popen | None = None
        self.pair: Pair | None = None
        self.cpu_start, self.wall_start = 0.0, 0.0

    def start(self) -> None:
        script = str(Path(__file__).with_name("maths_worker.py"))
        paths = os.pathsep.join(filter(None, sys.path))
        self.process = subprocess.Popen(
            [sys.executable, "-P", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={"PYTHONHASHSEED": "0", "PYTHONPATH": paths},
            start_new_session=True,
        )
        if self.process.stdout.readline() != b"ready\n":
            self.stop()
            raise UserError("math judge: Math-Verify could not be started; install it with `pip install math-verify`")

    def ask(self, pair: Pair) -> None:
        """Sends the pair; a process that has ended is noticed when its answer is asked for."""
        if self.process is None:
            self.start()
        self.pair = pair
        self.cpu_start, self.wall_start = cpu_seconds(self.process.pid), time.monotonic()
        try:
            self.process.stdin.write(json.dumps([normal(pair[0]), normal(pair[1])]).encode() + b"\n")
        except BrokenPipeError:
            pass

    def replies(self) -> int:
        return self.process.stdout.fileno()

    def answer(self, ready: bool) -> str | None:
        """The verdict where it is there (`ready`) or the time is over; `died` without one; None: not yet."""
        if ready:
            if line := self.process.stdout.readline():
                self.pair = None
                return line.decode().strip()
            self.stop()
            return "died"
        spent = cpu_seconds(self.process.pid) - self.cpu_start
        if spent > CPU_S or time.monotonic() - self.wall_start > WALL_S:
            self.stop()
            return "unparsable"
        return None

    def stop(self) -> None:
        """Ends the process. Safe to call twice."""
        self.pair = None
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None


def cpu_seconds(pid: int) -> float:
    """CPU time of a process that is not yet waited for, from the kernel."""
    return time.clock_gettime(~pid << 3 | 2)
