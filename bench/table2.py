"""The report's Table 2 by the simulator: its figures beside ours, calibrated on the static and naive rows alone.

    python bench/table2.py           # about a minute on one core
    python bench/table2.py --fit     # fits judge.group_s and overhead_s again first

Runs recipes/scenarios/report.toml over several seeds (its waste is a matter of luck in one step). What is fitted and
what is assumed stands in the scenario. Then the same cluster with what goes beyond the report
(recipes/scenarios/beyond.toml), against the report's naive row as simulated. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from openmimo.rl.rollout.policy import SCHEDULES, Schedule
from openmimo.rl.rollout.scenario import Scenario, load_scenario
from openmimo.rl.rollout.simulate import simulate
from openmimo.rl.rollout.table import table

SCENARIOS = Path(__file__).parents[1] / "recipes" / "scenarios"
REPORT = {  # overall, rollout, normalised idle, idle ratio, waste
    "static": (2.45, 2.82, 0.36, 0.708, 0.0),
    "naive": (1.0, 1.0, 1.0, 0.693, 0.221),
    "continuous": (1.99, 2.20, 0.25, 0.388, 0.139),
    "async": (2.09, 2.34, 0.21, 0.340, 0.164),
    "early": (2.29, 2.61, 0.15, 0.277, 0.129),
}
KEYS = ("overall_speedup", "rollout_speedup", "normalized_busy_idle", "busy_idle_ratio", "waste_ratio")
VALIDATION = (1.96, 0.658, 0.329)  # Table 3: speed-up, naive's idle ratio, Seamless Rollout's
PREDICTED = ("continuous", "async", "early")


def measure(scenario: Scenario, seeds: range, names=tuple(SCHEDULES)) -> dict[str, dict[str, float]]:
    """Mean over the seeds of every column."""
    chosen = {name: SCHEDULES[name] for name in names}
    runs = []
    for seed in seeds:
        one = scenario.model_copy(update={"seed": seed})
        runs.append(table(simulate(one, chosen), one.replicas, one.slots, one.rollout_share))
    found = {
        name: {key: statistics.fmean(float(run[name][key]) for run in runs) for key in runs[0][name]} for name in names
    }
    for name, row in found.items():
        row["waste_sd"] = statistics.stdev(run[name]["waste_ratio"] for run in runs) if len(runs) > 1 else 0.0
    return found


def fitted(scenario: Scenario, seeds: range) -> Scenario:
    """judge.group_s and overhead_s from two rows: naive's idle ratio, and how many static rollouts it lasts."""
    for _ in range(4):
        rows = measure(scenario, seeds, ("static", "naive"))
        naive, static = (rows[name]["seconds"] / scenario.steps for name in ("naive", "static"))
        busy = (1 - rows["naive"]["busy_idle_ratio"]) * naive
        wanted = busy / (1 - REPORT["naive"][3])
        wanted_static = wanted / REPORT["static"][1]
        round_more = ((wanted - wanted_static) - (naive - static)) / 2  # naive has three rounds, static one
        overhead = scenario.overhead_s + wanted_static - static - round_more
        group_s = scenario.judge.group_s + round_more / scenario.batch
        judge = scenario.judge.model_copy(update={"group_s": max(0.0, group_s)})
        scenario = scenario.model_copy(update={"judge": judge, "overhead_s": max(0.0, overhead)})
        print(f"fit: judge.group_s {judge.group_s:.3f}, overhead_s {scenario.overhead_s:.1f}", flush=True)
    return scenario


def validation(scenario: Scenario, seeds: range) -> dict[str, float]:
    """Table 3: all tasks at once, then rewards one after another, against rewards beside generation. Seconds of judging
    are fitted to naive's idle ratio; the speed-up and the other idle ratio are predictions. Assumed: four samples a slot,
    for benchmarks are sampled up to 32 times."""
    streamed, found = Schedule(dynamic=False, stop="drain"), []
    for seed in seeds:
        judge = scenario.judge.model_copy(update={"group_s": 0.0})
        one = scenario.model_copy(
            update={"seed": seed, "steps": 1, "batch": 4 * scenario.batch, "overhead_s": 0.0, "judge": judge}
        )
        bare = simulate(one, {"static": SCHEDULES["static"]})["static"]
        busy = bare.busy_s / one.replicas
        group_s = max(0.0, busy / (1 - VALIDATION[1]) - bare.seconds) / one.batch
        one = one.model_copy(update={"judge": judge.model_copy(update={"group_s": group_s})})
        sides = simulate(one, {"naive": SCHEDULES["static"], "streamed": streamed})
        idle = {name: 1 - side.busy_s / one.replicas / side.seconds for name, side in sides.items()}
        found.append((sides["naive"].seconds / sides["streamed"].seconds, idle["naive"], idle["streamed"]))
    speedup, naive, seamless = map(statistics.fmean, zip(*found, strict=True))
    return {"speedup": speedup, "naive_idle": naive, "idle": seamless}


def beyond(reference: Scenario, seeds: range) -> dict[str, float]:
    """The scenario `beyond` under Seamless Rollout, against the report's naive row as simulated."""
    better = load_scenario(SCENARIOS / "beyond.toml")
    naive = measure(reference, seeds, ("naive",))["naive"]["seconds"]
    row = measure(better, seeds, ("early",))["early"]
    speedup = naive / row["seconds"] * better.steps / reference.steps
    share = reference.rollout_share
    return {
        "rollout_speedup": speedup, "overall_speedup": 1 / ((1 - share) + share / speedup),
        "busy_idle_ratio": row["busy_idle_ratio"], "waste_ratio": row["waste_ratio"], "kept": row["kept"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    seeds = range(args.seeds)
    scenario = load_scenario(SCENARIOS / "report.toml")
    if args.fit:
        scenario = fitted(scenario, range(2))
    rows = measure(scenario, seeds)
    shown = Table(title=f"Table 2: report / simulated, mean of {args.seeds} seeds")
    for column in ("schedule", "overall", "rollout", "idle time", "idle ratio", "waste"):
        shown.add_column(column, justify="right")
    for name, wanted in REPORT.items():
        found = [rows[name][key] for key in KEYS]
        shown.add_row(name, *(f"{w:.3g} / {f:.3g}" for w, f in zip(wanted, found, strict=True)))
    console = Console()
    console.print(shown)
    errors = {
        name: {
            "rollout_speedup": rows[name]["rollout_speedup"] / REPORT[name][1] - 1,
            "waste_ratio": rows[name]["waste_ratio"] / REPORT[name][4] - 1,
        }
        for name in PREDICTED
    }
    for name, error in errors.items():
        console.print(f"{name}: rollout {error['rollout_speedup']:+.1%}, waste {error['waste_ratio']:+.1%} (a run of five "
                      f"steps varies by {rows[name]['waste_sd'] / rows[name]['waste_ratio']:.0%})", highlight=False)  # fmt: skip
    within = all(abs(e) <= 0.15 for error in errors.values() for e in error.values())
    table3 = validation(scenario, seeds)
    console.print(f"validation: {table3['speedup']:.2f}x (report {VALIDATION[0]}), idle {table3['naive_idle']:.1%} -> "
                  f"{table3['idle']:.1%} (report {VALIDATION[1]:.1%} -> {VALIDATION[2]:.1%})", highlight=False)  # fmt: skip
    further = beyond(scenario, seeds)
    console.print("beyond:", ", ".join(f"{key} {value:.3g}" for key, value in further.items()))
    print(
        json.dumps(
            {"rows": rows, "errors": errors, "within_15_percent": within, "validation": table3, "beyond": further}
        )
    )


if __name__ == "__main__":
    main()
