"""Engines as Ray actors, on any machine of a cluster. Needs the extra `ray`.

ray.init(); worker = RayWorker(model, stop_ids, slots, vocab_size)     # then as workers.Process
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from openmimo.errors import UserError
from openmimo.infer.engine import Engine, Request
from openmimo.model.config import ModelConfig
from openmimo.model.transformer import Transformer
from openmimo.rl.rollout.feed import Feed
from openmimo.rl.rollout.pulled import Pulled, Round
from openmimo.rl.rollout.workers import WorkerLost

try:
    import ray
except ImportError:
    raise UserError("rollout: Ray is not installed; `pip install 'openmimo[ray]'`") from None

ROUND_S = 0.1  # an actor works so long between two looks at its messages
START_S = 120.0  # that a new actor may take


class EngineActor:
    """The engine inside an actor's process. Messages come in the order in which they were sent."""

    def __init__(self, config: ModelConfig, stop_ids: list[int], slots: int, vocab_size: int):
        torch.set_num_threads(1)
        self.feed, self.version = Feed(Engine(Transformer(config), stop_ids, slots, vocab_size), slots), -1

    def where(self) -> str:
        return ray.get_runtime_context().get_node_id()

    def weights(self, state: dict, version: int) -> None:
        self.feed.clear()
        self.feed.engine.update_weights({name: torch.as_tensor(value) for name, value in state.items()}, version)
        self.version = version

    def start(self, n: int, requests: list[Request]) -> None:
        self.feed.start(n, requests)

    def abort(self, n: int) -> None:
        self.feed.abort(n)

    def round(self) -> tuple[float, Round]:
        """Works until something is complete, or for a while. The first value is this machine's clock."""
        until, partly, done = time.monotonic() + ROUND_S, [], []
        while self.feed.busy and not partly and not done and time.monotonic() < until:
            partly, done = self.feed.work()
        return time.monotonic(), (self.version, partly, done, self.feed.take_steps())


class RayWorker(Pulled):
    """One actor of one CPU, wherever Ray places it."""

    def __init__(self, model: Transformer, stop_ids: list[int], slots: int, vocab_size: int, hang_s: float = 60.0):
        super().__init__(slots, hang_s)
        self.made_of = (model.config, stop_ids, slots, vocab_size)
        self.actor = None
        self.begin()

    def begin(self) -> None:
        if self.actor is not None:
            ray.kill(self.actor)
        if not ray.is_initialized():
            ray.init(log_to_driver=False)  # the cluster at RAY_ADDRESS, or one on this machine
        self.actor = ray.remote(num_cpus=1)(EngineActor).remote(*self.made_of)
        try:
            self.node = ray.get(self.actor.where.remote(), timeout=START_S)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            raise UserError("rollout: Ray starts no engine; see `ray status`: each needs a free CPU") from None
        self.listen()

    def send(self, what: str, *values) -> None:
        if what == "weights":
            state, version = values
            values = ({name: value.cpu().numpy() for name, value in state.items()}, version)
        getattr(self.actor, what).remote(*values)

    def round(self) -> Round:
        try:
            clock, (version, partly, done, steps) = ray.get(self.actor.round.remote())
        except (ray.exceptions.RayActorError, ray.exceptions.RayTaskError):
            raise WorkerLost from None
        shift = time.monotonic() - clock  # of another machine's clock
        moved = [
            replace(d, **{k: [t + shift for t in getattr(d, k)] for k in ("began", "prefilled", "ended")}) for d in done
        ]
        return version, partly, moved, steps

    def close(self) -> None:
        self.over = True
        ray.kill(self.actor)
        super().close()
