"""Every quantity of pre-training as a pure function of tokens seen [R 2.3]. Imports no torch.

from openmimo.train.schedule import Schedule
Schedule(recipe.pretrain).at(84e9)   # Point(stage='stage1', lr=1.07e-4, batch=1280, length=8192, ...)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from openmimo.recipe import Extend, Pretrain, Segment, Sft, Stage


@dataclass(frozen=True)
class Point:
    """The state of the schedule. tokens: seen before this step; batch: sequences; length: tokens a sequence."""

    tokens: float
    stage: str
    lr: float
    batch: int
    length: int
    rope_base: float
    mtp_weight: float
    mix: dict[str, float]


def curve_at(segments: list[Segment], tokens: float) -> float:
    """Value of a piecewise curve. Starts at 0 (linear, cosine) or at `to` (constant); a constant without `to` keeps
    the value before it; at a border the later segment holds, so a step in value takes effect at its first token."""
    value, start = 0.0, 0.0
    for segment in segments:
        end = math.inf if segment.tokens is None else start + segment.tokens
        target = value if segment.to is None else segment.to
        if tokens < end:
            if segment.shape == "constant":
                return target
            done = (tokens - start) / segment.tokens
            if segment.shape == "linear":
                return value + (target - value) * done
            return target + (value - target) * 0.5 * (1 + math.cos(math.pi * done))
        value, start = target, end
    return value


def closed(segments: list[Segment], total: float) -> list[Segment]:
    """The curve with an open last segment closed at the run's end."""
    if segments[-1].tokens is not None:
        return segments
    rest = total - sum(s.tokens for s in segments[:-1])
    return [*segments[:-1], segments[-1].model_copy(update={"tokens": rest})]


class Schedule:
    """`at(tokens)` is the whole schedule; `steps()` walks it from 0 to the end."""

    def __init__(self, pretrain: Pretrain):
        total = pretrain.tokens
        curves = {name: closed(getattr(pretrain, name), total) for name in ("lr", "batch", "mtp_weight")}
        self.pretrain = pretrain.model_copy(update=curves)
        self.borders: list[float] = []
        total = 0.0
        for stage in pretrain.stages:
            total += stage.tokens
            self.borders.append(total)
        self.total = total

    def at(self, tokens: float) -> Point:
        """The point at `tokens` seen (>= 0); beyond the end it is the end's."""
        index = next((i for i, border in enumerate(self.borders) if tokens < border), len(self.borders) - 1)
        stage = self.pretrain.stages[index]
        return Point(
            tokens=tokens,
            stage=stage.name,
            lr=curve_at(self.pretrain.lr, tokens),
            batch=max(1, round(curve_at(self.pretrain.batch, tokens))),
            length=stage.length,
            rope_base=stage.rope_base,
            mtp_weight=curve_at(self.pretrain.mtp_weight, tokens),
            mix=stage.mix,
        )

    def steps(self, tokens: float = 0.0) -> Iterator[Point]:
        """One Point a step from `tokens` on. A step sees batch x length tokens; at a stage's end the batch is cut to
        what is left of the stage; only a last sequence may hang over a border that is no multiple of the length."""
        while tokens < self.total:
            point = self.step_at(tokens)
            yield point
            tokens += point.batch * point.length

    def step_at(self, tokens: float) -> Point:
        """The point of the step that begins at `tokens`. Its learning rate is taken at the step's end, so that the
        first step of a warm-up from 0 moves the weights."""
        point = self.at(tokens)
        border = next((b for b in self.borders if tokens < b), self.total)
        left = max(1, math.ceil((border - tokens) / point.length))
        batch = min(point.batch, left)
        lr = curve_at(self.pretrain.lr, min(tokens + batch * point.length, border - 1e-6 * point.length))
        return Point(**{**point.__dict__, "batch": batch, "lr": lr})

    def count_steps(self) -> int:
        """Number of steps of the run. Where the batch is constant, whole stretches are counted at once."""
        tokens, count = 0.0, 0
        marks = sorted({*self.borders, *self._ends(self.pretrain.batch)})
        while tokens < self.total:
            point = self.step_at(tokens)
            size = point.batch * point.length
            mark = next(m for m in marks if tokens < m)
            constant = self._batch_is_constant(tokens)
            jump = max(1, int((mark - tokens) // size)) if constant else 1
            tokens, count = tokens + jump * size, count + jump
        return count

    def _ends(self, segments: list[Segment]) -> list[float]:
        ends, total = [], 0.0
        for segment in segments[:-1]:
            total += segment.tokens
            ends.append(total)
        return ends

    def _batch_is_constant(self, tokens: float) -> bool:
        ends = self._ends(self.pretrain.batch)
        index = next((i for i, end in enumerate(ends) if tokens < end), len(ends))
        return self.pretrain.batch[index].shape == "constant"


def constant_rate(
    name: str, tokens: int, settings: Sft | Extend, length: int, rope_base: float, mtp_weight: float
) -> Pretrain:
    """The table of a fine-tuning: one stage and source called `name`, a constant learning rate after the warm-up."""
    stage = Stage(name=name, tokens=tokens, length=length, rope_base=rope_base, mix={name: 1.0})
    warmup = min(max(1, settings.warmup_steps) * settings.batch * length, max(1, tokens - 1))
    return Pretrain(
        optim=settings.optim,
        lr=[Segment(shape="linear", tokens=warmup, to=settings.lr), Segment(shape="constant")],
        batch=[Segment(shape="constant", to=settings.batch)],
        mtp_weight=[Segment(shape="constant", to=mtp_weight)],
        stages=[stage],
    )
