"""300 steps of RL with and without the easy pool, killed and resumed on the way: stability, rollouts a batch, curves.

    python bench/long_run.py --from runs/tiny/sft --problems runs/tiny/curate/problems.jsonl

`openmimo rl` twice side by side, alpha 0 and 0.1, each killed with -9 at times by chance and started again. Every step
that is repeated after a kill must have the batch, the pool and the reward that the killed process had logged. Draws
docs/easy_pool.svg. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import numpy as np

ROOT = Path(__file__).parents[1]
SAME = ("batch_hash", "pool", "reward", "groups", "loss")  # of a step that is repeated
PANELS = {"pass_rate": "pass rate", "groups": "groups a batch", "pool": "problems in the pool", "entropy": "entropy"}


def rows_of(folder: Path) -> dict[int, dict]:
    """A log's whole rows by step."""
    path = folder / "log.jsonl"
    text = path.read_text() if path.is_file() else ""
    rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return {row["step"]: row for row in rows}


class Run:
    """One `openmimo rl`, started again after each kill."""

    def __init__(self, alpha: float, args: argparse.Namespace, folder: Path):
        self.alpha, self.out = alpha, folder / f"alpha{alpha}"
        settings = {"steps": args.steps, "batch": args.batch, "minibatch": args.batch, "group": args.group,
                    "easy_alpha": alpha, "max_tokens": 96, "lr": args.lr, "optim.name": "muon",
                    "optim.weight_decay": 0.0, "micro_batch": 64}  # fmt: skip
        sets = [part for key, value in settings.items() for part in ("--set", f"rl.{key}={json.dumps(value)}")]
        self.command = [sys.executable, "-m", "openmimo.cli", "rl", "--from", str(args.source), "--problems",
                        str(args.problems), "--out", str(self.out), *sets]  # fmt: skip
        self.random, self.kills, self.left = random.Random(alpha), [], args.kills
        self.seen: dict[int, dict] = {}
        self.repeated = self.wrong = 0
        self.start()

    def start(self) -> None:
        self.until = time.monotonic() + self.random.uniform(45, 90) if self.left else float("inf")
        self.error = (self.out.parent / f"{self.out.name}.txt").open("w")
        self.process = subprocess.Popen(self.command, stdout=self.error, stderr=subprocess.STDOUT, cwd=ROOT)

    def look(self) -> bool:
        """Whether it goes on; kills it when its time has come."""
        part = self.out.with_name(self.out.name + ".part")
        for step, row in rows_of(part if part.exists() else self.out).items():
            if step in self.seen and row["time"] != self.seen[step]["time"]:
                self.repeated += 1
                self.wrong += any(row.get(key) != self.seen[step].get(key) for key in SAME)
            self.seen[step] = row
        if self.process.poll() is not None:
            if self.process.returncode:
                raise SystemExit(f"{self.command}: {Path(self.error.name).read_text()[-2000:]}")
            return False
        if time.monotonic() > self.until:
            self.process.kill()
            self.process.wait()
            self.left -= 1
            self.kills.append(max(self.seen, default=0))
            self.start()
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, required=True)
    parser.add_argument("--problems", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--kills", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = [Run(alpha, args, Path(temporary)) for alpha in (0.0, 0.1)]
        going = list(runs)
        while going:
            time.sleep(0.5)
            going = [run for run in going if run.look()]
    found = {}
    for run in runs:
        rows = [run.seen[step] for step in sorted(run.seen)]
        column = {key: np.array([row[key] for row in rows if key in row]) for key in (*PANELS, "reward", "grad_norm")}
        last = slice(-len(rows) // 10, None)
        found[str(run.alpha)] = {
            "steps": len(rows), "killed_after": run.kills, "repeated": run.repeated, "repeated_otherwise": run.wrong,
            "groups_a_batch": round(float(column["groups"].mean()), 2),
            "pass_rate_last_tenth": round(float(column["pass_rate"][last].mean()), 4),
            "pass_rate_jumps": round(float(np.abs(np.diff(column["pass_rate"])).mean()), 4),
            "grad_norm_max": round(float(column["grad_norm"].max()), 3),
            "entropy_last_tenth": round(float(column["entropy"][last].mean()), 4),
            "pool": int(column["pool"][-1]),
        }  # fmt: skip
        print(f"alpha {run.alpha}:", found[str(run.alpha)])
    draw(runs, ROOT / "docs" / "easy_pool.svg")
    print(json.dumps({"alpha": found, "consistent": not any(run.wrong for run in runs)}))


def draw(runs: list[Run], path: Path) -> None:
    """Running means over 15 steps."""
    with matplotlib.rc_context({"svg.hashsalt": "openmimo", "svg.fonttype": "none", "font.size": 9}):
        figure, axes = plt.subplots(1, len(PANELS), figsize=(10, 2.5), layout="constrained")
        for axis, (key, title) in zip(axes, PANELS.items(), strict=True):
            for run, colour in zip(runs, ("#b4500b", "#0a7748"), strict=True):
                pairs = [(step, row[key]) for step, row in sorted(run.seen.items()) if key in row]
                x, y = map(np.array, zip(*pairs, strict=True))
                window = np.ones(min(15, len(y)))
                mean = np.convolve(y, window, "same") / np.convolve(np.ones(len(y)), window, "same")
                axis.plot(x, mean, color=colour, label=f"alpha = {run.alpha:g}")
            axis.set_title(title, loc="left", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].legend(frameon=False)
        figure.supxlabel("step", fontsize=9)
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
