"""A recorded run as the simulator's source: the very tasks, with another schedule or cluster.

    scenario, source = replayed("runs/tiny/rl"); simulate(scenario, source=source)

Lengths, verdicts and judging times are those of trace.jsonl; the time of a decode step is fitted to what the engines
took, base_s + row_s x rows, with start_s for each admitted task. A task that the run never completed (aborted, or
beyond what it started) takes the lengths of another of the same step: its own are not known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from openmimo.errors import UserError
from openmimo.rl.easy_pool import Task
from openmimo.rl.rollout.scenario import Outcome, Scenario, parse_scenario
from openmimo.rl.rollout.trace import FILE, TracedStep, read_trace


class Replay:
    """Source and sampler in one: what is drawn and what becomes of it was recorded."""

    def __init__(self, steps: list[TracedStep]):
        self.steps = [Recorded(step) for step in steps]

    def tasks(self, step: int) -> Recorded:
        return self.steps[step]

    def commit(self, tasks: Recorded, outcomes: list) -> None:
        """Nothing: the next step was recorded too."""

    def outcome(self, step: int, n: int, task: Task) -> Outcome:
        recorded = self.steps[step]
        life = recorded.known.get(n) or recorded.complete[n % len(recorded.complete)]
        return Outcome([float(x) for x in life.lengths], bool(life.valid), life.judge_s)


class Recorded:
    """The tasks of a recorded step."""

    def __init__(self, step: TracedStep):
        self.lives = {life.n: life for life in step.lives}
        self.complete = [life for life in step.lives if life.valid is not None]
        self.known = {life.n: life for life in self.complete}

    def __getitem__(self, n: int) -> Task:
        life = self.lives.get(n) or self.complete[n % len(self.complete)]
        return Task(life.problem, life.from_pool, life.expected)

    def expected(self, n: int) -> tuple[bool, float]:
        return self[n].from_pool, self[n].forecast


def replayed(folder: str | Path) -> tuple[Scenario, Replay]:
    """From the folder of a stage, or of a run (its stage rl). Raises UserError where it holds no whole traced step."""
    path = next((p for p in (Path(folder) / FILE, Path(folder) / "rl" / FILE) if p.is_file()), Path(folder) / FILE)
    steps = read_trace(path) if path.is_file() else []
    steps = [step for step in steps if any(life.worker is not None for life in step.lives)]
    if not steps:
        raise UserError(f"{path}: no traced step; give the folder of an RL stage, for example runs/tiny/rl")
    row = steps[0].row
    base_s, row_s, start_s = fit_decode(steps, row["group"])
    lengths = [x for step in steps for life in step.lives for x in life.lengths]
    scenario = {
        "name": f"replay of {folder}", "steps": len(steps), "batch": row["batch"], "group": row["group"],
        "max_tasks_per_step": row["max_tasks"], "replicas": row["workers"], "slots": row["slots"],
        "decode": {"base_s": base_s, "row_s": row_s, "start_s": start_s},
        "lengths": {"median": float(np.median(lengths)), "cap": max(lengths)},
        "keep": {"rate": max(0.01, sum(bool(life.valid) for s in steps for life in s.lives) / len(lengths))},
        "judge": {"servers": row["judges"]},
        "note": f"{len(steps)} recorded steps of schedule {row['schedule']}; a decode step took "
        f"{1e3 * base_s:.2f} ms + {1e3 * row_s:.3f} ms a row, a new task {1e3 * start_s:.2f} ms",
    }  # fmt: skip
    return parse_scenario(scenario, str(folder)), Replay(steps)


def fit_decode(steps: list[TracedStep], group: int) -> tuple[float, float, float]:
    """Least squares of a step's seconds on (1, rows, tasks admitted), each at least 0 (base a microsecond)."""
    seen = np.array([s for step in steps for worker in step.row["decode"] for s in worker], dtype=float)
    columns = np.stack([np.ones(len(seen)), seen[:, 0], seen[:, 1] / group], axis=1)
    kept = [0, 1, 2]
    while True:
        solved = np.linalg.lstsq(columns[:, kept], seen[:, 2], rcond=None)[0]
        if (solved[kept.index(0)] > 0 if 0 in kept else True) and min(solved) >= 0:
            break
        kept.remove(kept[int(np.argmin(solved))])
    found = dict(zip(kept, solved.tolist(), strict=True))
    return max(found.get(0, 0.0), 1e-6), found.get(1, 0.0), found.get(2, 0.0)
