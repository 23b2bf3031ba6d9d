"""Does grading by test difficulty teach more? The four rewards on one model, data, seeds and budget [R 3.3.1, Figure 5].

    python bench/difficulty_reward.py                      # about 25 minutes on two cores; runs/difficulty is kept
    python bench/difficulty_reward.py --steps 4 --seeds 0  # does it run? (its scores mean nothing)

Pre-trains and fine-tunes once (the stages of recipes/tiny.toml, kept in --run), then trains Base by GRPO with each
reward on the recipe's code problems, whose test levels come from the Base and the SFT model's rollouts (stage `curate`).
Base, because the SFT model already solves nearly all of them. Prints the share of groups with a gradient, the learning
curve (share of training responses that pass all tests) and the score on held-out code problems with 95 % intervals;
--picture writes the curves as SVG. The last line is JSON: a row a reward and seed, and each reward's difference to
all_or_nothing, paired by problem over all seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from openmimo.eval.metrics import paired_difference, summarise
from openmimo.recipe import load_recipe
from openmimo.rl.reward import KINDS
from openmimo.rows import Problem, read_jsonl, read_rows
from openmimo.runs import RunFolder

STAGES = ("problems", "corpus", "tokens", "base", "sft", "curate")
SAMPLES = 16  # held-out responses a problem
WINDOW = 10  # steps that a point of the learning curve averages


def prepare(recipe, run: Path, console: Console) -> None:
    """The stages that all rewards share, those that are not done yet."""
    from openmimo.execute import execute
    from openmimo.progress import Progress
    from openmimo.stages import STAGES as ALL

    folder = RunFolder(run)
    handle = folder.lock()
    with Progress(console) as progress:
        execute([stage for stage in ALL if stage.name in STAGES], recipe, folder, progress)
    handle.close()


def code(path: Path) -> list[Problem]:
    return [problem for problem in read_rows(path, Problem) if problem.kind == "code"]


def one(kind: str, seed: int, steps: int, run: Path, recipe_path: str) -> dict:
    """Trains Base with one reward and evaluates it: the row for the table, the curve and the samples."""
    import torch

    from openmimo.eval.stage import evaluate
    from openmimo.rl.difficulty import DifficultyTable
    from openmimo.rl.stage import train
    from openmimo.train.checkpoint import Checkpointer
    from openmimo.train.log import Log

    torch.set_num_threads(1)
    recipe, table = load_recipe(recipe_path), DifficultyTable.load(run / "curate" / "difficulty.json")
    problems = [p for p in code(run / "problems" / "train.jsonl") if p.id in table.levels]
    began = time.perf_counter()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rl = recipe.rl.model_copy(update={"reward": kind, "steps": steps})
        log = Log(folder)
        train(
            run / "base", problems, rl, steps, seed, recipe.engine.slots, folder, Checkpointer(folder, 1e9), log, table
        )
        log.close()
        curve = [row for _, row in read_jsonl(folder / "log.jsonl")]
        settings = recipe.eval.model_copy(update={"samples": SAMPLES})
        held_out = code(run / "problems" / "test.jsonl")
        rows = evaluate(folder, held_out, settings, seed, recipe.engine.slots, folder, Log(None))
    summary = summarise(rows)
    passes = [row["pass_rate"] for row in curve]
    return {
        "reward": kind, "seed": seed, "problems": len(problems), "held_out_problems": len(held_out),
        "kept": sum(row["kept"] for row in curve) / len(curve),
        "groups": sum(row["groups"] for row in curve),
        "pass_rate_first": mean(passes[:WINDOW]), "pass_rate_mean": mean(passes), "pass_rate_last": mean(passes[-WINDOW:]),
        "held_out": summary[f"avg{SAMPLES}"], "held_out_ci95": summary["ci95"],
        "seconds": round(time.perf_counter() - began, 1), "curve": passes, "kept_curve": [row["kept"] for row in curve],
        "samples": [{**row, "problem_id": f"{row['problem_id']}/{seed}"} for row in rows],
    }  # fmt: skip


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def print_table(rows: list[dict], console: Console) -> None:
    table = Table("reward", "seed", "groups with a gradient", "started", f"pass rate, first {WINDOW}", "mean", f"last {WINDOW}", "held out")  # fmt: skip
    for row in rows:
        low, high = row["held_out_ci95"]
        table.add_row(
            row["reward"], str(row["seed"]), f"{row['kept']:.1%}", str(row["groups"]), f"{row['pass_rate_first']:.3f}",
            f"{row['pass_rate_mean']:.3f}", f"{row['pass_rate_last']:.3f}", f"{row['held_out']:.3f} [{low:.3f}, {high:.3f}]",
        )  # fmt: skip
    console.print(table)


def differences(rows: list[dict]) -> dict[str, dict]:
    """Held-out score of each reward minus that of all_or_nothing: questions of all seeds, paired."""
    samples = {kind: [s for row in rows if row["reward"] == kind for s in row["samples"]] for kind in KINDS}
    return {
        kind: paired_difference(samples[kind], samples["all_or_nothing"]) for kind in KINDS if kind != "all_or_nothing"
    }


def draw(rows: list[dict], path: Path) -> None:
    """Learning curves (means over seeds, smoothed) and the share of groups with a gradient."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, key, title in (
        (left, "curve", "responses that pass all tests"),
        (right, "kept_curve", "groups with a gradient"),
    ):
        for kind in KINDS:
            curves = [row[key] for row in rows if row["reward"] == kind]
            means = [mean([curve[step] for curve in curves]) for step in range(len(curves[0]))]
            smooth = [mean(means[max(0, step - WINDOW + 1) : step + 1]) for step in range(len(means))]
            axes.plot(range(1, len(smooth) + 1), smooth, label=kind.replace("_", " "))
        axes.set(xlabel="RL step", title=title, ylim=(0, 1))
    left.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="recipes/tiny.toml")
    parser.add_argument("--run", type=Path, default=Path("runs/difficulty"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--picture", type=Path, help="write the curves here, as SVG")
    args = parser.parse_args()
    console = Console()
    recipe = load_recipe(args.recipe)
    prepare(recipe, args.run, console)
    rows = []
    with ProcessPoolExecutor(recipe.workers, get_context("spawn")) as pool:
        asked = [(kind, seed, args.steps, args.run, args.recipe) for seed in args.seeds for kind in KINDS]
        for row in pool.map(one, *zip(*asked, strict=True)):
            rows.append(row)
            console.print(f"{row['reward']}, seed {row['seed']}: {row['seconds']} s, held out {row['held_out']:.3f}")
    first = rows[0]
    console.print(
        f"{platform.machine()}, {recipe.workers} processes of one thread; {args.recipe}, {args.steps} steps of {recipe.rl.batch} x "
        f"{recipe.rl.group} from Base, {first['problems']} training and {first['held_out_problems']} held-out problems, {SAMPLES} "
        "samples each"
    )  # fmt: skip
    print_table(rows, console)
    if args.picture:
        draw(rows, args.picture)
    found = differences(rows)
    for kind, difference in found.items():
        low, high = difference["ci95"]
        console.print(f"{kind} - all_or_nothing: {difference['difference']:+.3f} [{low:+.3f}, {high:+.3f}]")
    plain = [
        {key: value for key, value in row.items() if key not in ("samples", "curve", "kept_curve")} for row in rows
    ]
    print(json.dumps({"rows": plain, "minus_all_or_nothing": found}))


if __name__ == "__main__":
    main()
