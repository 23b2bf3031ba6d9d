"""The run's results as data and as the table of [R 3.5, Table 5]: four checkpoints, all / by family / by difficulty.

    python -m openmimo.eval.results runs/tiny        prints the table

Reads a run's folder and writes nothing: `eval-<model>/samples.jsonl` of each checkpoint, each stage's
`manifest.json`, and the run's `recipe.json` or `recipe.toml` for its name and note.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from openmimo.errors import UserError
from openmimo.eval.metrics import apart, average, paired_difference, summarise

MODELS = {"base": "Base", "rl-zero": "RL-Zero", "sft": "SFT", "rl": "RL"}  # folder name -> name in Table 5
COMPARED = (("rl", "sft"), ("rl-zero", "base"))  # what reinforcement learning added, and to what
STAGE_ORDER = ("problems", "corpus", "tokens", "base", "sft", "curate", "rl-zero", "rl", "eval", "release")


def collect(run_folder: str | Path) -> dict[str, Any]:
    """results.json of a run: "models", and under each one's name a summary (openmimo.eval.metrics.summarise);
    "differences" {"rl - sft": {"difference", "ci95", "questions", "intervals_apart"}, ...}; "stages" {name: {seconds,
    peak_memory_mb}}; "total_seconds" and "peak_memory_mb" of the whole run, all processes together (from its cost.json,
    else the stages' sum and maximum); "recipe", "note", "seed", "commit"
    (a list where the stages disagree); "rung", the isolation that programs were judged in (see docs/judge.md; null where
    none was judged); "missing", a sentence for each thing a whole run has and this one lacks."""
    folder = Path(run_folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such run folder; `ls runs/` shows those that exist")
    paths = find_evaluations(folder)
    evaluations = {model: read_evaluation(path) for model, path in paths.items()}
    summaries = {model: _summary(paths[model], rows) for model, rows in evaluations.items()}
    alone = any((folder / name).is_file() for name in ("samples.jsonl", "log.jsonl"))
    missing = [
        f"{MODELS[m]}: not evaluated (no eval-{m}/samples.jsonl)" for m in MODELS if not alone and m not in paths
    ]
    differences = {}
    for one, other in COMPARED:
        if one in paths and other in paths:
            if _problems(evaluations[one]) != _problems(evaluations[other]):
                missing.append(f"{MODELS[one]} and {MODELS[other]} answered different problems: no difference")
                continue
            differences[f"{one} - {other}"] = {
                **paired_difference(evaluations[one], evaluations[other]),
                "intervals_apart": apart(summaries[one]["ci95"], summaries[other]["ci95"]),
            }
    return {
        "models": list(summaries),
        **summaries,
        "differences": differences,
        **run_facts(folder),
        "rung": _one_or_all([row["rung"] for rows in evaluations.values() for row in rows if row.get("rung")]),
        "missing": missing,
    }


def find_evaluations(folder: Path) -> dict[str, Path]:
    """{model: its samples.jsonl}, in the table's order; for the folder of a single evaluation just that one."""
    if (folder / "samples.jsonl").is_file():
        return {folder.resolve().name.removeprefix("eval-"): folder / "samples.jsonl"}
    paths = {model: folder / f"eval-{model}" / "samples.jsonl" for model in MODELS}
    return {model: path for model, path in paths.items() if path.is_file()}


def run_facts(folder: Path) -> dict[str, Any]:
    """What the manifests and the recipe say about a run: stages, times, memory, seed, commit, name, note."""
    manifests = read_manifests(folder)
    recipe = _read_recipe(folder)
    cost = _read_json(folder / "cost.json") if (folder / "cost.json").is_file() else {}
    stages = {
        name: {"seconds": manifest.get("seconds"), "peak_memory_mb": manifest.get("peak_memory_mb")}
        for name, manifest in manifests.items()
    }
    seconds = [stage["seconds"] for stage in stages.values() if stage["seconds"] is not None]
    memory = [stage["peak_memory_mb"] for stage in stages.values() if stage["peak_memory_mb"] is not None]
    return {
        "recipe": recipe.get("name", folder.resolve().name),
        "note": recipe.get("note", ""),
        "seed": _one_or_all([m["seed"] for m in manifests.values() if "seed" in m]),
        "commit": _one_or_all([m["commit"] for m in manifests.values() if "commit" in m]),
        "stages": stages,
        "total_seconds": cost.get("wall_seconds", sum(seconds)),
        "peak_memory_mb": cost.get("peak_memory_mb", max(memory, default=None)),
    }


def read_evaluation(path: Path) -> list[dict[str, Any]]:
    """The rows of samples.jsonl, one a problem. UserError names the row that lacks a field or comes twice."""
    rows, seen, remedy = [], set(), f"remove {path.parent} and evaluate again"
    for where, row in whole_rows(path):
        if lacking := [key for key in ("problem_id", "family", "difficulty", "samples") if key not in row]:
            raise UserError(f"{where}: no {lacking[0]!r}; {remedy}")
        if not isinstance(row["difficulty"], int):
            raise UserError(f"{where}: difficulty {row['difficulty']!r} is not a whole number; {remedy}")
        if any(not isinstance(sample, dict) or "passed" not in sample for sample in row["samples"]):
            raise UserError(f"{where}: a sample without 'passed'; {remedy}")
        if row["problem_id"] in seen:
            raise UserError(f"{where}: problem {row['problem_id']!r} comes twice; {remedy}")
        seen.add(row["problem_id"])
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no answers in it; {remedy}")
    return rows


def read_manifests(folder: Path) -> dict[str, dict[str, Any]]:
    """{stage folder's name: its manifest}, in the recipe's order; {the folder's own name: ...} for a stage alone."""
    paths = [folder / "manifest.json"] if (folder / "manifest.json").is_file() else folder.glob("*/manifest.json")
    manifests = {path.parent.resolve().name: _read_json(path) for path in paths}
    return {name: manifests[name] for name in sorted(manifests, key=_stage_place)}


def whole_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(`path:line`, row) of a JSONL file that may still be growing: an unfinished last line is not a row yet."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; remove {path.parent} and run that stage again") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if isinstance(row, dict):
            yield f"{path}:{number}", row
        elif number < len(lines):
            raise UserError(f"{path}:{number}: not a JSON object; remove {path.parent} and run that stage again")


def print_table(results: dict[str, Any], console: Console) -> None:
    """Table 5 of this run: avg@n in points, `value ± half the 95 % interval`; the best of a row in bold."""
    summaries = {model: results[model] for model in results["models"]}
    for line in results["missing"]:
        console.print(line, style="yellow", markup=False, soft_wrap=True)
    if not summaries:
        return
    first = next(iter(summaries.values()))
    table = Table(
        title=f"avg@{first['samples']} on {first['questions']} held-out problems, in points ± half the 95 % interval"
    )
    table.add_column("")
    models = columns(summaries)
    for model in models:
        table.add_column(title_of(model), justify="right")
    for title, cells in table_rows(summaries):
        scores = {model: average(summary) for model, summary in cells.items()}
        best = max(scores.values())
        texts = [_cell(cells.get(model), scores.get(model) == best) for model in models]
        table.add_row(escape(title), *texts, end_section=title == "all")
    table.add_section()
    last = [points(last_pass(summaries[model])) if model in summaries else "-" for model in models]
    table.add_row(f"pass@{first['samples']}", *last)
    console.print(table)
    for pair, difference in results["differences"].items():
        console.print(describe_difference(pair, difference), markup=False, soft_wrap=True)


def columns(summaries: dict[str, Any]) -> list[str]:
    """The table's columns: the recipe's four checkpoints, measured or not; or the models of another evaluation."""
    return list(MODELS) if summaries.keys() <= MODELS.keys() else list(summaries)


def title_of(model: str) -> str:
    """A model's name as Table 5 writes it."""
    return MODELS.get(model, model)


def table_rows(summaries: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """(row's title, {model: summary}) in the table's order: all, each family, each difficulty."""
    rows = [("all", summaries)]
    for part, title in (("by_family", "{}"), ("by_difficulty", "difficulty {}")):
        groups = {group for summary in summaries.values() for group in summary[part]}
        for group in sorted(groups, key=lambda g: (int(g) if g.lstrip("-").isdigit() else 0, g)):
            cells = {model: s[part][group] for model, s in summaries.items() if group in s[part]}
            rows.append((title.format(group), cells))
    return rows


def describe_difference(pair: str, difference: dict[str, Any]) -> str:
    """`RL - SFT: +12.3 points [+8.1, +16.5], the two intervals are apart`."""
    name = " - ".join(MODELS[model] for model in pair.split(" - "))
    low, high = (f"{100 * bound:+.1f}" for bound in difference["ci95"])
    relation = "are apart" if difference["intervals_apart"] else "overlap"
    return f"{name}: {100 * difference['difference']:+.1f} points [{low}, {high}], the two intervals {relation}"


def last_pass(summary: dict[str, Any]) -> float:
    """pass@n, with n the number of samples."""
    return summary["pass_at_k"][str(summary["samples"])]


def half_interval(summary: dict[str, Any]) -> float:
    """Half the width of a summary's 95 % interval."""
    low, high = summary["ci95"]
    return (high - low) / 2


def points(share: float) -> str:
    """0.374 -> `37.4`."""
    return f"{100 * share:.1f}"


def _cell(summary: dict[str, Any] | None, best: bool) -> str:
    if summary is None:
        return "-"
    text = f"{points(average(summary))} ± {points(half_interval(summary))}"
    return f"[bold]{text}[/bold]" if best else text


def _summary(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        return summarise(rows)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _problems(rows: list[dict[str, Any]]) -> set[str]:
    return {row["problem_id"] for row in rows}


def _stage_place(name: str) -> tuple[int, int, str]:
    """Sorts stage folders as the recipe runs them; evaluations as the table's columns; unknown ones last."""
    stage, _, model = name.partition("-") if name.startswith("eval-") else (name, "", "")
    place = STAGE_ORDER.index(stage) if stage in STAGE_ORDER else len(STAGE_ORDER)
    return place, list(MODELS).index(model) if model in MODELS else len(MODELS), name


def _one_or_all(values: Sequence[Any]) -> Any:
    distinct = list(dict.fromkeys(values))
    return distinct[0] if len(distinct) == 1 else distinct or None


def _read_recipe(folder: Path) -> dict[str, Any]:
    if (folder / "recipe.json").is_file():
        return _read_json(folder / "recipe.json")
    path = folder / "recipe.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML ({error}); run the recipe again") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError):
        data = None
    if not isinstance(data, dict):
        raise UserError(f"{path}: not a JSON object; remove {path.parent} and run that stage again")
    return data


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m openmimo.eval.results RUN_FOLDER")
    print_table(collect(sys.argv[1]), Console())
