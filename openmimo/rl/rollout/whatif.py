"""`openmimo simulate`: a scenario or a recorded run through the simulator, printed as the report's Table 2."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from openmimo.errors import UserError
from openmimo.recipe import apply_override
from openmimo.rl.rollout.policy import SCHEDULES
from openmimo.rl.rollout.replay import replayed
from openmimo.rl.rollout.scenario import load_scenario, parse_scenario
from openmimo.rl.rollout.simulate import simulate
from openmimo.rl.rollout.table import table

COLUMNS = {  # key -> (title, format)
    "overall_speedup": ("overall", "{:.2f}x"),
    "rollout_speedup": ("rollout", "{:.2f}x"),
    "normalized_busy_idle": ("idle time", "{:.2f}"),
    "busy_idle_ratio": ("idle (replicas)", "{:.1%}"),
    "idle_ratio": ("idle (slots)", "{:.1%}"),
    "waste_ratio": ("waste", "{:.1%}"),
    "invalid_ratio": ("invalid", "{:.1%}"),
    "aborted_token_ratio": ("aborted tokens", "{:.1%}"),
    "tasks": ("tasks", "{:,.0f}"),
    "seconds": ("rollout s", "{:,.1f}"),
}


def run_simulation(
    path: Path | None, replay: Path | None, policies: list[str], overrides, as_json: bool, console: Console
) -> None:
    """Simulates `policies` (none: all) and prints them, speed-ups only where naive is among them. Raises UserError for a
    policy that there is not, and for neither or both sources."""
    if unknown := [name for name in policies if name not in SCHEDULES]:
        raise UserError(f"--policy {unknown[0]!r} is not one of {', '.join(SCHEDULES)}")
    if (path is None) == (replay is None):
        raise UserError("simulate: give either a scenario, such as recipes/scenarios/report.toml, or --replay FOLDER")
    source = None
    if replay is not None:
        scenario, source = replayed(replay)
    else:
        scenario = load_scenario(path)
    if overrides:
        data = scenario.model_dump(mode="json")
        for override in overrides:
            apply_override(data, override)
        scenario = parse_scenario(data, "--set")
    chosen = {name: schedule for name, schedule in SCHEDULES.items() if not policies or name in policies}
    gc.disable()  # millions of small tuples and no cycles: a quarter of the time
    bars = Progress(console=Console(file=sys.stderr), transient=True)
    with bars:
        bar = bars.add_task(scenario.name, total=len(chosen) * scenario.steps)
        found = simulate(scenario, chosen, source, lambda *_: bars.advance(bar))
    rows = table(found, scenario.replicas, scenario.slots, scenario.rollout_share)
    if as_json:
        print(json.dumps({"scenario": scenario.name, "rows": rows}))
        return
    if scenario.note:
        console.print(scenario.note, highlight=False)
    console.print(table_of(rows))


def table_of(rows: dict[str, dict[str, float]]) -> Table:
    """A column a schedule, in the order of the report's Table 2."""
    shown = Table("")
    for name in rows:
        shown.add_column(name, justify="right")
    for key, (title, form) in COLUMNS.items():
        if any(key in row for row in rows.values()):
            shown.add_row(title, *(form.format(row[key]) if key in row else "" for row in rows.values()))
    return shown
