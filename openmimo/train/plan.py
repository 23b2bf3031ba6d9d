"""The whole run before its first step: size, FLOPs, memory and the exact schedule at every border [R 2.2, 2.3].

    python -m openmimo.train.plan recipes/mimo-7b.toml      the same as `openmimo plan`, in a second

Imports no torch; `plan(recipe)` is data, `to_json` and `print_plan` show it.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from functools import partial

from openmimo.recipe import Pretrain, Recipe, Segment, load_recipe
from openmimo.train import memory
from openmimo.train.schedule import Schedule

CURVES = {"lr": "lr", "batch": "batch", "mtp_weight": "MTP weight"}


@dataclass(frozen=True)
class Border:
    """Where something changes. tokens: seen there by the recipe; step: index (0-based) of the first step that begins
    at or after it, that is the number of steps before it; the other values hold from that token on."""

    tokens: float
    step: int
    change: str
    stage: str
    lr: float
    batch: int
    length: int
    rope_base: float
    mtp_weight: float
    mix: dict[str, float]


@dataclass(frozen=True)
class StagePlan:
    """One pre-training stage: its tokens, optimiser steps and floating-point operations."""

    name: str
    tokens: float
    steps: int
    length: int
    rope_base: float
    mix: dict[str, float]
    flops_per_token: float
    flops: float


@dataclass(frozen=True)
class Plan:
    """Everything `openmimo plan` prints. parameters and memory_bytes: by part, with their total; total_size: bytes of
    the bfloat16 checkpoint; flops: of the whole pre-training; later: one line each for SFT, curation, RL, evaluation."""

    name: str
    note: str
    seed: int
    tensors: int
    parameters: dict[str, int]
    total_size: int
    tokens: float
    steps: int
    flops: float
    memory_bytes: dict[str, int]
    memory_formula: str
    stages: list[StagePlan]
    borders: list[Border]
    later: dict[str, str]


def plan(recipe: Recipe) -> Plan:
    """The plan of `recipe`; no torch, no file, a pure function."""
    model, schedule = recipe.model, Schedule(recipe.pretrain)
    total, main = model.parameters(), model.parameters("qwen2")
    borders = _borders(recipe.pretrain, schedule)
    stages = _stages(recipe, borders)
    return Plan(
        name=recipe.name,
        note=recipe.note,
        seed=recipe.seed,
        tensors=len(model.tensors()),
        parameters={"main": main, "mtp": total - main, "total": total},
        total_size=2 * total,
        tokens=schedule.total,
        steps=borders[-1].step,
        flops=sum(stage.flops for stage in stages),
        memory_bytes=memory.estimate(recipe),
        memory_formula=memory.FORMULA,
        stages=stages,
        borders=borders,
        later=_later(recipe),
    )


def to_json(plan: Plan) -> str:
    """The plan as indented JSON text."""
    return json.dumps(dataclasses.asdict(plan), indent=2)


def border_steps(schedule: Schedule, marks: list[float]) -> dict[float, int]:
    """mark (tokens) -> number of steps of `schedule.steps()` that begin before it, exactly, without walking them all:
    between two marks every curve is monotone, so steps whose first and last have one batch size all have it. `marks`
    must hold every stage border and every end of a batch segment."""
    tokens, step, found = 0.0, 0, {}
    for mark in sorted(set(marks)):
        while tokens < mark:
            point = schedule.step_at(tokens)
            size = point.batch * point.length
            count = _equal_steps(schedule, tokens, size, int((mark - tokens) // size))
            tokens, step = tokens + count * size, step + count
        found[mark] = step
    return found


def _equal_steps(schedule: Schedule, tokens: float, size: int, limit: int) -> int:
    """How many steps from `tokens` on, at most `limit` and at least one, have the first one's batch."""

    def same(count: int) -> bool:
        return schedule.at(tokens + (count - 1) * size).batch == batch

    batch = schedule.at(tokens).batch
    if limit <= 1 or same(limit):
        return max(limit, 1)
    low, high = 1, 2
    while high < limit and same(high):
        low, high = high, 2 * high
    high = min(high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if same(middle) else (low, middle)
    return low


def _ends(segments: list[Segment]) -> list[float]:
    """Tokens at which the segments of a curve end; an open end is left out."""
    ends, total = [], 0.0
    for segment in segments:
        if segment.tokens is not None:
            total += segment.tokens
            ends.append(total)
    return ends


def _borders(pretrain: Pretrain, schedule: Schedule) -> list[Border]:
    curves = {name: getattr(pretrain, name) for name in CURVES}
    marks = {0.0, schedule.total, *schedule.borders}
    for segments in curves.values():
        marks |= {end for end in _ends(segments) if end < schedule.total}
    steps = border_steps(schedule, sorted(marks))
    borders = []
    for mark in sorted(marks):
        point = schedule.at(mark)
        values = {f.name: getattr(point, f.name) for f in dataclasses.fields(Border) if hasattr(point, f.name)}
        change = "the end" if mark == schedule.total else "; ".join(_changes(pretrain, schedule, mark))
        borders.append(Border(**(values | {"step": steps[mark], "change": change})))
    return borders


def _changes(pretrain: Pretrain, schedule: Schedule, mark: float) -> list[str]:
    """What begins at `mark`: stages, and segments of the curves."""
    changes = []
    for stage, start in zip(pretrain.stages, [0.0, *schedule.borders], strict=False):
        if start == mark:
            changes.append(f"{stage.name} begins: mix {_mix(stage.mix)}")
    for name, title in CURVES.items():
        segments = getattr(pretrain, name)
        for segment, start in zip(segments, [0.0, *_ends(segments)], strict=False):
            if start == mark:
                constant = segment.shape == "constant"
                target = "stays" if segment.to is None else f"{'' if constant else 'to '}{segment.to:g}"
                changes.append(f"{title} {target}" if constant else f"{title} {segment.shape} {target}")
    return changes


def _stages(recipe: Recipe, borders: list[Border]) -> list[StagePlan]:
    schedule, start, plans = Schedule(recipe.pretrain), 0.0, []
    step_at = {border.tokens: border.step for border in borders}
    for stage, end in zip(recipe.pretrain.stages, schedule.borders, strict=True):
        each = recipe.model.flops_per_token(stage.length)
        steps = step_at[end] - step_at[start]
        plans.append(StagePlan(**stage.model_dump(), steps=steps, flops_per_token=each, flops=each * stage.tokens))
        start = end
    return plans


def _later(recipe: Recipe) -> dict[str, str]:
    """One line for each stage after pre-training."""
    sft, curate, rl, evaluation = recipe.sft, recipe.curate, recipe.rl, recipe.eval
    updates = rl.batch // rl.minibatch
    policy = "on-policy" if updates == 1 else f"{updates} updates a step"
    steps = f"{rl.steps:,}" if rl.zero_steps in (None, rl.steps) else f"{rl.steps:,} (RL-Zero {rl.zero_steps:,})"
    return {
        "SFT": f"lr {sft.lr:g}, batch {sft.batch} x {sft.length:,} tokens packed, {sft.epochs:g} epochs, "
        f"at most {sft.responses_per_query} responses a query",
        "RL data": f"{curate.rollouts} rollouts of the SFT model a problem, pass rate > {curate.max_pass_rate:g} dropped",
        "RL": f"{steps} steps of {rl.batch} groups x {rl.group} responses, {policy}, lr {rl.lr:g}, "
        f"clip -{rl.eps_low:g} / +{rl.eps_high:g}, up to {rl.max_tokens:,} tokens, reward {rl.reward}, "
        f"easy pool {rl.easy_alpha:g}; twice: from Base (RL-Zero) and from SFT",
        "evaluation": f"{recipe.problems.test:,} held-out problems, avg@{evaluation.samples}, temperature "
        f"{evaluation.temperature:g}, top-p {evaluation.top_p:g}, up to {evaluation.max_tokens:,} tokens; four checkpoints",
    }


def print_plan(recipe: Recipe, console) -> None:
    """Prints the plan on a rich console: one line a fact, never folded, so that a log can be searched."""
    p = plan(recipe)
    line = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    line(f"{p.name}: {p.note}" if p.note else p.name)
    line(
        f"parameters   {p.parameters['main']:,} main + {p.parameters['mtp']:,} MTP = {p.parameters['total']:,} "
        f"in {p.tensors} tensors; {p.total_size:,} bytes in bfloat16"
    )
    line(f"pre-training {_short(p.tokens)} tokens, {p.steps:,} steps, {p.flops:.3g} FLOPs")
    line("")
    rows = [("stage", "tokens", "steps", "length", "RoPE base", "FLOPs/token", "FLOPs")]
    for s in p.stages:
        numbers = (f"{s.steps:,}", f"{s.length:,}", f"{s.rope_base:,.0f}", f"{s.flops_per_token:.3g}")
        rows.append((s.name, _short(s.tokens), *numbers, f"{s.flops:.3g}"))
    line(_aligned(rows))
    line("")
    rows = [("stage", "tokens", "step", "lr", "batch", "length", "RoPE base", "MTP", "from here on")]
    for b in p.borders:
        numbers = (f"{b.lr:.3g}", f"{b.batch:,}", f"{b.length:,}", f"{b.rope_base:,.0f}", f"{b.mtp_weight:g}")
        rows.append((b.stage, _short(b.tokens), f"{b.step:,}", *numbers, b.change))
    line(_aligned(rows))
    line("")
    line("memory       " + ", ".join(f"{name} {size / 2**30:,.3f} GiB" for name, size in p.memory_bytes.items()))
    line(f"             {p.memory_formula}")
    for name, text in p.later.items():
        line(f"{name:<12} {text}")


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """Rows as lines of equally wide columns; the first and last column to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *numbers, last in rows:
        cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=False)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, last]))
    return "\n".join(lines)


def _mix(mix: dict[str, float]) -> str:
    """`web 55 %, code 45 %`."""
    return ", ".join(f"{name} {100 * share:g} %" for name, share in mix.items())


def _short(tokens: float) -> str:
    """17784000000000 -> `17.784T`, with every digit that matters."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6)):
        if tokens >= size:
            return f"{tokens / size:.10g}{unit}"
    return f"{tokens:,.10g}"


if __name__ == "__main__":
    from rich.console import Console

    print_plan(load_recipe(sys.argv[1], sys.argv[2:]), Console())
