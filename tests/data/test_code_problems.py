"""Our code family: golden programs pass, and each other style fails where it should."""

import random
import re
from collections import Counter

import pytest

from openmimo.data.problems import code
from openmimo.data.problems.build import draw
from openmimo.judge.answers import final_program
from openmimo.judge.pool import Judge

COUNT = 120


@pytest.fixture(scope="module")
def exercises():
    return draw({"code": 1}, COUNT, "train", 0, Counter(), unique=True)


@pytest.fixture(scope="module")
def verdicts(exercises):
    """[(exercise, style, {test id: verdict})] of every program of every style."""
    pairs = [(e, style) for e in exercises for style in e.responses]
    with Judge(workers=1) as judge:
        found = judge.judge_many([(e.problem, final_program(e.responses[style])) for e, style in pairs])
    return [(e, style, {v.test_id: v.verdict for v in vector}) for (e, style), vector in zip(pairs, found, strict=True)]


def test_tests_are_of_three_kinds(exercises):
    for exercise in exercises:
        kinds = Counter(re.sub(r"\d+$", "", t.id) for t in exercise.problem.tests)
        assert 8 <= kinds.total() <= 20 and kinds.keys() == {"plain", "edge", "large"}
        sizes = {t.id: len(t.input[0]) for t in exercise.problem.tests}
        assert sizes["edge0"] == 0 and max(sizes.values()) > 1000


def test_golden_programs_pass(verdicts):
    mine = [found for e, style, found in verdicts if style == "list"]
    assert len(mine) == COUNT
    assert {verdict for found in mine for verdict in found.values()} == {"AC"}
    assert all(e.problem.golden == final_program(e.responses["list"]) for e, _, _ in verdicts)


def test_recursive_programs_fail_on_large_inputs_only(verdicts):
    mine = [found for _, style, found in verdicts if style == "recursive"]
    assert mine
    for found in mine:
        failed = {test for test, verdict in found.items() if verdict != "AC"}
        assert failed and all(test.startswith("large") for test in failed)


def test_index_programs_fail_where_nothing_is_picked(verdicts):
    """That is the edge tests, and a plain one only where its list holds none of the numbers asked for."""
    mine = [(e, found) for e, style, found in verdicts if style == "index"]
    assert mine
    plain = 0
    for exercise, found in mine:
        condition = re.search(r"for x in xs(?: if (.*))?\]", exercise.problem.golden)[1] or "True"
        empty = {t.id for t in exercise.problem.tests if not any(eval(condition, {"x": x}) for x in t.input[0])}
        failed = {test for test, verdict in found.items() if verdict != "AC"}
        assert failed == empty and "edge0" in failed and not any(test.startswith("large") for test in failed)
        plain += any(test.startswith("plain") for test in failed)
    assert plain < len(mine) / 2


def test_statements_say_what_the_golden_program_does():
    """Of each pick and map one statement, read by hand."""
    problems = {p.key: p.statement.split(" ", 1)[1] for p in (code.generate(rng) for rng in [random.Random(0)] * 400)}
    assert problems["code:  | x | sum"] == "solve(xs): of the numbers in xs, return the sum of them."
    assert (
        problems["code: x % 2 == 1 | x * x | max"]
        == "solve(xs): of the odd numbers in xs, return the largest of their squares, or 0 if there are none."
    )
    above = next(key for key in problems if re.fullmatch(r"code: x > [1-9] \| 2 \* x \| sum", key))
    k = re.search(r"> (\d)", above)[1]
    assert problems[above] == f"solve(xs): of the numbers in xs above {k}, return the sum of their doubles."
