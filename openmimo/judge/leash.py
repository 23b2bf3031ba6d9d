"""The judge's end of one worker: its process, its pipes, its deadline."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from openmimo.judge import wire
from openmimo.judge.case import Case, Outcome

GRACE_S = 20.0  # beyond a request's wall limits, before a silent worker is taken for dead
SHARED = 10  # how much slower than alone a worker may be on a crowded machine
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


def end_session(leader: int) -> None:
    """Kills what a worker that was killed could not: its session's processes, which none of them can leave."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if int((folder / "stat").read_text().rpartition(")")[2].split()[3]) == leader:
                    os.kill(int(folder.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                continue


class Worker:
    """One worker process. `send` a case, then `advance` on each event until it is True: `outcomes` are there."""

    def __init__(self, rung: str, cpu: int):
        """rung: see `confine`; cpu: the one that the worker and its programs run on."""
        self.rung, self.cpu = rung, cpu
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a folder on a disk costs milliseconds
        sweep(Path(memory or tempfile.gettempdir()))
        self.box = tempfile.TemporaryDirectory(prefix=f"{BOX}{os.getpid()}-", dir=memory)
        start = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import worker; worker.main()"
        self.process = subprocess.Popen(  # as a module, since that is compiled once: a heap without a compiler's litter
            [sys.executable, "-s", "-S", "-P", "-c", start, rung, self.box.name, str(cpu)],
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
        request = case.request()
        self.case = case
        self.unsent, self.received = memoryview(request), bytearray()
        self.deadline = time.monotonic() + SHARED * case.problem.limits.wall_s * (1 + len(case.batch)) + GRACE_S
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
        if not self.rung.startswith("namespaces"):  # there, all ends with the worker
            end_session(self.process.pid)
        self.process.stdin.close()
        self.process.stdout.close()
        self.box.cleanup()
