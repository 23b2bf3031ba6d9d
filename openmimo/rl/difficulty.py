"""How hard each test of a code problem is [R 3.3.1]: pass rates over many solutions, clustered into levels.

    rates = test_passrates(rollouts)                       # of several models: {problem: {test: pass rate}}
    table = DifficultyTable.build(problems, rollouts)      # levels, easiest first; table.save("difficulty.json")

Pass rates are exact fractions. The clustering is the optimal one, not k-means' luck, so the same verdicts give the same
levels on every machine; a table is data with a hash, and a run names the hash of the one it used.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

from openmimo.errors import UserError
from openmimo.rows import Problem, Rollout

MAX_LEVELS = 5
WITHIN_SHARE = Fraction(1, 10)  # of the total variance may remain within the levels
Rates = dict[str, Fraction | None]
Levels = list[list[str]]


def test_passrates(rollouts: Iterable[Rollout]) -> dict[str, dict[str, Fraction]]:
    """{problem id: {test id: share of solutions that pass it}}, pooled over all models. A verdict IE says nothing
    about the solution and is left out; a test that has no other verdict is absent."""
    tried: Counter[tuple[str, str]] = Counter()
    passed: Counter[tuple[str, str]] = Counter()
    for rollout in rollouts:
        for verdict in rollout.verdicts:
            if verdict.verdict != "IE":
                tried[rollout.problem_id, verdict.test_id] += 1
                passed[rollout.problem_id, verdict.test_id] += verdict.verdict == "AC"
    rates: dict[str, dict[str, Fraction]] = {}
    for (problem_id, test_id), count in tried.items():
        rates.setdefault(problem_id, {})[test_id] = Fraction(passed[problem_id, test_id], count)
    return rates


test_passrates.__test__ = False  # not a pytest function


def levels(passrates: Mapping[str, Fraction | None]) -> Levels:
    """Test ids by level, EASIEST FIRST; within a level in the order given.

    The distinct rates, weighted by how many tests share them, are cut into consecutive levels: the fewest (at most 5)
    whose variance within levels is at most a tenth of the total, cut where that variance is least. Tests that nobody
    passed are a level of their own, the hardest; tests of unknown rate (None) join the hardest level there is. So
    equal rates share a level, no level is empty, and a problem of which nothing is known has one level."""
    counts = Counter(rate for rate in passrates.values() if rate is not None)
    rates = sorted(counts, reverse=True)
    bounds = cut(rates, [counts[rate] for rate in rates]) if rates else []
    level_of = {rate: sum(number >= bound for bound in bounds) for number, rate in enumerate(rates)}
    found: Levels = [[] for _ in range(len(bounds) + 1)]
    for test, rate in passrates.items():
        found[level_of.get(rate, -1)].append(test)
    return found if passrates else []


def cut(rates: list[Fraction], counts: list[int]) -> list[int]:
    """Where each level but the first begins, in `rates` (distinct, falling). Rate 0, if there, is cut off alone. Of
    equally good cuts the one whose first differing boundary is earlier."""
    size = len(rates)
    lone = 1 if rates[-1] == 0 and size > 1 else 0
    free = size - lone
    cost = scatter(rates, counts)
    best: list[tuple[Fraction, list[int]]] = [(cost[0][j], []) for j in range(1, free + 1)]  # for the first j + 1 rates
    for number in range(1, min(MAX_LEVELS - lone, free) + 1):
        if number > 1:
            best = [
                min((best[i - 1][0] + cost[i][j], best[i - 1][1] + [i]) for i in range(number - 1, j))
                if j >= number
                else best[j - 1]
                for j in range(1, free + 1)
            ]
        within, bounds = best[free - 1]
        if within <= WITHIN_SHARE * cost[0][size]:
            break
    return bounds + [free] * lone


def scatter(rates: list[Fraction], counts: list[int]) -> list[list[Fraction]]:
    """[i][j]: the weighted sum of squared distances from their mean of rates i to j - 1."""
    zipped = list(zip(rates, counts, strict=True))
    weights = list(accumulate(counts, initial=0))
    sums = list(accumulate((rate * count for rate, count in zipped), initial=Fraction(0)))
    squares = list(accumulate((rate * rate * count for rate, count in zipped), initial=Fraction(0)))

    def between(i: int, j: int) -> Fraction:
        if i >= j:
            return Fraction(0)
        return squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / (weights[j] - weights[i])

    return [[between(i, j) for j in range(len(rates) + 1)] for i in range(len(rates))]


@dataclass(frozen=True)
class DifficultyTable:
    """The levels (easiest first) and pass rates of every problem's tests."""

    levels: dict[str, Levels]
    passrates: dict[str, Rates]

    @classmethod
    def build(cls, problems: Iterable[Problem], rollouts: Iterable[Rollout]) -> DifficultyTable:
        """The table for the problems that have tests; a test in no rollout is of unknown rate."""
        known = test_passrates(rollouts)
        rates = {p.id: {t.id: known.get(p.id, {}).get(t.id) for t in p.tests} for p in problems if p.tests}
        return cls({problem_id: levels(of_tests) for problem_id, of_tests in rates.items()}, rates)

    def of(self, problem: Problem) -> Levels:
        """The problem's levels; one level of all its tests where the table does not know it. A UserError when the
        table was made for other tests."""
        tests = [test.id for test in problem.tests]
        found = self.levels.get(problem.id, [tests])
        if sorted(test for level in found for test in level) != sorted(tests):
            raise UserError(f"problem {problem.id!r}: the difficulty table is for other tests; build it again")
        return found

    def data(self) -> dict:
        """The table as JSON data; a rate as text, `3/8`, or null."""
        rates = {p: {t: None if r is None else str(r) for t, r in of.items()} for p, of in self.passrates.items()}
        return {"levels": self.levels, "passrates": rates}

    @property
    def hash(self) -> str:
        """SHA-256 of the table's content, whatever the order of its problems."""
        return hashlib.sha256(json.dumps(self.data(), sort_keys=True).encode()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes the table as JSON, whole or not at all."""
        path = Path(path)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps({**self.data(), "hash": self.hash}, indent=1), encoding="utf-8")
        part.replace(path)

    @classmethod
    def load(cls, path: str | Path) -> DifficultyTable:
        """Reads a saved table; a UserError when it is not one or was changed since."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            rates = {
                problem: {test: None if rate is None else Fraction(rate) for test, rate in of_tests.items()}
                for problem, of_tests in data["passrates"].items()
            }
            table = cls(data["levels"], rates)
            intact = table.hash == data["hash"]
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; make it with DifficultyTable.save") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not a difficulty table ({error!r}); make it again") from None
        if not intact:
            raise UserError(f"{path}: the hash does not fit the content; the file was changed, make it again")
        return table
