"""The policy on a virtual clock: the very object that runs live, with simulated engines and judges [R 3.4].

    openmimo simulate recipes/scenarios/report.toml
    table = simulate(scenario)      # {"naive": Measured(...), ...}: the report's Table 2

The draws come from the very sampler too, so keep-rates and histories move from step to step as in a run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from openmimo.errors import UserError
from openmimo.rl.easy_pool import Outcome as Committed
from openmimo.rl.easy_pool import Tasks, TaskSampler
from openmimo.rl.rollout.policy import SCHEDULES, Abort, Finish, Judge, Schedule, Start, StepPolicy
from openmimo.rl.rollout.replay import Replay
from openmimo.rl.rollout.replica import Replica
from openmimo.rl.rollout.scenario import Outcome, Scenario, Source, World


@dataclass
class Measured:
    """Sums over the steps of one schedule. Seconds; slot_s: slot-seconds of tasks that completed; busy_s: replica-seconds
    in which one did; tokens of all; tasks 0..k of each step with their longest lengths, and the batches."""

    seconds: float = 0.0
    slot_s: float = 0.0
    busy_s: float = 0.0
    aborted_slot_s: float = 0.0
    tokens: float = 0.0
    aborted_tokens: float = 0.0
    started: int = 0
    complete: int = 0
    valid: int = 0
    used: int = 0
    trained: int = 0
    batches: list[tuple[int, ...]] = field(default_factory=list)
    step_seconds: list[float] = field(default_factory=list)
    lengths: list[list[float]] = field(default_factory=list)
    valids: list[list[bool]] = field(default_factory=list)


def sampler_of(scenario: Scenario, source: Source) -> TaskSampler:
    """The sampler at the first step; histories hold `warm_epochs` of outcomes."""
    window = scenario.batch if scenario.order == "longest_first" else 1
    ids = [str(n) for n in range(scenario.problems)]
    sampler = TaskSampler(ids, scenario.seed, 0.0, window, scenario.selective, scenario.forecast == "problem")
    sampler.rates["main"] = scenario.keep.rate
    for epoch in range(scenario.warm_epochs):
        for start in range(0, scenario.problems, 4096):
            tasks = sampler.tasks(-1 - epoch)
            count = min(4096, scenario.problems - start)
            found = [source.outcome(1_000_000 + epoch, start + n, tasks[n]) for n in range(count)]
            sampler.commit(tasks, [committed(o) for o in found])
    sampler.rates["main"] = scenario.keep.rate
    return sampler


def committed(outcome: Outcome) -> Committed:
    return Committed(outcome.valid, False, int(max(outcome.lengths)))


def simulate(
    scenario: Scenario, schedules: dict[str, Schedule] | None = None, replay: Replay | None = None,
    on_step: Callable[[str, SimulatedStep, Finish], None] = lambda name, run, finish: None,
) -> dict[str, Measured]:  # fmt: skip
    """Every schedule over the scenario's steps. replay: in place of the scenario's sampler and distributions. on_step:
    called after each, for progress and pictures."""
    found: dict[str, Measured] = {}
    for name, schedule in (schedules or SCHEDULES).items():
        source = replay or World(scenario)
        sampler, measured = replay or sampler_of(scenario, source), Measured()
        for step in range(scenario.steps):
            tasks = sampler.tasks(step)
            run = SimulatedStep(scenario, schedule, step, tasks, source)
            finish = run.run()
            if not finish.batch:
                raise UserError(f"{scenario.name}: step {step + 1} of {name}: no group is valid; raise keep.rate")
            run.book(measured, finish)
            sampler.commit(tasks, [committed(run.outcomes[n]) for n in range(finish.used)])
            on_step(name, run, finish)
        found[name] = measured
    return found


class SimulatedStep:
    """One step: replicas, judge servers, a heap of what happens next."""

    def __init__(self, scenario: Scenario, schedule: Schedule, number: int, tasks: Tasks, source: Source):
        self.scenario, self.number, self.tasks, self.source = scenario, number, tasks, source
        slots, limit = scenario.replicas * scenario.slots, scenario.max_tasks_per_step
        self.policy = StepPolicy(schedule, scenario.batch, tasks.expected, scenario.group, slots, limit)
        rates = [scenario.decode.rate(max(1, a)) for a in range(scenario.slots + 1)]
        self.replicas = [Replica(rates, scenario.slots, scenario.decode.start_s) for _ in range(scenario.replicas)]
        self.spread, self.servers = scenario.spread, scenario.judge.servers
        self.load = [0] * scenario.replicas  # samples on each, not complete
        self.now = scenario.overhead_s
        self.events: list[tuple] = []  # (time, order, replica and its version, or the task that is judged)
        self.order = 0
        self.place: dict[int, list[int]] = {}  # replicas that hold samples of a task
        self.held: dict[int, float] = {}  # slot-seconds of a task's samples on replicas that are done with it
        self.aborted: set[int] = set()
        self.outcomes: dict[int, Outcome] = {}
        self.judging = 0
        self.to_judge: deque[int] = deque()
        self.judged: list[tuple[float, float]] = []
        self.slot_s = self.aborted_slot_s = self.aborted_tokens = 0.0
        self.complete: list[int] = []

    def run(self) -> Finish:
        """To the end of the step."""
        actions, moved = self.policy.begin(), None
        while True:
            touched: set[int] = set()
            for action in actions:
                match action:
                    case Start(n):
                        touched.update(self._start(n))
                    case Judge(n):
                        self.to_judge.append(n)
                    case Abort(n):
                        self.aborted.add(n)
                        self.aborted_slot_s += self.held.pop(n, 0.0)
                        for replica in self.place.pop(n, ()):
                            left, held, tokens = self.replicas[replica].abort(n, self.now)
                            self.aborted_slot_s += held
                            self.aborted_tokens += tokens
                            self.load[replica] -= left
                            touched.add(replica)
                    case Finish():
                        return action
            if moved is not None and moved not in touched:
                self._schedule(moved)
            while self.to_judge and self.judging < self.servers:
                n = self.to_judge.popleft()
                self.judging += 1
                self.judged.append((self.now, self.now + self.outcomes[n].judge_s))
                self.order += 1
                heappush(self.events, (self.judged[-1][1], self.order, -1, n))
            for replica in touched:
                self._schedule(replica)
            actions, moved = self._next()

    def _schedule(self, index: int) -> None:
        replica = self.replicas[index]
        replica.version += 1
        if (when := replica.next()) is not None:
            self.order += 1
            heappush(self.events, (when, self.order, index, replica.version))

    def _start(self, n: int) -> list[int]:
        """Gives the task, or sample by sample, to the replica with the least to do; returns those that have it."""
        outcome = self.outcomes[n] = self.source.outcome(self.number, n, self.tasks[n])
        parts: dict[int, list[float]] = {}
        for part in [[x] for x in outcome.lengths] if self.spread else [outcome.lengths]:
            index = self.load.index(min(self.load))
            self.load[index] += len(part)
            parts[index] = parts[index] + part if index in parts else part
        for index, part in parts.items():
            self.replicas[index].start(n, part, self.now)
        self.place[n] = list(parts)
        return self.place[n]

    def _next(self) -> tuple[list, int | None]:
        """Goes to the next event; what the policy does about it, and the replica that it came from."""
        events, replicas, load, policy = self.events, self.replicas, self.load, self.policy
        while True:
            self.now, _, index, value = heappop(events)
            if index < 0:
                self.judging -= 1
                return policy.judged(value, self.outcomes[value].valid), None
            replica = replicas[index]
            if replica.version != value:
                continue
            actions = []
            for n, held in replica.leave(self.now):
                load[index] -= 1
                if held is None:
                    actions += policy.sampled(n)
                    continue
                held += self.held.pop(n, 0.0)
                if len(self.place[n]) > 1:
                    self.place[n].remove(index)
                    self.held[n] = held
                    actions += policy.sampled(n)
                    continue
                del self.place[n]
                self.complete.append(n)
                self.slot_s += held
                actions += policy.completed(n)
            if actions:
                return actions, index
            self._schedule(index)

    def book(self, measured: Measured, finish: Finish) -> None:
        """Adds the step to the sums."""
        measured.seconds += self.now
        measured.step_seconds.append(self.now)
        measured.slot_s += self.slot_s
        measured.aborted_slot_s += self.aborted_slot_s
        measured.busy_s += sum(replica.busy(self.aborted) for replica in self.replicas)
        measured.aborted_tokens += self.aborted_tokens
        measured.tokens += self.aborted_tokens + sum(sum(self.outcomes[n].lengths) for n in self.complete)
        measured.started += self.policy.started
        measured.complete += len(self.complete)
        measured.valid += sum(self.outcomes[n].valid for n in self.complete)
        measured.used += finish.used
        measured.trained += len(finish.batch)
        measured.batches.append(finish.batch)
        same = range(finish.batch[-1] + 1)
        measured.lengths.append([max(self.outcomes[n].lengths) for n in same])
        measured.valids.append([self.outcomes[n].valid for n in same])
