"""Scores of sampled answers: avg@n, its 95 % interval, unbiased pass@k, paired differences [R 3.5]. Pure functions.

    python -c "from openmimo.eval.metrics import *; print(avg_at([[1, 0], [1, 1]]), ci95([[1, 0], [1, 1]]))"

One question is asked n times, so its answers are not independent: every interval here is clustered by question. With
m_q the share of right answers to question q, of Q questions,

    avg@n = M = sum_q m_q / Q        SE = sqrt( sum_q (m_q - M)^2 / (Q - 1) / Q )        ci95 = M -+ 1.96 SE

clipped to [0, 1]: the normal approximation from the standard error over the questions' means. It says nothing with one
question (then it is [0, 1]) and has no width where all questions score the same, so read it with care below ~30.

The rows are those of an evaluation: {"problem_id", "family", "difficulty", "samples": [{"passed", ...}, ...], ...}.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from openmimo.errors import UserError

Z95 = 1.959963984540054  # the 97.5 % point of the standard normal distribution


def avg_at(samples: Sequence[Sequence[bool]]) -> float:
    """avg@n of Q questions, in [0, 1]: samples[q] holds the verdicts of question q. Each question weighs the same."""
    means = _question_means(samples)
    return sum(means) / len(means)


def ci95(samples: Sequence[Sequence[bool]]) -> list[float]:
    """[low, high] of avg@n, clustered by question (the module's formula), within [0, 1]."""
    return _interval(_question_means(samples), low=0.0, high=1.0)


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that at least one of k answers drawn without replacement from n, of which c are right, is right.

    Unbiased for pass@k (Chen et al. 2021, equation 1): 1 - C(n - c, k) / C(n, k), from whole numbers, rounded once.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise UserError(f"pass@k: n={n}, c={c}, k={k}; 0 <= c <= n and 1 <= k <= n are needed")
    return (math.comb(n, k) - math.comb(n - c, k)) / math.comb(n, k)


def pass_at_k_curve(samples: Sequence[Sequence[bool]]) -> dict[str, float]:
    """{"1": pass@1, ..., "n": pass@n}, each the mean over questions; pass@1 is avg@n. Keys are text, as in JSON."""
    n = _samples_each(samples)
    right = [sum(map(bool, verdicts)) for verdicts in samples]
    return {str(k): sum(pass_at_k(n, c, k) for c in right) / len(right) for k in range(1, n + 1)}


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores of one model: {"avg8", "ci95": [low, high], "pass_at_k": {"1": ...}, "questions", "samples", "by_family":
    {name: the same}, "by_difficulty": {"1": the same}}. With n samples a question the first key is f"avg{n}", and n
    is kept in "samples"."""
    return {
        **_scores(rows),
        "by_family": _by(rows, lambda row: str(row["family"])),
        "by_difficulty": _by(rows, lambda row: row["difficulty"]),
    }


def paired_difference(rows: Sequence[dict[str, Any]], other: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """avg@n of `rows` minus that of `other` on the same questions: {"difference", "ci95", "questions"}, in [-1, 1].

    The interval is that of the mean of the questions' differences d_q = m_q - m'_q (the module's formula with d_q for
    m_q), so what makes a question hard for both models cancels. UserError where the questions are not the same.
    """
    left, right = _means_by_problem(rows), _means_by_problem(other)
    if left.keys() != right.keys():
        odd = min(left.keys() ^ right.keys())
        raise UserError(f"problem {odd!r} was put to one of two compared models; evaluate both on the same problems")
    differences = [left[problem] - right[problem] for problem in left]
    if not differences:
        raise UserError("no question to compare two models on; evaluate both on at least one problem")
    return {
        "difference": sum(differences) / len(differences),
        "ci95": _interval(differences, low=-1.0, high=1.0),
        "questions": len(differences),
    }


def apart(one: Sequence[float], two: Sequence[float]) -> bool:
    """Whether two intervals [low, high] share no point."""
    return one[1] < two[0] or two[1] < one[0]


def verdicts(rows: Sequence[dict[str, Any]]) -> list[list[bool]]:
    """The right/wrong of every sample, one list a row."""
    return [[bool(sample["passed"]) for sample in row["samples"]] for row in rows]


def average(summary: dict[str, Any]) -> float:
    """The avg@n of a summary, whatever n is."""
    return summary[f"avg{summary['samples']}"]


def _scores(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    samples = verdicts(rows)
    n = _samples_each(samples)
    return {
        f"avg{n}": avg_at(samples),
        "ci95": ci95(samples),
        "pass_at_k": pass_at_k_curve(samples),
        "questions": len(samples),
        "samples": n,
    }


def _by(rows: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return {str(name): _scores(groups[name]) for name in sorted(groups)}


def _question_means(samples: Sequence[Sequence[bool]]) -> list[float]:
    n = _samples_each(samples)
    return [sum(map(bool, verdicts)) / n for verdicts in samples]


def _means_by_problem(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    return dict(zip((row["problem_id"] for row in rows), _question_means(verdicts(rows)), strict=True))


def _samples_each(samples: Sequence[Sequence[bool]]) -> int:
    """The number of samples that every question has. avg@n and pass@k mean nothing when it differs."""
    counts = {len(verdicts) for verdicts in samples}
    if not counts or 0 in counts:
        raise UserError("no sampled answers to score; evaluate at least one problem with at least one sample")
    if len(counts) > 1:
        few, many = min(counts), max(counts)
        raise UserError(f"some questions have {few} samples and some {many}; evaluate all with the same number")
    return counts.pop()


def _interval(means: list[float], low: float, high: float) -> list[float]:
    count = len(means)
    if count == 1:
        return [low, high]
    mean = sum(means) / count
    error = math.sqrt(sum((m - mean) ** 2 for m in means) / (count - 1) / count)
    return [max(low, mean - Z95 * error), min(high, mean + Z95 * error)]
