"""Engines that are asked for their work over a network: a thread a worker pulls, a pipe wakes the driver.

A subclass says how one round is pulled; see `on_ray`, `on_vllm`.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from abc import abstractmethod
from multiprocessing.connection import Connection

from openmimo.infer.engine import Request
from openmimo.rl.rollout.feed import Done
from openmimo.rl.rollout.workers import Remote, WorkerLost

Round = tuple[int, list[int], list[Done], list]  # version, task of each sample complete, tasks complete, decode steps


class Pulled(Remote):
    """An engine that answers when it is asked."""

    def __init__(self, slots: int, hang_s: float = 60.0):
        super().__init__(slots, hang_s)
        self.inbox: queue.SimpleQueue[Round | None] = queue.SimpleQueue()  # None: lost
        self.wake, self.over = threading.Event(), False
        read, self.ring = os.pipe()
        self.connection = Connection(read, writable=False)
        self.thread: threading.Thread | None = None

    def listen(self) -> None:
        """Starts the thread that pulls; for a new life of the engine."""
        self.inbox, self.wake, self.over = queue.SimpleQueue(), threading.Event(), False
        self.heard = time.monotonic()
        self.thread = threading.Thread(target=self._pull, args=(self.inbox, self.wake), daemon=True)
        self.thread.start()

    def _pull(self, inbox: queue.SimpleQueue, wake: threading.Event) -> None:
        while not self.over and inbox is self.inbox:
            if not self.left:
                wake.wait(1.0)
                wake.clear()
                continue
            try:
                found = self.round()
            except WorkerLost:
                found = None
            inbox.put(found)
            if found is None or found[1] or found[2]:
                os.write(self.ring, b".")
            if found is None:
                return

    @abstractmethod
    def round(self) -> Round:
        """What came of a short while of work; blocks no longer than about a second. Raises WorkerLost."""

    def start(self, n: int, requests: list[Request]) -> None:
        super().start(n, requests)
        self.wake.set()

    def receive(self) -> tuple[list[int], list[Done]]:
        """As `Feed.work`. Raises WorkerLost when the engine is gone, or silent for too long."""
        partly, done = [], []
        while self.connection.poll():
            os.read(self.connection.fileno(), 1 << 12)
        while not self.inbox.empty():
            found = self.inbox.get()
            if found is None:
                raise WorkerLost
            self.heard = time.monotonic()
            version, some, whole, steps = found
            self.steps += steps
            if self.weights and version == self.weights[1]:  # else of a step that is over
                partly, done = partly + some, done + whole
        self.check_silence()
        return partly, done

    def restart(self) -> None:
        """The engine anew, with the same weights and no tasks."""
        self.left = {}
        self.begin()
        if self.weights:
            self.send("weights", *self.weights)

    @abstractmethod
    def begin(self) -> None:
        """A new engine in the place of a lost one."""

    def close(self) -> None:
        self.over = True
        self.wake.set()
        if self.thread:
            self.thread.join(timeout=5.0)
        self.connection.close()
        os.close(self.ring)
