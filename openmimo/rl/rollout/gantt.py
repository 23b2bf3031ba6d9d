"""A recorded step as it ran, and as the simulator says another schedule would have run it: the data of a Gantt picture.

    for lanes in compared("runs/tiny/rl"): print(lanes.title, lanes.seconds)

Both sides do the very same tasks (`replay`); the simulated one costs what the recorded decode steps and rewards cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from openmimo.rl.rollout.policy import SCHEDULES, Finish
from openmimo.rl.rollout.replay import replayed
from openmimo.rl.rollout.simulate import SimulatedStep, simulate
from openmimo.rl.rollout.timeline import Span, spans
from openmimo.rl.rollout.trace import FILE, TracedStep, read_trace


@dataclass(frozen=True)
class Lanes:
    """One side of the picture. judged: intervals; times in seconds since the step began."""

    title: str
    schedule: str
    workers: int
    seconds: float
    tasks: list[Span]
    judged: list[tuple[float, float]]


def compared(folder: str | Path) -> list[Lanes]:
    """Naive first, then the other side, of the recorded step of median length. Raises UserError without a trace."""
    scenario, replay = replayed(folder)
    steps = [s for s in read_trace(Path(folder) / FILE) if any(life.worker is not None for life in s.lives)]
    number = sorted(range(len(steps)), key=lambda i: steps[i].row["ended"] - steps[i].row["began"])[len(steps) // 2]
    mine = recorded(steps[number])
    other = "early" if mine.schedule == "naive" else "naive"
    found: list[Lanes] = []

    def keep(name: str, run: SimulatedStep, finish: Finish) -> None:
        found.append(simulated(name, run, finish))

    replay.steps = [replay.steps[number]]
    simulate(scenario.model_copy(update={"steps": 1}), {other: SCHEDULES[other]}, replay, keep)
    return sorted([mine, *found], key=lambda lanes: lanes.schedule != "naive")


def recorded(step: TracedStep) -> Lanes:
    row = step.row
    judged = [(x.judge - row["began"], x.judged - row["began"]) for x in step.lives if x.judge and x.judged]
    title = f"{row['schedule']}, step {row['step'] + 1} as it ran"
    return Lanes(title, row["schedule"], row["workers"], row["ended"] - row["began"], spans(step), judged)


def simulated(name: str, run: SimulatedStep, finish: Finish) -> Lanes:
    tasks = []
    for worker, replica in enumerate(run.replicas):
        for began, ended, n in replica.intervals:
            end = "kept" if n in finish.batch else "dropped" if n < finish.used else "surplus"
            tasks.append(Span(worker, began, ended, end))
        tasks += [Span(worker, began, ended, "aborted") for began, ended, _ in replica.lost]
    return Lanes(f"{name}, the same tasks simulated", name, len(run.replicas), run.now, tasks, run.judged)
