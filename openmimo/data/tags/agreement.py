"""How far two sets of labels agree: accuracy, Cohen's kappa with intervals, confusion, calibration.

python -c "from openmimo.data.tags.agreement import kappa; print(kappa(['a', 'b', 'a'], ['a', 'b', 'b'], ['a', 'b']))"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def confusion(truth: Sequence[Any], found: Sequence[Any], values: Sequence[Any]) -> np.ndarray:
    """(values, values): how often each truth (row) was labelled as each value (column)."""
    place = {value: i for i, value in enumerate(values)}
    table = np.zeros((len(values), len(values)), np.int64)
    np.add.at(table, ([place[t] for t in truth], [place[f] for f in found]), 1)
    return table


def kappa(truth: Sequence[Any], found: Sequence[Any], values: Sequence[Any], quadratic: bool = False) -> float:
    """Cohen's kappa; with `quadratic` weights the distance of two values on the scale counts, squared (Cohen 1968).

    1: they agree. 0: as chance would. Where both use one and the same value throughout it is 1."""
    table = confusion(truth, found, values) / max(1, len(truth))
    places = np.arange(len(values))
    weight = (places[:, None] - places[None]) ** 2.0 if quadratic else (places[:, None] != places[None]).astype(float)
    chance = (weight * np.outer(table.sum(1), table.sum(0))).sum()
    return float(1 - (weight * table).sum() / chance) if chance else 1.0


def accuracy(truth: Sequence[Any], found: Sequence[Any]) -> float:
    """The share that is equal."""
    return sum(t == f for t, f in zip(truth, found, strict=True)) / max(1, len(truth))


def interval(
    measure: Callable[[np.ndarray], float], count: int, seed: int = 0, draws: int = 1000
) -> tuple[float, float]:
    """The 95 % bootstrap interval of a measure of row numbers: rows are drawn again with replacement."""
    rng = np.random.default_rng(seed)
    values = [measure(rng.integers(0, count, count)) for _ in range(draws)]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def calibration(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> tuple[float, list[dict[str, float]]]:
    """(expected calibration error, table of bins): mean confidence against the share that is right."""
    confidence, right = np.asarray(confidence, float), np.asarray(right, float)
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    table, error = [], 0.0
    for b in range(bins):
        mine = at == b
        if mine.any():
            row = {"from": b / bins, "rows": int(mine.sum()), "confidence": float(confidence[mine].mean()), "right": float(right[mine].mean())}  # fmt: skip
            table.append(row)
            error += mine.mean() * abs(row["confidence"] - row["right"])
    return float(error), table


def confusion_lines(table: np.ndarray, values: Sequence[Any]) -> list[str]:
    """The table as text, truth in rows; values that never occur are left out."""
    used = [i for i in range(len(values)) if table[i].any() or table[:, i].any()]
    wide = max([9, *(len(str(values[i])) + 1 for i in used)])
    lines = ["".join(f"{str(v):>{wide}}" for v in ("", *(values[i] for i in used)))]
    return lines + [f"{str(values[i]):>{wide}}" + "".join(f"{table[i, j]:>{wide}}" for j in used) for i in used]
