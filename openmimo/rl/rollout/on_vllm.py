"""vLLM servers as engines of a run. Each is started with VLLM_SERVER_DEV_MODE=1, so that it takes weights.

    rl.engines_at = "http://gpu-1:8000,http://gpu-2:8000"

New weights are written where the server must be able to read them: the folder for temporary files (TMPDIR). The batch is
a function of the seed only where vLLM's numbers do not depend on its batching; see `engines.purity`.
"""

from __future__ import annotations

import queue
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openmimo.errors import UserError
from openmimo.infer.request import Event, Request
from openmimo.infer.vllm_backend import VLLMServer
from openmimo.model.config import ModelConfig
from openmimo.rl.rollout.feed import Done
from openmimo.rl.rollout.pulled import Pulled, Round
from openmimo.rl.rollout.workers import WorkerLost


class VLLMWorker(Pulled):
    """One server; `slots` requests at a time."""

    def __init__(
        self, url: str, model: str, config: ModelConfig, stop_ids: list[int], slots: int, hang_s: float = 600.0
    ):
        super().__init__(slots, hang_s)
        self.url, self.model, self.config, self.stop_ids = url, model, config, stop_ids
        self.exchange = tempfile.TemporaryDirectory(prefix="openmimo-weights-")
        self.found: queue.SimpleQueue[tuple | None] = queue.SimpleQueue()
        self.gone: set[tuple[int, int]] = set()  # (version, task)
        self.parts: dict[tuple[int, int], dict[int, tuple[float, float, Event]]] = {}
        self.begin()

    def begin(self) -> None:
        folder = Path(self.exchange.name) / "weights"
        self.server = VLLMServer(self.url, self.model, self.config, self.stop_ids, folder, self.slots)
        self.pool = ThreadPoolExecutor(self.slots, "vllm")
        self.parts.clear()
        self.listen()

    def send(self, what: str, *values) -> None:
        if what == "weights":
            self.server.update_weights(*values)
        elif what == "abort":
            self.gone.add((self.weights[1], values[0]))
        else:
            n, requests = values
            for i, request in enumerate(requests):
                self.pool.submit(self._one, self.weights[1], n, i, len(requests), request)

    def _one(self, version: int, n: int, i: int, size: int, request: Request) -> None:
        """In a thread: one sample."""
        if (version, n) in self.gone or version != self.weights[1]:
            return
        began = time.monotonic()
        try:
            event = self.server.one(1, request)
        except UserError:
            self.found.put(None)
            return
        self.found.put((version, n, i, size, began, time.monotonic(), event))

    def round(self) -> Round:
        partly, done = [], []
        version = self.weights[1]
        try:
            item = self.found.get(timeout=0.5)
        except queue.Empty:
            return version, [], [], []
        if item is None:
            raise WorkerLost
        of, n, i, size, began, ended, event = item
        parts = self.parts.setdefault((of, n), {})
        parts[i] = (began, began, ended, event)
        if len(parts) == size:
            started, prefilled, left, events = map(list, zip(*(parts[k] for k in sorted(parts)), strict=True))
            done.append(Done(n, events, started, prefilled, left))
            del self.parts[of, n]
        else:
            partly.append(n)
        return of, partly, done, []

    def close(self) -> None:
        self.over = True
        self.pool.shutdown(wait=False, cancel_futures=True)
        super().close()
        self.server.close()
        self.exchange.cleanup()
