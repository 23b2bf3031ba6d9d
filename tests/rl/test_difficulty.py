"""Pass rates and levels: worked by hand, and against every possible cut."""

import itertools
import random
from fractions import Fraction as F

import pytest

from openmimo.errors import UserError
from openmimo.rl.difficulty import DifficultyTable, levels, test_passrates
from openmimo.rows import Problem, Rollout, Test, TestVerdict


def rollout(problem_id, **verdicts):
    found = [TestVerdict(test, verdict) for test, verdict in verdicts.items()]
    return Rollout(problem_id, "m", 0, 0, 0, 0, [], [], "stop", verdicts=found)


def level_of(*rates):
    """Levels of tests named a, b, c, ... as words, easiest first."""
    return ["".join(level) for level in levels(dict(zip("abcdefghijklmnop", rates, strict=False)))]


def test_passrates_pool_all_models_and_leave_out_our_faults():
    rollouts = [
        rollout("p", a="AC", b="WA", c="IE"),
        rollout("p", a="AC", b="TLE"),
        rollout("p", a="RE", b="AC", c="IE"),
        rollout("q", a="AC"),
    ]
    assert test_passrates(rollouts) == {"p": {"a": F(2, 3), "b": F(1, 3)}, "q": {"a": F(1)}}


def test_levels_worked_by_hand():
    # rates .9 .8 .4 .3 and 0: mean .48, total scatter .548. Zero is cut off. One level for the rest leaves
    # 4 x variance(.9 .8 .4 .3) = .26 > .0548; two, cut in the gap, leave 2 x .05^2 x 2 = .01.
    assert level_of(F(9, 10), F(8, 10), F(4, 10), F(3, 10), F(0)) == ["ab", "cd", "e"]
    # without the zero: total .26, one level leaves all of it, two .01 <= .026
    assert level_of(F(3, 10), F(8, 10), F(4, 10), F(9, 10)) == ["bd", "ac"]
    # equal counts matter: three tests at 1 and one each at .7 and .6: mean .86, total .152, cut after 1: .005 <= .0152
    assert level_of(F(1), F(1), F(7, 10), F(1), F(6, 10)) == ["abd", "ce"]


def test_levels_at_the_edges():
    assert level_of() == []
    assert level_of(F(1, 2)) == level_of(None) == level_of(F(0)) == ["a"]
    assert level_of(F(1, 2), F(1, 2)) == level_of(None, None) == level_of(F(0), None) == ["ab"]
    assert level_of(F(1), F(1), F(1, 2), None) == ["ab", "cd"]  # unknown joins the hardest
    assert level_of(None, F(1), F(0)) == ["b", "ac"]  # with never passed
    assert level_of(F(1), F(99, 100), F(0)) == ["ab", "c"]  # never passed stands alone
    assert level_of(F(1, 100), F(0)) == ["a", "b"]
    assert len(level_of(*[F(n, 14) for n in range(15)])) <= 5


def within(of_levels, rates):
    """The scatter within levels."""
    total = F(0)
    for level in of_levels:
        mean = sum(rates[test] for test in level) / len(level)
        total += sum((rates[test] - mean) ** 2 for test in level)
    return total


def test_levels_are_the_best_of_all_cuts():
    draw = random.Random(0)
    for _ in range(150):
        values = [F(draw.randrange(9), 8) for _ in range(draw.randrange(1, 9))]
        rates = dict(enumerate(values))
        found = levels(rates)
        assert sorted(itertools.chain(*found)) == sorted(rates) and all(found) and len(found) <= 5
        where = {test: number for number, level in enumerate(found) for test in level}
        assert all(
            (where[i] <= where[j]) if rates[i] >= rates[j] else True
            for i in rates
            for j in rates
            if rates[i] != rates[j]
        )
        assert all(where[i] == where[j] for i in rates for j in rates if rates[i] == rates[j])
        distinct = sorted(set(values), reverse=True)
        limit = within([list(rates)], rates) / 10

        def cuts(number, distinct=distinct, rates=rates):
            for bounds in itertools.combinations(range(1, len(distinct)), number - 1):
                edges = [0, *bounds, len(distinct)]
                cut = [[t for t in rates if rates[t] in distinct[a:b]] for a, b in itertools.pairwise(edges)]
                if len(distinct) == 1 or F(0) not in distinct or edges[-2] == len(distinct) - 1:
                    yield within(cut, rates)

        assert within(found, rates) == min(cuts(len(found)))
        assert all(scatter > limit for number in range(1, len(found)) for scatter in cuts(number))
        assert within(found, rates) <= limit or len(found) == min(5, len(distinct))


def test_levels_do_not_depend_on_the_order_of_tests():
    rates = {str(n): F(n * n % 11, 10) for n in range(11)}
    once, again = levels(rates), levels(dict(reversed(rates.items())))
    assert [set(level) for level in once] == [set(level) for level in again]


def problem(problem_id="p", tests="abc"):
    asked = [{"role": "user", "content": "?"}]
    return Problem(problem_id, "code", asked, tests=[Test(name, "stdin", "", "") for name in tests])


def test_table_is_saved_with_its_hash(tmp_path):
    rollouts = [rollout("p", a="AC", b="WA"), rollout("p", a="AC", b="AC")]
    table = DifficultyTable.build([problem(), problem("q")], rollouts)
    assert table.levels == {"p": [["a"], ["b", "c"]], "q": [["a", "b", "c"]]}
    assert table.passrates["p"] == {"a": F(1), "b": F(1, 2), "c": None}
    path = tmp_path / "difficulty.json"
    table.save(path)
    assert DifficultyTable.load(path) == table and DifficultyTable.load(path).hash == table.hash
    assert [entry.name for entry in tmp_path.iterdir()] == ["difficulty.json"]
    path.write_text(path.read_text().replace('"1/2"', '"1/3"'))
    with pytest.raises(UserError, match="hash"):
        DifficultyTable.load(path)
    path.write_text("[]")
    with pytest.raises(UserError, match="not a difficulty table"):
        DifficultyTable.load(path)
    with pytest.raises(UserError, match="no such file"):
        DifficultyTable.load(tmp_path / "none.json")


def test_table_of_other_tests_is_refused():
    table = DifficultyTable.build([problem()], [])
    assert table.of(problem()) == [["a", "b", "c"]] and table.of(problem("unknown", "xy")) == [["x", "y"]]
    with pytest.raises(UserError, match="other tests"):
        table.of(problem(tests="ab"))
