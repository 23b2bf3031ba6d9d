"""Engines that roll out: in this process, or in processes of their own that may die or hang without taking the run along.

    worker = Process(model, stop_ids, slots, vocab_size); worker.update(state, version); worker.start(n, requests)

Messages are pickled over a socket pair: weights once a step, requests, and whole groups back. A worker process ends
when its parent does, however that died. `python -m openmimo.rl.rollout.workers FD` is the child.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from multiprocessing.connection import Connection

import torch

from openmimo.infer.engine import Engine, Request
from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer
from openmimo.rl.rollout.feed import Done, Feed

BEAT_S = 1.0
LOADING_S = 60.0  # of silence that a new process may take before its first word


class WorkerLost(Exception):
    """The process is gone or silent."""


class Local:
    """An engine in this process; it works while the driver waits."""

    def __init__(self, model: Transformer, stop_ids: list[int], slots: int, vocab_size: int):
        self.feed = Feed(Engine(model, stop_ids, slots, vocab_size), slots)
        self.slots = slots
        self.left: dict[int, int] = {}  # samples that are not complete, of each task it was given

    def update(self, state: dict[str, torch.Tensor], version: int) -> None:
        """New weights, copied; what an error left behind goes."""
        self.feed.clear()
        self.feed.engine.update_weights(state, version)

    def start(self, n: int, requests: list[Request]) -> None:
        self.feed.start(n, requests)

    def abort(self, n: int) -> None:
        self.feed.abort(n)

    def receive(self) -> tuple[list[int], list[Done]]:
        """One step of the engine, see `Feed.work`."""
        return self.feed.work() if self.feed.busy else ([], [])

    def take_steps(self) -> list:
        return self.feed.take_steps()

    def close(self) -> None:
        self.feed.clear()


class Remote(ABC):
    """What the driver keeps of an engine elsewhere. hang_s: seconds of silence, while it has tasks, after which it counts
    as lost. `connection` is ready when `receive` has something."""

    connection: Connection

    def __init__(self, slots: int, hang_s: float):
        self.slots, self.hang_s = slots, hang_s
        self.left: dict[int, int] = {}  # as in Local
        self.steps: list = []
        self.weights: tuple | None = None
        self.heard = time.monotonic()

    @abstractmethod
    def send(self, what: str, *values) -> None:
        """`weights` (state, version), `start` (n, requests) or `abort` (n). Raises WorkerLost."""

    def update(self, state: dict[str, torch.Tensor], version: int) -> None:
        """New weights; whatever it still did is dropped."""
        self.weights = ({name: value.detach().clone() for name, value in state.items()}, version)
        self.send("weights", *self.weights)

    def start(self, n: int, requests: list[Request]) -> None:
        if self.left.keys() <= {n}:  # it had nothing to say while it had nothing to do
            self.heard = max(self.heard, time.monotonic())
        self.send("start", n, requests)

    def abort(self, n: int) -> None:
        self.send("abort", n)

    def check_silence(self) -> None:
        """Raises WorkerLost where it has tasks and was silent for too long."""
        if self.left and time.monotonic() - self.heard > self.hang_s:
            raise WorkerLost

    def take_steps(self) -> list:
        steps, self.steps = self.steps, []
        return steps


class Process(Remote):
    """An engine in a process of its own, of one thread."""

    def __init__(self, model: Transformer, stop_ids: list[int], slots: int, vocab_size: int, hang_s: float = 60.0):
        super().__init__(slots, hang_s)
        self.made_of = (model.config, stop_ids, slots, vocab_size)
        self._begin()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "openmimo.rl.rollout.workers", str(theirs.fileno())]
        with theirs:
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):  # a stopped process must not stop us
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", max(1, int(self.hang_s)), 0))
        self.connection = Connection(ours.detach())
        self.heard = time.monotonic() + LOADING_S
        self.send("engine", *self.made_of)
        if self.weights:
            self.send("weights", *self.weights)

    def send(self, what: str, *values) -> None:
        try:
            self.connection.send_bytes(pickle.dumps((what, *values)))  # `send` would share tensors by file descriptors
        except OSError:
            raise WorkerLost from None

    def receive(self) -> tuple[list[int], list[Done]]:
        """As `Feed.work`. Raises WorkerLost when the process is gone, or silent for too long."""
        partly, done = [], []
        try:
            while self.connection.poll():
                self.heard = time.monotonic()
                what, value = self.connection.recv()
                if what == "work" and value[0] == self.weights[1]:  # else of a step that is over
                    partly += value[1]
                    done += value[2]
                elif what == "steps":
                    self.steps += value
        except (OSError, EOFError):
            raise WorkerLost from None
        self.check_silence()
        return partly, done

    def restart(self) -> None:
        """A new process in the place of a lost one, with the same weights and no tasks."""
        self.close()
        self.left = {}
        self._begin()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.connection.close()


def serve(connection: Connection) -> None:
    """The child: one engine, until the parent is gone."""
    torch.set_num_threads(1)
    feed: Feed | None = None
    beat, version = time.monotonic(), -1
    while True:
        while connection.poll(0 if feed and feed.busy else None):
            match pickle.loads(connection.recv_bytes()):
                case ("engine", ModelConfig() as config, stop_ids, slots, vocab_size):
                    feed = Feed(Engine(Transformer(config), stop_ids, slots, vocab_size), slots)
                    connection.send(("steps", []))  # here: from now on silence means something
                case ("weights", state, version):
                    feed.clear()
                    feed.engine.update_weights(state, version)
                case ("start", n, requests):
                    feed.start(n, requests)
                case ("abort", n):
                    feed.abort(n)
        partly, done = feed.work()
        if partly or done:
            connection.send(("work", (version, partly, done)))
        if time.monotonic() - beat > BEAT_S or not feed.busy:
            beat = time.monotonic()
            connection.send(("steps", feed.take_steps()))


if __name__ == "__main__":
    try:
        serve(Connection(int(sys.argv[1])))
    except (EOFError, OSError):
        pass  # the parent is gone
