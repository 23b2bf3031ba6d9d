"""What the report reads: a run's folder (or one stage's alone), whole or half done, as plain arrays and dicts.

    python -c "from openmimo.report.logs import read_run; print(read_run('runs/tiny').missing)"

`<stage>/log.jsonl` has a row a step (a step logged again after a resume replaces the earlier row; a key may be
absent), `<stage>/manifest.json` its cost, `eval-<model>/samples.jsonl` the answers, `*/counts.json` and `*/report.json`
free-form counts. A stage under way logs in `.work/<stage>`, and that log is then the one to show.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openmimo.errors import UserError
from openmimo.eval.results import collect, find_evaluations, read_evaluation, read_manifests, whole_rows

STAGES = {"base": "Pre-training", "sft": "SFT", "rl-zero": "RL-Zero", "rl": "RL"}  # folder -> what happens in it


@dataclass(frozen=True)
class Log:
    """One stage's log: rows in the order of their steps, each step once."""

    stage: str
    rows: list[dict[str, Any]]

    def column(self, key: str, along: str = "step") -> tuple[np.ndarray, np.ndarray]:
        """(x, y), both float64 (N,): `key` against `along` over the N rows that hold a number for both."""
        pairs = [(number(row.get(along)), number(row.get(key))) for row in self.rows]
        pairs = [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]
        x, y = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        return x, y

    def ends(self, key: str) -> tuple[float, float] | None:
        """Means over the first and the last tenth of the steps, what the captions quote; None if never logged."""
        _, y = self.column(key)
        tenth = math.ceil(len(y) / 10)
        return (float(y[:tenth].mean()), float(y[-tenth:].mean())) if len(y) else None

    @property
    def progress(self) -> tuple[float, float]:
        """(last step, total steps); nan for what the log does not say."""
        return number(self.rows[-1].get("step")), number(self.rows[-1].get("total"))


@dataclass(frozen=True)
class Run:
    """All that the page shows. `alone`: the folder of one stage, where nothing else is expected."""

    folder: Path
    alone: bool
    logs: dict[str, Log]
    evaluations: dict[str, list[dict[str, Any]]]
    results: dict[str, Any]
    counts: dict[str, dict[str, Any]]
    missing: list[str]
    ledger: dict[str, Any] | None = None


def read_run(folder: str | Path) -> Run:
    """Reads a run's folder or a single stage's. UserError where there is nothing to report on."""
    folder = Path(folder)
    results = collect(folder)
    alone = any((folder / name).is_file() for name in ("log.jsonl", "samples.jsonl"))
    logs = {stage: read_log(stage, path) for stage, path in _log_paths(folder, alone).items()}
    logs = {stage: log for stage, log in logs.items() if log.rows}
    evaluations = {model: read_evaluation(path) for model, path in find_evaluations(folder).items()}
    if not logs and not evaluations and not results["stages"]:
        raise UserError(f"{folder}: no log, answers or manifest in it; give the folder of a run, as in runs/tiny")
    missing = [] if alone else [f"{STAGES[stage]}: no log ({stage}/log.jsonl)" for stage in STAGES if stage not in logs]
    for stage, log in logs.items():
        step, total = log.progress
        if step < total:
            missing.append(f"{STAGES[stage]}: at step {step:,.0f} of {total:,.0f}")
    return Run(
        folder,
        alone,
        logs,
        evaluations,
        results,
        _read_counts(folder),
        missing + results["missing"],
        _read_ledger(folder),
    )


def read_log(stage: str, path: Path) -> Log:
    """A log with each step's last row only, sorted by step; rows without a step are not steps and are left out."""
    rows = {row["step"]: row for _, row in whole_rows(path) if math.isfinite(number(row.get("step")))}
    return Log(stage, [rows[step] for step in sorted(rows)])


def number(value: Any) -> float:
    """A logged value as a float; nan for what is absent or not a number."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _log_paths(folder: Path, alone: bool) -> dict[str, Path]:
    """{stage: its log.jsonl}, of the logs that are there."""
    if alone:
        stage = _stage_alone(folder)
        return {stage: folder / "log.jsonl"} if stage else {}
    paths = {}
    for stage in STAGES:
        for path in (folder / stage / "log.jsonl", folder / ".work" / stage / "log.jsonl"):
            if path.is_file():
                paths[stage] = path
    return paths


def _stage_alone(folder: Path) -> str | None:
    """Which stage of training a folder that stands alone holds: by its manifest, its name, or else what it logged.
    None for an evaluation, whose log only counts problems."""
    manifest = next(iter(read_manifests(folder).values()), {})
    rows = whole_rows(folder / "log.jsonl") if (folder / "log.jsonl").is_file() else iter(())
    first = next((row for _, row in rows), {})
    for name in (manifest.get("stage"), folder.resolve().name, first.get("stage")):
        if name in STAGES:
            return name
    signs = {"pass_rate": "rl", "tokens": "base", "loss": "sft"}
    return next((stage for key, stage in signs.items() if key in first), None)


def _read_ledger(folder: Path) -> dict[str, Any] | None:
    """Pre-training's ledger.json, of a run or of the stage alone."""
    for path in (folder / "base" / "ledger.json", folder / "ledger.json"):
        if path.is_file():
            try:
                ledger = json.loads(path.read_text(encoding="utf-8"))
            except (json.JSONDecodeError, UnicodeDecodeError):
                raise UserError(f"{path}: not JSON; remove {path.parent} and run that stage again") from None
            return ledger if {"stages", "sources"} <= ledger.keys() else None
    return None


def _read_counts(folder: Path) -> dict[str, dict[str, Any]]:
    """{stage's folder: its free-form counts}."""
    counts = {}
    for path in sorted([*folder.glob("[!.]*/counts.json"), *folder.glob("[!.]*/report.json")]):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise UserError(f"{path}: not JSON; remove {path.parent} and run that stage again") from None
        counts.setdefault(path.parent.name, {}).update(data if isinstance(data, dict) else {path.stem: data})
    return counts
