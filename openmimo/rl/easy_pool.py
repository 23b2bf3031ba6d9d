"""What task n of a step is: the main set in seeded epochs, the easy pool [R 3.3.2], and what S remembers between steps.

    sampler = TaskSampler(ids, seed=0, alpha=0.1); tasks = sampler.tasks(step); tasks[n]; sampler.commit(tasks, outcomes)

Task n is `draw(seed, step, n, S)`, with S as committed at the end of the step before; within a step everything is
frozen. A problem that reaches pass rate 1 leaves the main set for the pool; each draw takes from the pool with
probability alpha; a pool problem that falls below 1 returns. `commit` takes the outcomes of tasks 0..k alone, in number
order: what was launched beyond k is drawn again by the next step, so nothing long or hard is passed over.

Two options of ours choose better, still from S alone. selective: a problem whose last s groups had no gradient is
drawn with probability selective^s (at least 1/20) when its turn comes (in the spirit of GRESO; 1: always). window > 1:
the problems of each window of so many places come longest expected first, by the mean length of their groups so far.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import NamedTuple

DECAY = 0.9  # of the keep-rates, a step
LEAST_RATE = 0.05
OWN_WEIGHT = 2.0  # groups that its set's keep-rate counts for in a problem's own forecast
LEAST_CHANCE = 0.05


class Task(NamedTuple):
    """A problem's id, whether it came from the pool, and the forecast that its group is valid."""

    problem: str
    from_pool: bool
    forecast: float


class Outcome(NamedTuple):
    """Of a committed task: has it a gradient, were all responses right, its longest response in tokens."""

    valid: bool
    solved: bool
    length: int


@dataclass
class History:
    """Of a problem: groups drawn, groups valid, groups without a gradient since the last valid one, mean length."""

    drawn: int = 0
    valid: int = 0
    barren: int = 0
    length: float = 0.0


class TaskSampler:
    """State S: cursor (epoch, place, what is left of an opened window), pool, keep-rates, histories; plain values."""

    def __init__(
        self, ids: list[str], seed: int, alpha: float, window: int = 1, selective: float = 1.0, own: bool = False
    ):
        """own: each problem's forecast follows its own history; else one keep-rate for each set."""
        self.ids, self.seed, self.alpha = sorted(set(ids)), seed, alpha
        self.window, self.selective, self.own = window, selective, own
        self.epoch, self.place = 0, 0
        self.open: list[str] = []
        self.pool: list[str] = []
        self.rates = {"main": 0.6, "pool": 0.3}
        self.histories: dict[str, History] = {}
        self._orders: dict[
            int, list[str]
        ] = {}  # of the two latest epochs: a step may draw from both, and so may the next

    def state(self) -> dict:
        """S in plain values. Histories are kept only where an option reads them."""
        histories = {p: [h.drawn, h.valid, h.barren, h.length] for p, h in self.histories.items()}
        return {
            "epoch": self.epoch, "place": self.place, "open": list(self.open), "pool": list(self.pool),
            "rates": dict(self.rates), "histories": histories,
        }  # fmt: skip

    def restore(self, state: dict) -> None:
        self.epoch, self.place, self.open = state["epoch"], state["place"], list(state["open"])
        self.pool, self.rates = list(state["pool"]), dict(state["rates"])
        self.histories = {p: History(*values) for p, values in state["histories"].items()}

    def tasks(self, step: int) -> Tasks:
        """The tasks of a step, drawn as they are asked for. Changes nothing."""
        return Tasks(self, step)

    def commit(self, tasks: Tasks, outcomes: list[Outcome]) -> None:
        """Ends a step: `outcomes` of tasks 0..k in number order. The cursor moves past the main-set draws among them."""
        used = tasks.first(len(outcomes))
        if used:
            self.epoch, self.place, window, taken = tasks.cursors[len(used) - 1]
            self.open = window[taken:]
        in_pool, solved = set(self.pool), {}
        for task, outcome in zip(used, outcomes, strict=True):
            solved[task.problem] = solved.get(task.problem, True) and outcome.solved
            if self.own or self.selective < 1 or self.window > 1:
                self._remember(task.problem, outcome)
        gone = {p for p in self.pool if not solved.get(p, True)}
        added = sorted(p for p, right in solved.items() if right and p not in in_pool)
        self.pool = [p for p in self.pool if p not in gone] + added
        for name, from_pool in (("main", False), ("pool", True)):
            seen = [o.valid for t, o in zip(used, outcomes, strict=True) if t.from_pool is from_pool]
            if seen:
                share = max(LEAST_RATE, sum(seen) / len(seen))
                self.rates[name] = DECAY * self.rates[name] + (1 - DECAY) * share

    def _remember(self, problem: str, outcome: Outcome) -> None:
        history = self.histories.setdefault(problem, History())
        history.length += (outcome.length - history.length) / (history.drawn + 1)
        history.drawn += 1
        history.valid += outcome.valid
        history.barren = 0 if outcome.valid else history.barren + 1

    def forecast(self, problem: str, from_pool: bool) -> float:
        """Probability that a group of the problem is valid: its set's keep-rate, or its own history on top of it."""
        rate = max(LEAST_RATE, self.rates["pool" if from_pool else "main"])
        if not self.own or (history := self.histories.get(problem)) is None:
            return rate
        return (OWN_WEIGHT * rate + history.valid) / (OWN_WEIGHT + history.drawn)

    def opened(self, epoch: int, place: int) -> tuple[int, int, list[str]]:
        """The next window from (epoch, place): where the one after it begins, and its problems in drawing order."""
        if place >= len(self.ids):
            epoch, place = epoch + 1, 0
        problems = self._epoch_order(epoch)[place : place + self.window]
        end = place + len(problems)
        if self.selective < 1:
            problems = [p for p in problems if self._is_worth(p, epoch)]
        if self.window > 1 and self.histories:
            problems.sort(key=lambda p: -self.histories[p].length if p in self.histories else float("-inf"))
        return epoch, end, problems

    def _is_worth(self, problem: str, epoch: int) -> bool:
        history = self.histories.get(problem)
        if history is None or not history.barren:
            return True
        chance = max(LEAST_CHANCE, self.selective**history.barren)
        return _uniform(self.seed, epoch, problem, "selective") < chance

    def _epoch_order(self, epoch: int) -> list[str]:
        if epoch not in self._orders:
            order = list(self.ids)
            random.Random(f"{self.seed} epoch {epoch}").shuffle(order)
            self._orders = {e: o for e, o in self._orders.items() if abs(e - epoch) == 1} | {epoch: order}
        return self._orders[epoch]


class Tasks:
    """tasks[n]: task n of a step. cursors[n]: (epoch, place, window, taken of it) after task n."""

    def __init__(self, sampler: TaskSampler, step: int):
        self.sampler, self.step = sampler, step
        self.drawn: list[Task] = []
        self.cursors: list[tuple[int, int, list[str], int]] = []
        self.cursor = (sampler.epoch, sampler.place, list(sampler.open), 0)
        self.in_pool = set(sampler.pool)

    def __getitem__(self, n: int) -> Task:
        while len(self.drawn) <= n:
            self._draw(len(self.drawn))
        return self.drawn[n]

    def first(self, count: int) -> list[Task]:
        """Tasks 0..count-1."""
        while len(self.drawn) < count:
            self._draw(len(self.drawn))
        return self.drawn[:count]

    def expected(self, n: int) -> tuple[bool, float]:
        """What the policy forecasts with."""
        _, from_pool, forecast = self.drawn[n] if n < len(self.drawn) else self[n]
        return from_pool, forecast

    def _draw(self, n: int) -> None:
        sampler, pool = self.sampler, self.sampler.pool
        from_pool = bool(pool) and (
            len(self.in_pool) == len(sampler.ids) or _uniform(sampler.seed, self.step, n, "coin") < sampler.alpha
        )
        if from_pool:
            problem = pool[int(_uniform(sampler.seed, self.step, n, "pool") * len(pool))]
        else:
            problem = self._next_main()
        self.drawn.append(Task(problem, from_pool, sampler.forecast(problem, from_pool)))
        self.cursors.append(self.cursor)

    def _next_main(self) -> str:
        """The next problem of the main set. A set that ends goes on with its next seeded permutation."""
        epoch, place, window, taken = self.cursor
        while True:
            while taken >= len(window):
                epoch, place, window = self.sampler.opened(epoch, place)
                taken = 0
            problem = window[taken]
            taken += 1
            if problem not in self.in_pool:
                self.cursor = (epoch, place, window, taken)
                return problem


def _uniform(*key) -> float:
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
