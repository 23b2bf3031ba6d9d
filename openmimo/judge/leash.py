"""The judge's end of one worker: its process, its pipes, its deadline."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openmimo.judge import wire
from openmimo.judge.case import Case, Outcome

GRACE_S = 20.0  # beyond a request's wall limits, before a silent worker is taken for dead
READ = 1 << 16


BOX = "openmimo-judge-"  # of a worker's folder


class WorkerDied(Exception):
    """The worker's process has ended or does not answer."""


def sweep(place: Path) -> None:
    """Removes the boxes that a killed judge left behind: their names hold its process id."""
    for box in place.glob(f"{BOX}*"):
        owner = box.name.removeprefix(BOX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(box, ignore_errors=True)


class Worker:
    """One worker process. `send` a case, then `advance` on each event until it is True: `outcomes` are there."""

    def __init__(self, rung: str):
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a folder on a disk costs milliseconds
        sweep(Path(memory or tempfile.gettempdir()))
        self.box = tempfile.TemporaryDirectory(prefix=f"{BOX}{os.getpid()}-", dir=memory)
        script = str(Path(__file__).with_name("worker.py"))
        self.process = subprocess.Popen(
            [sys.executable, "-s", "-S", "-B", script, rung, self.box.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={"PYTHONHASHSEED": "0"},
            cwd="/",
            start_new_session=True,
        )
        self.out, self.replies = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.case: Case | None = None
        self.unsent, self.received, self.deadline = memoryview(b""), bytearray(), 0.0
        self.outcomes: list[Outcome] = []

    def wait_ready(self) -> None:
        """Waits until the worker has built its walls. WorkerDied: the machine does not offer them."""
        if self.process.stdout.readline() != b"ready\n":
            raise WorkerDied
        os.set_blocking(self.out, False)
        os.set_blocking(self.replies, False)

    def send(self, case: Case) -> None:
        """Takes the case and begins to send its next request."""
        header, payload = case.request()
        self.case = case
        self.unsent, self.received = memoryview(header + payload), bytearray()
        self.deadline = time.monotonic() + case.problem.limits.wall_s * (1 + len(case.batch)) + GRACE_S
        self._write()

    def interests(self) -> list[tuple[int, int]]:
        """(file descriptor, poll events) to wait for."""
        writes = [(self.out, select.POLLOUT)] if self.unsent else []
        return [(self.replies, select.POLLIN), *writes]

    def advance(self) -> bool:
        """Moves what bytes can be moved; True when the reply is complete and stands in `outcomes`."""
        if self.unsent:
            self._write()
        try:
            data = os.read(self.replies, READ)
        except BlockingIOError:
            return False
        if not data:
            raise WorkerDied
        self.received += data
        if len(self.received) < wire.REPLY.size:
            return False
        count, size = wire.REPLY.unpack_from(self.received)
        text = wire.REPLY.size + count * wire.OUTCOME.size
        if len(self.received) < text + size:
            return False
        heads = wire.OUTCOME.iter_unpack(self.received[wire.REPLY.size : text])
        self.outcomes = [
            Outcome(*numbers, bytes(self.received[text + start : text + end])) for *numbers, start, end in heads
        ]
        return True

    def _write(self) -> None:
        try:
            while self.unsent:
                self.unsent = self.unsent[os.write(self.out, self.unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            raise WorkerDied from None

    def stop(self) -> None:
        """Ends the worker and all that it runs; its folder goes too. Safe to call twice."""
        self.process.terminate()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.box.cleanup()
