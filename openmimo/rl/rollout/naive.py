"""Naive dynamic sampling [R 3.4, the baseline]: rounds of groups, a barrier, rewards, until B groups have a gradient."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from openmimo.infer.engine import Engine, Event, Request, generate
from openmimo.rl.easy_pool import TaskSampler
from openmimo.rl.grpo import has_signal
from openmimo.rl.rollout.policy import KeepRates, first_valid, groups_to_start
from openmimo.rl.score import Scored, require_judged
from openmimo.rows import Problem


@dataclass(frozen=True)
class Group:
    """G responses to one problem. task: its number in start order."""

    task: int
    problem: Problem
    from_pool: bool
    prompt: tuple[int, ...]
    events: list[Event]
    scored: list[Scored]

    @property
    def rewards(self):
        return [s.reward for s in self.scored]


@dataclass
class Rollouts:
    """A step's result: the batch in start order, every group that counts (up to the batch's last), and the times."""

    batch: list[Group]
    used: list[Group]
    started: int
    rounds: int
    rollout_s: float = 0.0
    reward_s: float = 0.0
    solved: dict[str, bool] = field(default_factory=dict)


@dataclass
class RolloutWorker:
    """Engine, judge and prompts behind `collect`."""

    engine: Engine
    problems: dict[str, Problem]
    prompts: dict[str, tuple[int, ...]]
    decode: Callable[[list[int]], str]
    score: Callable[[list[Problem], list[str], list[str]], list[Scored]]
    group: int
    max_tokens: int
    seed: int

    def roll(self, step: int, first: int, tasks: list[tuple[str, bool]]) -> tuple[list[Group], float, float]:
        """Generates and scores whole groups, tasks numbered from `first`. Returns them with the two times, seconds."""
        began = time.perf_counter()
        prompts = [self.prompts[problem] for problem, _ in tasks]
        requests = [
            Request(prompt, self.max_tokens, ("rollout", step, first + n, sample), seed=self.seed)
            for n, prompt in enumerate(prompts)
            for sample in range(self.group)
        ]
        events = generate(self.engine, requests)
        middle = time.perf_counter()
        owners = [self.problems[problem] for problem, _ in tasks for _ in range(self.group)]
        scored = self.score(owners, [self.decode(e.token_ids) for e in events], [e.finish_reason for e in events])
        require_judged(owners, scored)
        groups = []
        for n, (problem, from_pool) in enumerate(tasks):
            at = slice(n * self.group, (n + 1) * self.group)
            groups.append(Group(first + n, self.problems[problem], from_pool, prompts[n], events[at], scored[at]))
        return groups, middle - began, time.perf_counter() - middle

    def collect(
        self, step: int, sampler: TaskSampler, rates: KeepRates, wanted: int, dynamic: bool, max_rounds: int
    ) -> Rollouts:
        """The batch of a step. Without dynamic sampling: one round of `wanted` groups, all of them kept."""
        groups: list[Group] = []
        times, rounds = [0.0, 0.0], 0
        while rounds < max_rounds:
            valid = [not dynamic or has_signal(g.rewards) for g in groups]
            if (missing := wanted - sum(valid)) <= 0:
                break
            count = groups_to_start(missing, rates, sampler.alpha) if dynamic else missing
            tasks = sampler.draw(step, len(groups) + count)[len(groups) :]
            new, *seconds = self.roll(step, len(groups), tasks)
            groups, rounds = groups + new, rounds + 1
            times = [a + b for a, b in zip(times, seconds, strict=True)]
        valid = [not dynamic or has_signal(g.rewards) for g in groups]
        chosen, used = first_valid(valid, wanted)
        rates.update([g.from_pool for g in groups[:used]], [has_signal(g.rewards) for g in groups[:used]])
        solved: dict[str, bool] = {}
        for group in groups[:used]:
            right = all(r == 1 for r in group.rewards)
            solved[group.problem.id] = solved.get(group.problem.id, True) and right
        return Rollouts([groups[i] for i in chosen], groups[:used], len(groups), rounds, *times, solved)
