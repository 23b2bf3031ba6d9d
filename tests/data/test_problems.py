"""Our problems: every written step is right, sides are disjoint, and each style of program fails where it should."""

import hashlib
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from openmimo.data.extract import extract_html
from openmimo.data.problems import maths
from openmimo.data.problems.build import FAMILIES, choose_style, draw, page, side_of
from openmimo.errors import UserError
from openmimo.judge.answers import final_answer, final_program

EVEN = dict.fromkeys(FAMILIES, 1.0)
COUNT = 60


@pytest.fixture(scope="module")
def drawn():
    """{family: exercises of both sides}."""
    return {
        family: [e for side in ("train", "test") for e in draw({family: 1}, COUNT, side, 0, Counter(), unique=True)]
        for family in FAMILIES
    }


def steps_of(exercise) -> list[str]:
    return exercise.responses["steps"].removeprefix("<think>\n").split("\n</think>")[0].split("\n")


def question_of(exercise) -> str:
    return exercise.problem.messages[-1]["content"]


# Arithmetic of our own, on the text alone


def chain(text: str) -> int:
    """Value of `a + b - c ...`, left to right."""
    first, *rest = re.findall(r"^-?\d+|[+-]\d+", text.replace(" ", ""))
    assert first + "".join(rest) == text.replace(" ", "")
    return int(first) + sum(map(int, rest))


def check_chain_sum(question, lines, answer):
    expression = re.search(r"(-?\d+(?: [+-] \d+)+)", question)[1]
    total = int(expression.split()[0])
    for line in lines:
        left, value = line.split("=")
        assert re.match(rf"{total}[+-]", left) and chain(left) == int(value)
        total = int(value)
    assert total == int(answer) == chain(expression)
    assert len(lines) == expression.count(" + ") + expression.count(" - ")


def check_products(question, lines, answer):
    factors = [int(n) for n in re.search(r"(\d+(?: \* \d+)+)", question)[1].split(" * ")]
    total = factors[0]
    for factor, line in zip(factors[1:], lines, strict=True):
        one, other, value = map(int, re.fullmatch(r"(\d+)\*(\d+)=(\d+)", line).groups())
        assert (one, other) == (total, factor) and sum([one] * other) == value
        total = value
    assert total == int(answer) == math.prod(factors)


def check_gcd(question, lines, answer):
    numbers = [int(n) for n in re.findall(r"\d+", question)]
    assert len(numbers) == 2
    a, b = max(numbers), min(numbers)
    for line in lines[:-1]:
        left, right, value = map(int, re.fullmatch(r"(\d+)%(\d+)=(\d+)", line).groups())
        assert (left, right) == (a, b) and 0 <= value < right and (left - value) % right == 0
        a, b = right, value
    assert b == 0 and lines[-1] == f"gcd={answer}"
    divisors = [d for d in range(1, min(numbers) + 1) if not any(n % d for n in numbers)]
    assert int(answer) == divisors[-1]


def check_simple_equations(question, lines, answer):
    equation = re.search(r"(?:(\d+)\*)?([a-z])(?: ([+-]) (\d+))? = (-?\d+)", question)
    factor, x, sign, constant, right = equation.groups()
    shift = int(constant or 0) * (-1 if sign == "-" else 1)
    assert int(factor or 1) * int(answer) + shift == int(right)
    for line in lines:
        left, middle, value = line.split("=")
        assert left in (x, f"{factor}*{x}")
        assert int(value) == int(answer) * (1 if left == x else int(factor))
        if "/" in middle:
            number, by = map(int, middle.split("/"))
            assert number == by * int(value)
        else:
            assert chain(middle) == int(value)
    assert lines[-1].startswith(f"{x}=") and lines[-1].endswith(f"={answer}")


CHECKS = {
    "chain_sum": check_chain_sum,
    "products": check_products,
    "gcd": check_gcd,
    "simple_equations": check_simple_equations,
}


def test_every_family_of_problems_has_its_check():
    assert [*CHECKS, "code"] == list(FAMILIES)


@pytest.mark.parametrize("family", CHECKS)
def test_every_written_step_is_right(drawn, family):
    for exercise in drawn[family]:
        CHECKS[family](question_of(exercise), steps_of(exercise), exercise.problem.answer)


@pytest.mark.parametrize("family", CHECKS)
def test_the_check_sees_a_wrong_step(drawn, family):
    """Negative control: one digit of one step changed."""
    exercise = drawn[family][0]
    lines = steps_of(exercise)
    at = len(lines) // 2
    last = re.findall(r"\d+", lines[at])[-1]
    lines[at] = lines[at].removesuffix(last) + str(int(last) + 1)
    with pytest.raises((AssertionError, ValueError)):
        CHECKS[family](question_of(exercise), lines, exercise.problem.answer)


@pytest.mark.parametrize("family", CHECKS)
def test_responses_end_in_the_answer_the_judge_reads(drawn, family):
    for exercise in drawn[family]:
        assert list(exercise.responses) == ["steps", "recall"]
        assert exercise.problem.golden == exercise.responses["steps"]
        for response in exercise.responses.values():
            assert final_answer(response) == exercise.problem.answer


@pytest.mark.parametrize("family", FAMILIES)
def test_difficulty_is_graded(drawn, family):
    """Several levels, each with problems; for mathematics a harder one has more to write."""
    levels = Counter(e.problem.tags["difficulty"] for e in drawn[family])
    assert min(levels) >= 1 and len(levels) >= (2 if family in ("products", "simple_equations") else 3)
    if family != "code":
        lengths = [[len(steps_of(e)) for e in drawn[family] if e.problem.tags["difficulty"] == d] for d in levels]
        ordered = [sum(n) / len(n) for _, n in sorted(zip(levels, lengths, strict=True))]
        assert ordered == sorted(ordered) and ordered[0] < ordered[-1]


def test_train_and_held_out_are_disjoint():
    train = draw(EVEN, 500, "train", 0, Counter(), unique=True)
    test = draw(EVEN, 120, "test", 0, Counter(), unique=True)
    more = draw(EVEN, 500, "train", 7, Counter(), unique=False)
    for key in (lambda e: e.problem.id, lambda e: e.problem.tags["key"], question_of):
        assert not {key(e) for e in test} & {key(e) for e in train + more}
    assert all(e.problem.split == "test" == side_of(e.problem.tags["key"]) for e in test)
    assert all(e.problem.split == "train" for e in train + more)
    keys = [e.problem.tags["key"] for e in train]
    assert len(keys) == len(set(keys)) == 500 and len(test) == 120


def test_the_same_content_is_on_one_side_however_it_is_worded():
    """The key is the content: `Write` or `Define`, `even` or `divisible by 2` share it and the golden program."""
    questions, goldens = {}, {}
    for e in draw({"code": 1}, 600, "train", 0, Counter(), unique=False):
        questions.setdefault(e.problem.tags["key"], set()).add(question_of(e))
        goldens.setdefault(e.problem.tags["key"], set()).add(e.problem.golden)
    assert max(map(len, questions.values())) > 1
    assert all(len(programs) == 1 for programs in goldens.values())
    assert len(set.union(*goldens.values())) == len(goldens)


def test_twins_are_one_content():
    """Another order of factors or of numbers, another letter for the unknown: the same problem, on the same side."""
    for family, key, one, two, other in (
        ("products", "expression", "3 * 4 * 7", "7 * 3 * 4", "3 * 4 * 8"),
        ("gcd", "numbers", [12, 8], [8, 12], [8, 16]),
        ("simple_equations", "equation", "8*e = 16", "8*k = 16", "8*e = 24"),
    ):
        first, second, third = (maths.content_of(family, {key: value}) for value in (one, two, other))
        assert first == second != third
    assert len({maths.content_of("chain_sum", {"expression": e}) for e in ("1 + 2", "2 + 1")}) == 2


def test_families_come_in_proportion_and_seeds_differ():
    one = draw({"chain_sum": 3, "gcd": 1}, 80, "train", 0, Counter(), unique=True)
    assert Counter(e.problem.tags["family"] for e in one) == {"chain_sum": 60, "gcd": 20}
    other = draw({"chain_sum": 3, "gcd": 1}, 80, "train", 1, Counter(), unique=True)
    assert [e.problem.id for e in one] != [e.problem.id for e in other]


def test_a_family_that_runs_out_says_so():
    dropped = Counter()
    found = draw({"products": 1}, 300, "test", 0, dropped, unique=True)
    assert 0 < len(found) < 300
    assert dropped[f"products: exhausted after {len(found)} of 300"] == 1


def test_an_unknown_family_is_a_user_error():
    with pytest.raises(UserError, match="'geometry' is not known; choose from chain_sum"):
        draw({"geometry": 1}, 5, "train", 0, Counter(), unique=True)


DIGEST = """
import hashlib, json, sys
from collections import Counter
from openmimo.data.problems.build import FAMILIES, draw
from openmimo.rows import to_dict
found = draw(dict.fromkeys(FAMILIES, 1.0), 100, "train", 5, Counter(), unique=True)
text = json.dumps([[to_dict(e.problem), e.responses] for e in found])
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_drawing_is_a_function_of_the_seed_in_every_process():
    digests = [
        subprocess.run(
            [sys.executable, "-c", DIGEST], env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    ]
    scope: dict = {}
    exec(DIGEST.replace("print", "digest = str"), scope)
    assert digests[0] == digests[1] == f"{scope['digest']}\n".encode()
    assert len(scope["digest"]) == len(hashlib.sha256().hexdigest())


def seeded():
    return random.Random(0)


# Styles and pages


def test_the_plain_share_is_the_share_of_the_other_styles(drawn):
    rng, exercises = seeded(), drawn["chain_sum"] * 10
    for share in (0.0, 0.3, 1.0):
        chosen = Counter(choose_style(e, share, rng) for e in exercises)
        assert abs(chosen["recall"] / len(exercises) - share) < 0.05
    assert choose_style(drawn["code"][0], 0.0, rng) == "list"


def test_a_page_gives_back_question_and_response(drawn):
    """Through our own extractor: every written line, the formula or the program, and nothing of the navigation."""
    for family in FAMILIES:
        for exercise in drawn[family][:10]:
            for style, response in exercise.responses.items():
                text = extract_html(page(exercise, style))
                assert " ".join(question_of(exercise).split()) in " ".join(text.split()).replace("\\", "")
                assert "Home" not in text and "Collection" not in text
                if family == "code":
                    assert final_program(response).strip() in text
                else:
                    assert f"\\boxed{{{exercise.problem.answer}}}" in text


def test_maths_drops_what_it_cannot_derive():
    """An equation of another shape has no steps."""
    assert maths.equation_steps({"metadata": {"equation": "3*x + 2*y = 5"}}) is None
    assert json.dumps(maths.equation_steps({"metadata": {"equation": "8*e - 5 = 3"}})[1]) == json.dumps(
        ["8*e=3+5=8", "e=8/8=1"]
    )
