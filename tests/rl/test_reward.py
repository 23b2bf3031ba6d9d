"""The four rewards over all verdict vectors of small problems, exactly."""

import itertools
from fractions import Fraction as F

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@st.composite
def tables(draw, most):
    """(pass rate of each test, levels, scores or None): ties, never-passed and unknown tests among them."""
    rate = st.one_of(st.none(), st.sampled_from([F(0), F(1, 2), F(1)]), st.fractions(0, 1, max_denominator=9))
    rates = dict(zip("abcdefgh", draw(st.lists(rate, min_size=1, max_size=most)), strict=False))
    of_levels = levels(rates)
    weights = draw(st.none() | st.lists(st.integers(1, 9), min_size=len(of_levels), max_size=len(of_levels)))
    return rates, of_levels, weights and [F(weight, sum(weights)) for weight in weights]


def check_levels(rates, of_levels):
    """No empty level, ties together, easier levels of higher rates, unknown tests in the hardest level."""
    assert all(of_levels) and sorted(itertools.chain(*of_levels)) == sorted(rates)
    where = {test: level for level, tests in enumerate(of_levels) for test in tests}
    for a, b in itertools.combinations(rates, 2):
        if rates[a] == rates[b]:
            assert where[a] == where[b]
        elif None not in (rates[a], rates[b]):
            assert where[a] == where[b] or (where[a] < where[b]) == (rates[a] > rates[b])
    assert all(where[test] == len(of_levels) - 1 for test in rates if rates[test] is None)


def check_rewards(names, of_levels, scores, shuffle):
    """Every complete vector of one problem: in [0, 1], 1 only for all, never falling, strict <= soft, the same in any
    order of tests; nothing for a vector with IE."""
    points = {}
    for bits in itertools.product((False, True), repeat=len(names)):
        passed = frozenset(name for name, bit in zip(names, bits, strict=True) if bit)
        other = {kind: reward(kind, vector(passed, shuffle(names), "RE"), [shuffle(level) for level in of_levels], scores)
                 for kind in KINDS}  # fmt: skip
        for kind in KINDS:
            points[kind, passed] = reward(kind, vector(passed, names), of_levels, scores)
            assert other[kind] == points[kind, passed]
        ours = [TestVerdict(v.test_id, "IE" if v.test_id == names[len(passed) % len(names)] else v.verdict)
                for v in vector(passed, names)]  # fmt: skip
        assert all(reward(kind, ours, of_levels, scores) is None for kind in KINDS)
    for (kind, passed), value in points.items():
        assert isinstance(value, F) and 0 <= value <= 1 and (value == 1) == (passed == set(names))
        assert all(value <= points[kind, passed | {name}] for name in names)
        assert points["all_or_nothing", passed] <= points["strict", passed] <= points["soft", passed]


def laws_of(examples, most):
    @settings(max_examples=examples, derandomize=True, deadline=None, database=None)
    @given(tables(most), st.randoms(use_true_random=False))
    def laws(table, random):
        rates, of_levels, scores = table
        check_levels(rates, of_levels)
        check_rewards("".join(rates), of_levels, scores, lambda some: random.sample(list(some), len(some)))

    return laws


def test_the_laws_hold_for_random_tables():
    laws_of(40, most=4)()


@pytest.mark.proof
def test_the_laws_hold_for_many_random_tables():
    laws_of(300, most=7)()


@pytest.mark.parametrize("broken", ["strict", "soft"])
def test_the_laws_see_a_broken_reward(broken, monkeypatch):
    """Control: a reward whose first level is worth more than its score fails them."""
    right = KINDS[broken]
    monkeypatch.setitem(KINDS, broken, lambda passed, of, scores: min(F(1), right(passed, of, scores) * F(3, 2)))
    with pytest.raises(AssertionError):
        check_rewards("abc", [["a"], ["b"], ["c"]], None, list)


def test_the_laws_see_split_ties_and_unknown_tests_that_count_as_easy():
    with pytest.raises(AssertionError):
        check_levels({"a": F(1, 2), "b": F(1, 2)}, [["a"], ["b"]])
    with pytest.raises(AssertionError):
        check_levels({"a": None, "b": F(1, 2)}, [["a"], ["b"]])
