"""The price of each stopping rule: rollout time against bias to short responses, in the simulator.

    python bench/stopping_rules.py        # a minute on one core; draws docs/stopping_rules.svg

Seamless Rollout with three ways to end a step, on the cluster of recipes/scenarios/report.toml:
first finished (the first B valid that complete; the rest is aborted), drain all (no task starts any more, all that was
started is waited for) and first in, first out (the report's: nothing begun before the batch's last task is missing).
Bias: Kolmogorov-Smirnov distance between the lengths of the groups trained and of all valid groups among the same
numbers, run to completion. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from openmimo.rl.rollout.bias import bias
from openmimo.rl.rollout.policy import Schedule
from openmimo.rl.rollout.scenario import load_scenario
from openmimo.rl.rollout.simulate import simulate

ROOT = Path(__file__).parents[1]
RULES = {
    "first finished": Schedule(stop="first_finished"),
    "drain all": Schedule(stop="drain"),
    "first in, first out": Schedule(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    scenario = load_scenario(ROOT / "recipes" / "scenarios" / "report.toml")
    found: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "bias": [], "waste": []} for name in RULES}
    for seed in range(args.seeds):
        for name, measured in simulate(scenario.model_copy(update={"seed": seed}), RULES).items():
            steps = list(zip(measured.batches, measured.valids, measured.lengths, strict=True))
            found[name]["seconds"].append(measured.seconds / scenario.steps)
            found[name]["bias"].append(statistics.fmean(bias(*step) for step in steps))
            found[name]["waste"].append(measured.valid / measured.trained - 1)
    means = {name: {key: statistics.fmean(values) for key, values in row.items()} for name, row in found.items()}
    for name, row in means.items():
        print(f"{name:20} {row['seconds']:7.1f} s a rollout, bias {row['bias']:.3f}, waste {row['waste']:.1%}")
    draw(means, ROOT / "docs" / "stopping_rules.svg")
    print(json.dumps({"rules": {n: {k: round(v, 4) for k, v in row.items()} for n, row in means.items()}}))


def draw(means: dict[str, dict[str, float]], path: Path) -> None:
    """A point a rule."""
    style = {"svg.hashsalt": "openmimo", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    with matplotlib.rc_context(style):
        figure, axes = plt.subplots(figsize=(5.2, 2.9), layout="constrained")
        for (name, row), colour in zip(means.items(), ("#b4500b", "#1b62b3", "#0a7748"), strict=True):
            axes.plot(row["bias"], row["seconds"], "o", color=colour, markersize=9)
            axes.annotate(f"{name}: {row['seconds']:.0f} s, bias {row['bias']:.2f}", (row["bias"], row["seconds"]),
                          (-10 if row["bias"] else 10, {"drain all": 7, "first in, first out": -7}.get(name, 0)), textcoords="offset points",
                          ha="right" if row["bias"] else "left", va="center", color=colour)  # fmt: skip
        axes.set_xlabel("bias to short responses (Kolmogorov-Smirnov distance)")
        axes.set_ylabel("seconds a rollout")
        axes.set_xlim(-0.01, None)
        axes.margins(y=0.25, x=0.1)
        axes.set_ylim(0, 1.25 * max(row["seconds"] for row in means.values()))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title("The price of a stopping rule", loc="left", fontsize=11)
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
