"""`openmimo run`: every stage of a recipe, then results.json, report.html and the closing table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from openmimo.errors import UserError
from openmimo.judge.pool import Judge
from openmimo.recipe import Recipe, parse_recipe
from openmimo.rows import read_jsonl
from openmimo.runs import RunFolder, write_atomic
from openmimo.stages import STAGES


def run_recipe(recipe: Recipe, out: Path | None, console: Console) -> None:
    """Does what is not done yet in `out` (default runs/NAME) and shows the results."""
    from openmimo.execute import execute
    from openmimo.progress import Progress

    run = RunFolder(out or Path("runs") / recipe.name)
    handle = run.lock()
    recipe = judgeable(recipe)
    console.print(f"[bold]{recipe.name}[/]  {escape(recipe.note)}\nfolder {run.path}\n", highlight=False)
    write_atomic(run.path / "recipe.json", json.dumps(recipe.model_dump(mode="json"), indent=1) + "\n")
    with Progress(console) as progress:
        changed = execute(STAGES, recipe, run, progress)
    if changed or not is_reported(run):
        finish(run)
    handle.close()
    show(run, console)


def judgeable(recipe: Recipe) -> Recipe:
    """The recipe; without its code family, and with a note that says so, where this machine has no isolation in which
    programs could be judged."""
    families = recipe.problems.families
    if "code" not in families or len(families) == 1:
        return recipe
    try:
        Judge().close()
        return recipe
    except UserError:
        data = recipe.model_dump(mode="json", exclude_unset=True)
    del data["problems"]["families"]["code"]
    for stage in data["pretrain"]["stages"]:
        rest = {name: share for name, share in stage["mix"].items() if name != "code-exercises"}
        stage["mix"] = {name: share / sum(rest.values()) for name, share in rest.items()}
    data["note"] = f"{recipe.note} Without the code family: no isolation for programs here (docs/judge.md).".strip()
    return parse_recipe(data)


def is_reported(run: RunFolder) -> bool:
    """Whether the report is newer than every artefact; a kill may have hit between the last one and the report."""
    report = run.path / "report.html"
    made = [path.stat().st_mtime_ns for path in run.path.glob("*/manifest.json")]
    results = run.path / "results.json"
    return results.exists() and report.exists() and report.stat().st_mtime_ns >= max(made)


def finish(run: RunFolder) -> None:
    """results.json and report.html at the top of the run."""
    from openmimo.eval.results import collect
    from openmimo.report.page import write_report

    write_atomic(run.path / "results.json", json.dumps(collect(run.path), indent=1) + "\n")
    write_report(run.path)
    shutil.rmtree(run.work, ignore_errors=True)


def show(run: RunFolder, console: Console) -> None:
    """The results table, where things are, and a sample of the RL model's reasoning."""
    from openmimo.eval.results import print_table

    results = json.loads((run.path / "results.json").read_text())
    console.print()
    print_table(results, console)
    console.print(f"\ncheckpoints  {run.path}/release/{{mimo,qwen2}}/{{base,rl-zero,sft,rl}}", highlight=False)
    console.print(f"report       {run.path}/report.html", highlight=False)
    console.print(f"talk to it   openmimo chat {run.path}/rl", highlight=False)
    rows = [row for _, row in read_jsonl(run.path / "eval-rl" / "samples.jsonl")]
    row = max(rows, key=lambda r: (sum(s["passed"] for s in r["samples"]), r["kind"] == "math", r["difficulty"]))
    console.print(f"\n[bold]A sample of the RL model[/]\n{escape(row['question'])}", highlight=False)
    console.print(escape(row["samples"][0]["text"]), style="cyan", highlight=False)
