"""`openmimo trace RUN`: where the time of its rollouts went, and why each task of one step was started."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from openmimo.errors import UserError
from openmimo.rl.rollout.timeline import chrome, sums, traces_of
from openmimo.rl.rollout.trace import TracedStep

FATES = {"kept": "trained on", "dropped": "no gradient", "surplus": "complete, not needed", "aborted": "aborted"}


def run_trace(folder: Path, step: int | None, out: Path | None, as_json: bool, console: Console) -> None:
    """Prints sums over all steps and the launches of one (default: the last). out: also a Chrome trace there."""
    traces = traces_of(folder)
    if step is not None and not any(s.row["step"] == step - 1 for steps in traces.values() for s in steps):
        raise UserError(
            f"{folder}: step {step} is not in the trace; it has steps {', '.join(map(extent, traces.values()))}"
        )
    if out:
        out.write_text(json.dumps(chrome(traces)))
    if as_json:
        found = {name: [{"step": s.row["step"] + 1, **sums(s)} for s in steps] for name, steps in traces.items()}
        print(json.dumps(found))
        return
    for name, steps in traces.items():
        chosen = [s for s in steps if step is None or s.row["step"] == step - 1]
        console.print(shares(f"{name}: {len(steps)} steps of schedule {steps[-1].row['schedule']}", steps))
        if chosen:
            console.print(f"{name}: launches of step {chosen[-1].row['step'] + 1}", style="bold")
            print(launches(chosen[-1]))
    if out:
        console.print(f"wrote {out}; open it at ui.perfetto.dev or chrome://tracing", highlight=False)


def extent(steps: list[TracedStep]) -> str:
    return f"{steps[0].row['step'] + 1} to {steps[-1].row['step'] + 1}"


def shares(title: str, steps: list[TracedStep]) -> Table:
    """Seconds by what went on, slot-seconds by what came of them."""
    total: dict[str, float] = {}
    for step in steps:
        for key, value in sums(step).items():
            total[key] = total.get(key, 0.0) + value
    shown = Table("where the time went", title=title, title_justify="left")
    shown.add_column("seconds", justify="right")
    shown.add_column("share", justify="right")
    slots = sum(value for key, value in total.items() if key.startswith("slots "))
    shown.add_row("rollout", f"{total['seconds']:.1f}", "100 %")
    for key, value in total.items():
        if key != "seconds" and not key.startswith("slots "):
            shown.add_row(f"  {key}", f"{value:.1f}", f"{100 * value / total['seconds']:.1f} %")
    shown.add_row("slots", f"{slots:.1f}", "100 %")
    for key, value in total.items():
        if key.startswith("slots "):
            what = key.removeprefix("slots ")
            shown.add_row(f"  {FATES.get(what, what)}", f"{value:.1f}", f"{100 * value / slots:.1f} %")
    return shown


def launches(step: TracedStep) -> str:
    """Every task of a step in number order: when and why it started, and what became of it."""
    lines = ["task problem            at, s forecast expected worker tokens judged, s  end, reason"]
    for life in step.lives:
        at = "" if life.start is None else f"{life.start - step.row['began']:.2f}"
        judged = "" if life.judged is None else f"{life.judged - step.row['began']:.2f}"
        worker = "journal" if life.worker is None else str(life.worker)
        longest = str(max(life.lengths)) if life.lengths else ""
        problem = life.problem[:13] + (" pool" if life.from_pool else "")
        fate = FATES.get(life.end, life.end)
        lines.append(f"{life.n:>4} {problem:<18} {at:>5} {life.forecast:>8.2f} {life.expected:>8.2f} {worker:>6} "
                     f"{longest:>6} {judged:>9}  {fate}; {life.reason}")  # fmt: skip
    return "\n".join(lines)
