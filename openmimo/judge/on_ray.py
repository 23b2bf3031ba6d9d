"""Judges as Ray actors: what `pool.Judge` does, spread over a Ray cluster. Needs the extra `ray`.

    ray.init(); judge = RayJudge(actors=8, workers=2)        # then judge.judge_many, judge.judge_answers as always

An actor that dies loses its work to the others (`spread`) and is started again by Ray.
"""

from __future__ import annotations

import threading
from typing import Any

from openmimo.errors import UserError
from openmimo.judge.pool import Judge
from openmimo.judge.spread import Lost, spread
from openmimo.rows import Problem, TestVerdict

try:
    import ray
except ImportError:
    raise UserError("judge: Ray is not installed; `pip install 'openmimo[ray]'`") from None

PATIENCE_S, ASK_S = 60.0, 5.0


class JudgeActor:
    """The judge inside an actor's process."""

    def __init__(self, workers: int):
        self.judge = Judge(workers)

    def rung(self) -> str:
        return self.judge.rung

    def judge_many(self, items: list[tuple[Problem, str]], stop_on_failure: bool) -> list[list[TestVerdict]]:
        return self.judge.judge_many(items, stop_on_failure)

    def judge_answers(self, pairs: list[tuple[str | None, str]]) -> list[str]:
        return self.judge.judge_answers(pairs)


class ActorLane:
    """One conversation with one actor: `method` on the items."""

    def __init__(self, number: int, actor: Any, size: int, method: str, *more: Any):
        self.name, self.size = f"actor {number}", size
        self.actor, self.method, self.more = actor, method, more

    def send(self, items: list) -> list:
        try:
            return ray.get(getattr(self.actor, self.method).remote(items, *self.more))
        except ray.exceptions.RayActorError:
            raise Lost from None

    def alive(self) -> bool:
        try:
            return bool(ray.get(self.actor.rung.remote(), timeout=ASK_S))
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            return False


class RayJudge:
    """Judges on Ray actors. One caller at a time (others wait); usable from any thread."""

    def __init__(self, actors: int, workers: int = 1, patience_s: float = PATIENCE_S):
        """actors: how many, of `workers` CPUs each, wherever Ray places them. `ray.init` comes first."""
        if actors < 1:
            raise UserError(f"judge: actors must be at least 1, not {actors}")
        self.lock, self.patience_s, self.workers = threading.Lock(), patience_s, workers
        remote = ray.remote(num_cpus=workers, max_restarts=-1)(JudgeActor)
        self.actors = [remote.remote(workers) for _ in range(actors)]
        self.rung = ", ".join(sorted(set(ray.get([actor.rung.remote() for actor in self.actors]))))

    def judge_many(self, items: list[tuple[Problem, str]], stop_on_failure: bool = False) -> list[list[TestVerdict]]:
        """As `pool.Judge.judge_many`."""
        return self._spread(items, 4 * self.workers, "judge_many", stop_on_failure)

    def judge_answers(self, pairs: list[tuple[str | None, str]]) -> list[str]:
        """As `pool.Judge.judge_answers`."""
        return self._spread(pairs, 16 * self.workers, "judge_answers")

    def _spread(self, items: list, size: int, method: str, *more: Any) -> list:
        with self.lock:
            lanes = [ActorLane(n, actor, size, method, *more) for n, actor in enumerate(self.actors)]
            return spread(items, lanes, self.patience_s)

    def close(self) -> None:
        """Ends the actors; safe to call twice."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors = []

    def __enter__(self) -> RayJudge:
        return self

    def __exit__(self, *_) -> None:
        self.close()
