"""The report's picture of a rollout [R 3.4]: naive beside seamless, a row a worker, every task a bar, idle shaded."""

from __future__ import annotations

from matplotlib.patches import Patch

from openmimo.report.logs import STAGES, Run
from openmimo.report.markup import Html, figure, grid, paragraph, section
from openmimo.report.plot import PLACEHOLDER, WIDE, canvas, inline, percent
from openmimo.rl.rollout.gantt import Lanes, compared
from openmimo.rl.rollout.timeline import covered
from openmimo.rl.rollout.trace import FILE

COLOURS = {"kept": "rl", "dropped": "base", "surplus": "sft", "aborted": "rl-zero"}
WORDS = {"kept": "trained on", "dropped": "no gradient", "surplus": "not needed", "aborted": "aborted"}
TITLE = "Rollout, task by task"


def rollout_section(run: Run) -> Html:
    """A picture for each RL stage that left a trace; nothing without one."""
    figures = []
    for stage in ("rl-zero", "rl"):
        places = [run.folder / FILE] if run.alone else [run.folder / s / stage / FILE for s in ("", ".work")]
        path = next((p for p in places if p.is_file()), None)
        if stage in run.logs and path is not None:
            sides = compared(path.parent)
            figures.append(figure(STAGES[stage], gantt_picture(STAGES[stage], sides), words(sides)))
    if not figures:
        return Html("")
    about = paragraph(
        "One step of each run. Naive dynamic sampling goes in whole rounds: all wait for the longest response, then "
        "rewards are computed one after another. Seamless rollout starts a task when a slot is free and more are "
        "expected to be needed, judges beside generation, and stops when the batch is complete in the order of its "
        "start. Both train on the same data. Shaded: a worker on which no task runs that is completed."
    )
    return section("rollout", TITLE, about, grid(figures, wide=True))


def words(sides: list[Lanes]) -> str:
    """What the caption says."""
    said = ", ".join(f"{s.title}: {s.seconds:.2f} s, idle {percent(idle(s))}" for s in sides)
    return f"{said[0].upper()}{said[1:]}; {sides[0].seconds / sides[1].seconds:.2f} times as fast."


def idle(lanes: Lanes) -> float:
    """Share of the workers' time without a task that is completed."""
    busy = sum(e - b for w in range(lanes.workers) for b, e in busy_of(lanes, w))
    return 1 - busy / (lanes.workers * lanes.seconds)


def busy_of(lanes: Lanes, worker: int) -> list[tuple[float, float]]:
    return covered((s.began, s.ended) for s in lanes.tasks if s.worker == worker and s.end != "aborted")


def gantt_picture(name: str, sides: list[Lanes]) -> Html:
    """Time to the right; for each side a row a worker and one for the judge."""
    alt = f"Rollout of {name}. {words(sides)}"
    height = 0.5 + sum(0.32 + 0.55 * side.workers + 0.2 for side in sides)
    with canvas(WIDE, height, left=0.17, above=0.35) as (picture, axes):
        y, ticks = 0.0, []
        for side in sides:
            axes.text(0, y - 0.1, side.title, fontsize=8, fontweight="bold", va="bottom")
            for worker in range(side.workers):
                draw_worker(axes, side, worker, y)
                ticks.append((y + 0.5, f"worker {worker + 1}"))
                y += 1.1
            for began, ended in covered(side.judged):
                axes.barh(y + 0.1, ended - began, left=began, height=0.2, color=PLACEHOLDER["accent"], linewidth=0)
            ticks.append((y + 0.1, "judge"))
            y += 1.1
        axes.set_yticks([place for place, _ in ticks], [label for _, label in ticks], fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, max(side.seconds for side in sides))
        axes.set_ylim(y - 0.7, -0.6)
        axes.set_xlabel("seconds since the step began")
        shown = [Patch(color=PLACEHOLDER[colour], label=WORDS[end]) for end, colour in COLOURS.items()]
        shown.append(Patch(color=PLACEHOLDER["grid"], label="idle"))
        axes.legend(handles=shown, loc="lower right", bbox_to_anchor=(1.01, 1.0), ncols=5, fontsize=7, handlelength=0.9,
                    columnspacing=0.9, borderpad=0.0)  # fmt: skip
        return inline(picture, alt)


def draw_worker(axes, side: Lanes, worker: int, y: float) -> None:
    """Idle as a shade over the row, tasks as bars in lanes."""
    free = [0.0, *(t for pair in busy_of(side, worker) for t in pair), side.seconds]
    for began, ended in zip(free[::2], free[1::2], strict=True):
        axes.barh(y + 0.5, ended - began, left=began, height=1.0, color=PLACEHOLDER["grid"], linewidth=0)
    tasks, lanes = sorted((s for s in side.tasks if s.worker == worker), key=lambda s: s.began), []
    placed = []
    for task in tasks:
        lane = next((i for i, end in enumerate(lanes) if end <= task.began), len(lanes))
        lanes[lane:] = [task.ended, *lanes[lane + 1 :]]
        placed.append((lane, task))
    pitch = 1.0 / max(1, len(lanes))
    for lane, task in placed:
        axes.barh(y + (lane + 0.5) * pitch, task.ended - task.began, left=task.began, height=0.75 * pitch,
                  color=PLACEHOLDER[COLOURS[task.end]], linewidth=0)  # fmt: skip
