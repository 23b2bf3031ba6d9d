"""Which problem each task rolls out: the main set in seeded epochs, and the easy pool [R 3.3.2].

    sampler = TaskSampler(ids, seed=0, alpha=0.1); sampler.draw(step, count); sampler.commit(step, used, solved)

A problem that reaches pass rate 1 leaves the main set for the pool; each draw takes from the pool with probability
alpha; a pool problem that falls below 1 returns. Within a step everything is frozen: the problem of task n is a
function of (seed, step, state, n), whatever has finished so far. Tasks beyond the batch's last are void: the next step
draws them again.
"""

from __future__ import annotations

import hashlib
import random


class TaskSampler:
    """State is three plain values (epoch, place, pool); `state` and `restore` make a run resumable."""

    def __init__(self, ids: list[str], seed: int, alpha: float):
        self.ids, self.seed, self.alpha = sorted(set(ids)), seed, alpha
        self.epoch, self.place = 0, 0
        self.pool: list[str] = []
        self._order: list[str] = []
        self._order_of: int | None = None

    def state(self) -> dict:
        return {"epoch": self.epoch, "place": self.place, "pool": self.pool}

    def restore(self, state: dict) -> None:
        self.epoch, self.place, self.pool = state["epoch"], state["place"], list(state["pool"])

    def draw(self, step: int, count: int) -> list[tuple[str, bool]]:
        """(problem id, whether it came from the pool) of tasks 0..count-1 of a step. Changes nothing."""
        pool, in_pool, tasks = self.pool, set(self.pool), []
        epoch, place = self.epoch, self.place
        only_pool = len(in_pool) == len(self.ids)
        for task in range(count):
            coin = _uniform(self.seed, step, task, "coin")
            if pool and (coin < self.alpha or only_pool):
                tasks.append((pool[int(_uniform(self.seed, step, task, "pool") * len(pool))], True))
                continue
            problem, epoch, place = self._next_main(epoch, place, in_pool)
            tasks.append((problem, False))
        return tasks

    def commit(self, step: int, used: int, solved: dict[str, bool]) -> None:
        """Ends a step: tasks 0..used-1 count; `solved` says of their problems whether every response was right."""
        in_pool = set(self.pool)
        for _, from_pool in self.draw(step, used):
            if not from_pool:
                _, self.epoch, self.place = self._next_main(self.epoch, self.place, in_pool)
        gone = {p for p in self.pool if not solved.get(p, True)}
        added = sorted(p for p, right in solved.items() if right and p not in in_pool)
        self.pool = [p for p in self.pool if p not in gone] + added

    def _next_main(self, epoch: int, place: int, in_pool: set[str]) -> tuple[str, int, int]:
        """The next problem outside the pool from (epoch, place), and where the one after it is looked for."""
        while True:
            if place >= len(self.ids):
                epoch, place = epoch + 1, 0
            problem = self._epoch_order(epoch)[place]
            place += 1
            if problem not in in_pool:
                return problem, epoch, place

    def _epoch_order(self, epoch: int) -> list[str]:
        if self._order_of != epoch:
            self._order = list(self.ids)
            random.Random(f"{self.seed} epoch {epoch}").shuffle(self._order)
            self._order_of = epoch
        return self._order


def _uniform(*key) -> float:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
