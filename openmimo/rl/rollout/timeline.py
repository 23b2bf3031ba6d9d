"""Where a rollout's time went, from trace.jsonl: what workers did when, as intervals, sums and a Chrome trace.

    openmimo trace runs/tiny                      # sums over the steps, and every launch of the last one
    openmimo trace runs/tiny --chrome trace.json  # for ui.perfetto.dev or chrome://tracing

A worker is idle while no task that it completes holds a slot of it: aborted work counts as idle, as in the report.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from openmimo.errors import UserError
from openmimo.rl.rollout.trace import FILE, Life, TracedStep, read_trace

STAGES = ("rl", "rl-zero")


class Span(NamedTuple):
    """A task on a worker. Seconds since the step began; end: kept, dropped, surplus, aborted."""

    worker: int
    began: float
    ended: float
    end: str


def traces_of(folder: str | Path) -> dict[str, list[TracedStep]]:
    """{stage's name: its traced steps}, of a run's folder or a stage's. Raises UserError where there are none."""
    folder, found = Path(folder), {}
    places = {folder.name: folder / FILE}
    places |= {s: path for s in STAGES for path in (folder / s / FILE, folder / ".work" / s / FILE) if path.is_file()}
    for name, path in places.items():
        if path.is_file() and (steps := read_trace(path)):
            found[name] = steps
    if not found:
        raise UserError(f"{folder}: no {FILE} with a whole step in it; give the folder of a run or of its stage rl")
    return found


def spans(step: TracedStep) -> list[Span]:
    """What each worker was given, task by task. An aborted task that never had a slot is left out."""
    found = []
    for life in step.lives:
        began = life.began if life.began is not None else life.start
        ended = life.done if life.done is not None else life.ended
        if life.worker is not None and began is not None and ended is not None:
            zero = step.row["began"]
            found.append(Span(life.worker, began - zero, ended - zero, life.end))
    return found


def covered(intervals: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The union of intervals, as disjoint ones in order."""
    found: list[list[float]] = []
    for began, ended in sorted(intervals):
        if found and began <= found[-1][1]:
            found[-1][1] = max(found[-1][1], ended)
        else:
            found.append([began, ended])
    return [(began, ended) for began, ended in found]


def sums(step: TracedStep) -> dict[str, float]:
    """Seconds of a step by what went on: every worker on tasks that count, some, none while a reward is computed, none
    at all; and its slot-seconds: of groups kept, dropped, complete but surplus, aborted, idle."""
    row, lives = step.row, step.lives
    whole = row["ended"] - row["began"]
    busy = [covered((s.began, s.ended) for s in spans(step) if s.worker == w and s.end != "aborted")
            for w in range(row["workers"])]  # fmt: skip
    judging = covered((x.judge - row["began"], x.judged - row["began"]) for x in lives if x.judge and x.judged)
    cuts = sorted({0.0, whole, *(t for one in [*busy, judging] for pair in one for t in pair)})
    found = dict.fromkeys(("all workers", "some workers", "judging only", "nothing"), 0.0)
    for began, ended in zip(cuts, cuts[1:], strict=False):
        at = (began + ended) / 2
        active = sum(any(b <= at < e for b, e in one) for one in busy)
        if active:
            what = "all workers" if active == len(busy) else "some workers"
        else:
            what = "judging only" if any(b <= at < e for b, e in judging) else "nothing"
        found[what] += ended - began
    slots = {end: sum(x.slot_s for x in lives if x.end == end) for end in ("kept", "dropped", "surplus")}
    held = sum(rows * seconds for worker in row["decode"] for rows, _, seconds in worker)
    slots["aborted"] = max(0.0, held - sum(slots.values()))
    slots["idle"] = max(0.0, row["workers"] * row["slots"] * whole - sum(slots.values()))
    return {"seconds": whole, **found, **{f"slots {name}": value for name, value in slots.items()}}


def chrome(traces: dict[str, list[TracedStep]]) -> dict:
    """The Trace Event format: a process a worker, a lane for each task that is on it at once; judges beside."""
    events: list[dict] = []
    for number, (stage, steps) in enumerate(traces.items()):
        base, zero = 100 * number, steps[0].row["began"]
        workers = max(step.row["workers"] for step in steps)
        names = {base: f"{stage}: steps", base + 1 + workers: f"{stage}: judges"}
        names |= {base + 1 + w: f"{stage}: worker {w}" for w in range(workers)}
        events += [{"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": n}} for pid, n in names.items()]  # fmt: skip
        lanes: dict[int, list[float]] = {}
        for step in steps:
            row = step.row
            events.append(event(f"step {row['step'] + 1}", base, 0, row["began"] - zero, row["ended"] - zero,
                                {"schedule": row["schedule"], "batch": row["batch"], "started": row["started"]}))  # fmt: skip
            for life in sorted(step.lives, key=lambda x: x.start or 0.0):
                if life.worker is not None and life.start is not None and life.ended is not None:
                    events += of_life(life, base + 1 + life.worker, base + 1 + workers, zero, lanes)
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def of_life(life: Life, worker: int, judges: int, zero: float, lanes: dict[int, list[float]]) -> list[dict]:
    """A task's events: queued, prefill, decode on its worker, then judged; what became of it is in each one's args."""
    about = {"problem": life.problem, "forecast": life.forecast, "reason": life.reason, "expected": life.expected,
             "end": life.end, "valid": life.valid, "tokens": life.lengths}  # fmt: skip
    over = life.done if life.done is not None else life.ended
    lane = place(lanes.setdefault(worker, []), life.start, over)
    began = life.began if life.began is not None else over
    first = life.prefilled if life.prefilled is not None else began
    parts = [("queued", life.start, began), ("prefill", began, first), ("decode", first, over)]
    found = [
        event(f"{what} {life.n}" + (f" ({life.end})" if what == "decode" else ""), worker, lane, b - zero, e - zero, about)
        for what, b, e in parts
        if e > b
    ]  # fmt: skip
    if life.judge is not None and life.judged is not None:
        lane = place(lanes.setdefault(judges, []), life.judge, life.judged)
        found.append(event(f"judged {life.n}", judges, lane, life.judge - zero, life.judged - zero, about))
    return found


def event(name: str, pid: int, tid: int, began: float, ended: float, args: dict) -> dict:
    """A complete event; times in seconds."""
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": round(1e6 * began, 1),
            "dur": round(1e6 * (ended - began), 1), "args": args}  # fmt: skip


def place(lanes: list[float], began: float, ended: float) -> int:
    """The first lane that is free from `began` on."""
    for lane, free in enumerate(lanes):
        if free <= began:
            lanes[lane] = ended
            return lane
    lanes.append(ended)
    return len(lanes) - 1
