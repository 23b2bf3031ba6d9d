"""The four rewards over all verdict vectors of small problems, exactly."""

import itertools
import random
from fractions import Fraction as F

import pytest

from openmimo.errors import UserError
from openmimo.rl.difficulty import levels
from openmimo.rl.reward import KINDS, reward
from openmimo.rows import TestVerdict

PARTITIONS = [["a"], ["ab"], ["a", "b"], ["abc", "d"], ["a", "bc", "de"], ["a", "b", "c", "d"], ["ab", "c", "def"]]


def vector(passed, names, other="WA"):
    return [TestVerdict(name, "AC" if name in passed else other) for name in names]


def every_case():
    for words in PARTITIONS:
        of_levels, names = [list(word) for word in words], "".join(words)
        for size in range(len(names) + 1):
            for passed in itertools.combinations(names, size):
                yield of_levels, names, set(passed)


def test_rewards_worked_by_hand():
    of_levels = [["a"], ["b", "c"], ["d"]]
    found = vector("abd", "abcd")
    assert reward("strict", found, of_levels) == F(1, 3)
    assert reward("soft", found, of_levels) == F(1, 3) + F(1, 6) + F(1, 3)
    assert reward("linear", found, of_levels) == F(3, 4)
    assert reward("all_or_nothing", found, of_levels) == 0
    assert reward("strict", vector("bcd", "abcd"), of_levels) == 0
    assert reward("soft", found, of_levels, [F(1, 2), F(1, 4), F(1, 4)]) == F(1, 2) + F(1, 8) + F(1, 4)


@pytest.mark.parametrize("kind", KINDS)
def test_reward_is_one_only_for_all_and_never_falls(kind):
    for of_levels, names, passed in every_case():
        points = reward(kind, vector(passed, names), of_levels)
        assert isinstance(points, F) and 0 <= points <= 1
        assert (points == 1) == (passed == set(names))
        assert points == reward(kind, vector(passed, names, other="TLE")[::-1], of_levels)
        for name in set(names) - passed:
            assert points <= reward(kind, vector(passed | {name}, names), of_levels)


def test_strict_is_at_most_soft():
    for of_levels, names, passed in every_case():
        found = vector(passed, names)
        points = {kind: reward(kind, found, of_levels) for kind in KINDS}
        assert points["all_or_nothing"] <= points["strict"] <= points["soft"]


@pytest.mark.parametrize("kind", KINDS)
def test_our_fault_has_no_reward(kind):
    for of_levels, names, passed in every_case():
        found = vector(passed, names)
        found[-1] = TestVerdict(found[-1].test_id, "IE")
        assert reward(kind, found, of_levels) is None


@pytest.mark.parametrize(
    ("kind", "names", "of_levels", "scores"),
    [
        ("other", "a", [["a"]], None),
        ("soft", "", [], None),
        ("soft", "a", [["a"], []], None),
        ("soft", "a", [["a", "b"]], None),
        ("soft", "ab", [["a"]], None),
        ("soft", "aa", [["a"]], None),
        ("soft", "ab", [["a"], ["b"]], [F(1), F(0)]),
        ("soft", "ab", [["a"], ["b"]], [F(1, 2), F(1, 3)]),
        ("soft", "ab", [["a"], ["b"]], [F(1)]),
    ],
)
def test_bad_arguments_are_user_errors(kind, names, of_levels, scores):
    with pytest.raises(UserError):
        reward(kind, vector(names, names), of_levels, scores)


def random_tables(count):
    """Problems of 1 to 8 tests with random pass rates: ties, never-passed and unknown tests among them."""
    draw = random.Random(0)
    for number in range(count):
        names = "abcdefgh"[: draw.randint(1, 8)]
        rates = {name: draw.choice([None, F(0), F(1), F(draw.randint(0, 6), 6), F(1, 2)]) for name in names}
        yield number, names, rates, levels(rates)


def test_the_laws_hold_for_levels_of_random_pass_rates():
    """Every vector of every problem, in exact arithmetic: in [0, 1], 1 only for all, never falling, strict <= soft,
    the same in any order of tests; no empty level, ties together, unknown tests in the hardest level."""
    draw = random.Random(1)
    for number, names, rates, of_levels in random_tables(60):
        assert all(of_levels) and sorted(itertools.chain(*of_levels)) == sorted(names)
        where = {test: level for level, tests in enumerate(of_levels) for test in tests}
        assert all(where[a] == where[b] for a in names for b in names if rates[a] == rates[b])
        assert all(where[test] == len(of_levels) - 1 for test in names if rates[test] is None)
        weights = [F(draw.randint(1, 5)) for _ in of_levels]
        scores = None if number % 2 else [weight / sum(weights) for weight in weights]
        points = {}
        for bits in itertools.product((False, True), repeat=len(names)):
            passed = {name for name, bit in zip(names, bits, strict=True) if bit}
            for kind in KINDS:
                points[kind, frozenset(passed)] = reward(kind, vector(passed, names), of_levels, scores)
            shuffled = [[*level][::-1] for level in of_levels]
            assert (
                reward("strict", vector(passed, names[::-1]), shuffled, scores) == points["strict", frozenset(passed)]
            )
            assert reward("soft", vector(passed, names[::-1]), shuffled, scores) == points["soft", frozenset(passed)]
        for (kind, passed), value in points.items():
            assert isinstance(value, F) and 0 <= value <= 1 and (value == 1) == (passed == set(names))
            assert all(value <= points[kind, passed | {name}] for name in names)
            assert points["all_or_nothing", passed] <= points["strict", passed] <= points["soft", passed]
