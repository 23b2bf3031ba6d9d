"""What a rollout is simulated from: a TOML file of a cluster and its tasks, or a trace that was recorded live.

    scenario = load_scenario("recipes/scenarios/report.toml"); world = World(scenario)

A task's outcome (lengths of its samples, valid or not) is a function of (seed, step, n, its problem), as it is live, so
all schedules meet the same tasks.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import Field, ValidationError, model_validator

from openmimo.errors import UserError
from openmimo.recipe import explain
from openmimo.rl.easy_pool import Task
from openmimo.sections import Section


class Decode(Section):
    """Seconds of a decode step with a samples active: base_s + row_s x a. start_s: of a task's prompt, once, while its
    replica does nothing else. tail: with at most tail_rows active, tokens come tail_speedup times as fast (MTP)."""

    base_s: float = Field(gt=0)
    row_s: float = Field(0.0, ge=0)
    start_s: float = Field(0.0, ge=0)
    tail_rows: int = Field(0, ge=0)
    tail_speedup: float = Field(1.0, ge=1)

    def rate(self, active: int) -> float:
        """Tokens a second of each of `active` samples."""
        return (self.tail_speedup if active <= self.tail_rows else 1.0) / (self.base_s + self.row_s * active)


class Lengths(Section):
    """Lognormal response lengths in tokens: a problem's own median varies by problem_sigma, its samples about it by
    sample_sigma; both in log. cap: the limit."""

    median: float = Field(gt=0)
    problem_sigma: float = Field(0.5, ge=0)
    sample_sigma: float = Field(0.5, ge=0)
    cap: int = Field(32_768, gt=0)


class Keep(Section):
    """rate: share of groups that are valid. A problem's own probability is Phi((Phi^-1(rate) + c z + s e) /
    sqrt(1 - c^2 - s^2)), whose mean is the rate: e is its own normal number, z that of its length. spread (s): how
    different problems are, and so how much a history tells. length_correlation (c): above 0 where what is dropped is
    mostly too easy, and short; below 0 where it is mostly too hard, and long."""

    rate: float = Field(gt=0, le=1)
    spread: float = Field(0.0, ge=0, lt=1)
    length_correlation: float = Field(0.0, gt=-1, lt=1)

    @model_validator(mode="after")
    def _leaves_chance(self):
        if self.spread**2 + self.length_correlation**2 >= 1:
            raise ValueError("spread^2 + length_correlation^2 must be below 1")
        return self

    def of(self, z: np.ndarray, e: np.ndarray) -> np.ndarray:
        """Each problem's own probability."""
        if self.rate == 1:
            return np.ones_like(z)
        normal, c, s = NormalDist(), self.length_correlation, self.spread
        at = (normal.inv_cdf(self.rate) + c * z + s * e) / (1 - c * c - s * s) ** 0.5
        return np.array([normal.cdf(x) for x in at.tolist()])


class JudgeTimes(Section):
    """group_s: seconds to judge a group; servers: groups at once where rewards are asynchronous."""

    group_s: float = Field(0.0, ge=0)
    servers: int = Field(1, gt=0)


class Scenario(Section):
    """replicas x slots samples are decoded at once; spread: a task's samples go to replicas one by one, else the task does.
    overhead_s: at the start of each step's rollout, nothing decodes.
    rollout_share: of a whole step under the naive schedule (the f of Amdahl's law). warm_epochs: epochs whose outcomes
    are in the histories when the first step begins. order, selective, forecast: as in the recipe's section `rl`."""

    name: str
    note: str = ""
    seed: int = 0
    steps: int = Field(5, gt=0)
    problems: int = Field(100_000, gt=0)
    batch: int = Field(gt=0)
    group: int = Field(gt=0)
    max_tasks_per_step: int | None = None
    replicas: int = Field(gt=0)
    slots: int = Field(gt=0)
    spread: bool = False
    overhead_s: float = Field(0.0, ge=0)
    rollout_share: float = Field(1.0, gt=0, le=1)
    warm_epochs: int = Field(0, ge=0)
    order: str = Field("seeded", pattern="^(seeded|longest_first)$")
    selective: float = Field(1.0, gt=0, le=1)
    forecast: str = Field("set", pattern="^(set|problem)$")
    decode: Decode
    lengths: Lengths
    keep: Keep
    judge: JudgeTimes = JudgeTimes()

    @model_validator(mode="after")
    def _fits(self):
        if self.replicas * self.slots < self.group:
            raise ValueError(f"replicas x slots ({self.replicas * self.slots}) must hold a group ({self.group})")
        return self


class Outcome(NamedTuple):
    """Of a simulated task: tokens of each sample, whether the group is valid, seconds to judge it."""

    lengths: list[float]
    valid: bool
    judge_s: float


class Source(Protocol):
    """Where outcomes come from: a World, or a replayed trace."""

    def outcome(self, step: int, n: int, task: Task) -> Outcome: ...


class World:
    """Outcomes by the scenario's distributions, in chunks of tasks."""

    CHUNK = 4096

    def __init__(self, scenario: Scenario):
        self.scenario = scenario
        rng = np.random.default_rng([scenario.seed, 1])
        z, e = rng.standard_normal((2, scenario.problems))
        self.median = (scenario.lengths.median * np.exp(scenario.lengths.problem_sigma * z)).tolist()
        self.keep = scenario.keep.of(z, e).tolist()
        self.chunks: dict[tuple[int, int], tuple] = {}

    def outcome(self, step: int, n: int, task: Task) -> Outcome:
        chunk, at = divmod(n, self.CHUNK)
        if (known := self.chunks.get((step, chunk))) is None:
            if len(self.chunks) > 64:
                self.chunks.clear()
            rng = np.random.default_rng([self.scenario.seed, 2, step, chunk])
            shape = (self.CHUNK, self.scenario.group)
            spread = np.exp(self.scenario.lengths.sample_sigma * rng.standard_normal(shape))
            known = self.chunks[step, chunk] = spread.tolist(), rng.random(self.CHUNK).tolist()
        spread, chance = known
        problem, cap = int(task.problem), self.scenario.lengths.cap
        median = self.median[problem]
        lengths = [1.0 if (x := median * y) < 1.0 else x if x < cap else cap for y in spread[at]]
        return Outcome(lengths, chance[at] < self.keep[problem], self.scenario.judge.group_s)


def load_scenario(path: str | Path) -> Scenario:
    """Reads a scenario. Raises UserError naming file, key and remedy."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such scenario; `ls recipes/scenarios/` shows those that come with openmimo")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error}); correct that line") from None
    return parse_scenario(data, str(path))


def parse_scenario(data: dict, where: str) -> Scenario:
    """Plain data -> Scenario, with errors that name the key."""
    try:
        return Scenario(**data)
    except ValidationError as error:
        raise UserError(f"{where}: " + "; ".join(explain(e, Scenario) for e in error.errors())) from None
