"""When tasks start, which groups are the batch, when the rest is aborted [R 3.4]: a pure state machine for one step.

    policy = StepPolicy(SCHEDULES["early"], batch=16, expected=lambda n: (False, 0.4)); actions = policy.begin()
    actions = policy.completed(3); actions = policy.judged(3, valid=True); actions = policy.failed(5, "engine")

Events in, actions out; no clock, no I/O, no chance. The same object runs live (`live`) and on a virtual clock
(`simulate`). A task is a number: a prompt with its G samples, n = 0, 1, ... afresh each step; what n is, is drawn from
(seed, step, n, S) elsewhere (`easy_pool`) and never depends on anything here.

- A task starts only if valid + expected valid among the active < B. The forecast decides when n starts, not what it is.
- Stop: the first k such that tasks 0..k are complete and judged and B of them are valid. The batch is the first B valid
  in number order; nothing beyond k may enter it, nothing up to k may be missing; later tasks are aborted.

So batch and k are the same for every schedule but `static`, whatever finishes first. Each row of the report's Table 2
is one schedule.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MAX_LOSSES = 3  # engines (or judges) that one task may take down before the step stops
TASKS_A_BATCH = 8  # tasks of a step at most, as a multiple of the batch, where the recipe gives no number


@dataclass(frozen=True)
class Schedule:
    """Each component of Seamless Rollout is a switch. dynamic: groups without a gradient are replaced; continuous: no
    barrier between generation and rewards; async_reward: rewards run beside generation (else one after another, and
    nothing starts meanwhile). stop: `drain` waits for all that was started; `fifo` aborts what comes after k;
    `first_finished` takes what completes first: biased and no function of the data, a control for measurements only."""

    dynamic: bool = True
    continuous: bool = True
    async_reward: bool = True
    stop: Literal["drain", "fifo", "first_finished"] = "fifo"


SCHEDULES = {  # the rows of Table 2; `early` is Seamless Rollout whole
    "static": Schedule(dynamic=False, continuous=False, async_reward=False, stop="drain"),
    "naive": Schedule(continuous=False, async_reward=False, stop="drain"),
    "continuous": Schedule(async_reward=False, stop="drain"),
    "async": Schedule(stop="drain"),
    "early": Schedule(),
}


@dataclass(frozen=True)
class Start:
    """Generate task n. forecast: valid + expected valid among the active, without it."""

    n: int
    forecast: float
    reason: str


@dataclass(frozen=True)
class Judge:
    """Compute the rewards of task n, which is complete."""

    n: int


@dataclass(frozen=True)
class Abort:
    """Drop task n, wherever it is; its events, should they still come, change nothing."""

    n: int


@dataclass(frozen=True)
class Finish:
    """The step is over. batch: task numbers, rising; used: tasks 0..used-1 are committed, the others never were."""

    batch: tuple[int, ...]
    used: int


@dataclass(frozen=True)
class GiveUp:
    """The step cannot go on: task n took down MAX_LOSSES of `what`."""

    n: int
    what: str


Action = Start | Judge | Abort | Finish | GiveUp


class Side:
    """What the running keep-rate of one side (main set or pool) knows: the forecasts of what was judged, and what came.
    It counts only tasks before which none is missing: what completes first is short, and says little of the rest."""

    def __init__(self):
        self.active = 0  # tasks started and not judged
        self.active_sum = 0.0  # of their forecasts
        self.judged_sum = 0.0
        self.valid = 0

    def expected(self, weight: float) -> float:
        """Expected valid among the active: their forecasts, times valid seen / valid forecast in the prefix, where
        `weight` valid groups of the steps before count as seen and as forecast. With one forecast p for all this is
        active x (weight + valid) / (weight / p + judged): the keep-rate with its prior."""
        return self.active_sum * (weight + self.valid) / (weight + self.judged_sum)


class StepPolicy:
    """One step. expected: n -> (from the pool?, forecast of the probability that n is valid, from S alone, > 0).
    group: samples of a task; slots: samples that engines generate at once. Where the schedule is continuous, a task
    starts when a slot is free and not before: it would only wait, and later the forecast knows more. max_tasks: of the
    step, 8 batches where not given."""

    def __init__(
        self,
        schedule: Schedule,
        batch: int,
        expected: Callable[[int], tuple[bool, float]],
        group: int = 1,
        slots: int | None = None,
        max_tasks: int | None = None,
    ):
        assert batch > 0 and group > 0 and (slots is None or slots > 0)
        self.schedule, self.batch, self.expected = schedule, batch, expected
        self.limit = batch if not schedule.dynamic else max_tasks or TASKS_A_BATCH * batch
        self.group, self.slots = group, slots or self.limit * group
        self.started = self.outstanding = 0  # tasks; samples that are started and not complete
        self.sides = (Side(), Side())
        self.forecasts: list[tuple[bool, float]] = []  # of each task started, as `expected` said
        self.generating: dict[int, int] = {}  # task -> its samples that are not complete
        self.unjudged: dict[int, None] = {}  # complete, or being judged, in the order of their coming
        self.queue: deque[int] = deque()  # complete, waiting for the one reward at a time
        self.judging = 0
        self.verdicts: list[bool | None] = []  # of task n, None where not judged yet
        self.prefix, self.prefix_valid = 0, 0  # tasks 0..prefix-1 are judged, and so many of them are valid
        self.valid: list[int] = []  # numbers judged valid, rising
        self.finished: list[int] = []  # the same in the order of their coming
        self.losses: dict[tuple[int, str], int] = {}
        self.over = False

    def begin(self) -> list[Action]:
        """The first actions."""
        return self._starts()

    def sampled(self, n: int) -> list[Action]:
        """One more sample of n is complete, and not the last: a slot is free."""
        if self.over or self.generating.get(n, 0) <= 1:
            return []
        self.generating[n] -= 1
        self.outstanding -= 1
        return self._starts() if self.schedule.continuous else []

    def completed(self, n: int) -> list[Action]:
        """All samples of n are generated."""
        if self.over or n not in self.generating:
            return []
        self.outstanding -= self.generating.pop(n)
        self.unjudged[n] = None
        self.queue.append(n)
        return self._rewards() + self._starts()

    def judged(self, n: int, valid: bool) -> list[Action]:
        """The rewards of n are known; valid: it passes the recipe's filter (static: every group counts)."""
        if self.over or n not in self.unjudged:
            return []
        valid = valid or not self.schedule.dynamic
        del self.unjudged[n]
        self.judging -= 1
        self._leave(n)
        self.verdicts[n] = valid
        if valid:
            insort(self.valid, n)
            self.finished.append(n)
        while self.prefix < self.started and (verdict := self.verdicts[self.prefix]) is not None:
            side, forecast = self.forecasts[self.prefix]
            self.sides[side].judged_sum += forecast
            self.sides[side].valid += verdict
            if self.prefix_valid < self.batch:
                self.prefix_valid += verdict
            self.prefix += 1
        return self._cut() + (self._stop() or self._starts() + self._rewards())

    def failed(self, n: int, what: str) -> list[Action]:
        """The engine (what = "engine") or judge ("judge") that held n is gone: n starts again under the same number."""
        if self.over or n not in self.generating and n not in self.unjudged:
            return []
        self.losses[n, what] = self.losses.get((n, what), 0) + 1
        if self.losses[n, what] >= MAX_LOSSES:
            self.over = True
            return [GiveUp(n, what)]
        if n in self.unjudged:
            return [Judge(n)]
        self.outstanding += self.group - self.generating[n]
        self.generating[n] = self.group
        return [Start(n, self.forecast(), f"{what} lost")]

    def forecast(self) -> float:
        """Valid so far + expected valid among the active."""
        found = float(len(self.valid))
        for side in self.sides:
            if side.active:
                found += side.expected(self.batch / 4)
        return found

    def _rewards(self) -> list[Action]:
        """Rewards to begin now: all that wait, or one at a time; in rounds only after the last of the round."""
        actions: list[Action] = []
        if self.schedule.continuous or not self.generating:
            while self.queue and (self.schedule.async_reward or not self.judging):
                self.judging += 1
                actions.append(Judge(self.queue.popleft()))
        return actions

    def _starts(self) -> list[Action]:
        """Tasks to start now. A reward that is not asynchronous holds everything up while it is computed."""
        actions: list[Action] = []
        if not self.schedule.continuous:
            if not self.generating and not self.unjudged and len(self.valid) < self.batch:
                count = min(self.batch, self.limit - self.started)
                actions += [self._start(f"round {1 + self.started // self.batch}") for _ in range(count)]
        elif self.schedule.async_reward or not self.judging:
            while (
                self.started < self.limit
                and self.outstanding < self.slots
                and (forecast := self.forecast()) < self.batch
            ):
                actions.append(self._start("forecast below the batch", forecast))
        return actions

    def _start(self, reason: str, forecast: float | None = None) -> Start:
        n = self.started
        action = Start(n, self.forecast() if forecast is None else forecast, reason)
        side, expected = self.expected(n)
        self.forecasts.append((side, expected))
        self.generating[n] = self.group
        self.outstanding += self.group
        self.sides[side].active += 1
        self.sides[side].active_sum += expected
        self.verdicts.append(None)
        self.started += 1
        return action

    def _leave(self, n: int) -> None:
        pool, forecast = self.forecasts[n]
        side = self.sides[pool]
        side.active -= 1
        side.active_sum = side.active_sum - forecast if side.active else 0.0

    def _cut(self) -> list[Action]:
        """Early termination: B valid ones up to number m are known, so k <= m, and what comes after m is void."""
        if self.schedule.stop != "fifo" or len(self.valid) < self.batch:
            return []
        last = self.valid[self.batch - 1]
        return [self._abort(n) for n in [*self.generating, *self.unjudged] if n > last]

    def _abort(self, n: int) -> Abort:
        if n in self.generating:
            self.outstanding -= self.generating.pop(n)
        else:
            del self.unjudged[n]
            if n in self.queue:
                self.queue.remove(n)
            else:
                self.judging -= 1
        self._leave(n)
        return Abort(n)

    def _stop(self) -> list[Action]:
        """Finish, with what it aborts, once the stop rule holds; else nothing."""
        rule, enough = self.schedule.stop, len(self.valid) >= self.batch
        idle = not self.generating and not self.unjudged
        if rule == "first_finished" and enough:
            batch, used = tuple(sorted(self.finished[: self.batch])), self.started
        elif (rule == "fifo" and self.prefix_valid == self.batch) or (idle and enough):
            batch = tuple(self.valid[: self.batch])
            used = batch[-1] + 1
        elif idle and self.started >= self.limit:
            batch, used = tuple(self.valid), self.started
        else:
            return []
        aborts: list[Action] = [self._abort(n) for n in [*self.generating, *self.unjudged]]
        self.over = True
        return [*aborts, Finish(batch, used)]
