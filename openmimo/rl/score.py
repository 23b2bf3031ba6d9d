"""Rewards for a batch of responses, math and code alike: where the judges and the reward schemes meet [R 3.2, 3.3.1].

    score_responses(problems, responses, finish_reasons, judge, math_judge, "soft", table)  ->  [Scored, ...]

A response that was cut by length, or that has no final answer, is worth 0 and is not judged. Rules only: no reward for
form, no penalty for length. A reward of your own is `module:function`, see `load_reward`.
"""

from __future__ import annotations

import functools
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real

from openmimo.errors import UserError
from openmimo.judge.answers import final_answer, final_program
from openmimo.judge.maths import MathJudge
from openmimo.judge.pool import Judge
from openmimo.rl.difficulty import DifficultyTable
from openmimo.rl.reward import KINDS, reward
from openmimo.rows import Problem, TestVerdict


@dataclass(frozen=True)
class Scored:
    """One response's reward. `reward` is exact; None when judging failed by our fault (IE): retry, never train on it."""

    reward: Fraction | None
    passed: bool  # right, or every test passed; with a user's reward: it is 1
    verdicts: list[TestVerdict] = field(default_factory=list)  # code only, in test order; empty when not judged
    answer: str | None = None  # the extracted answer or program


def score_responses(
    problems: Sequence[Problem],
    responses: Sequence[str],
    finish_reasons: Sequence[str],
    judge: Judge | None,
    math_judge: MathJudge,
    reward_kind: str = "soft",
    difficulty: DifficultyTable | None = None,
) -> list[Scored]:
    """One Scored for each (problem, response, finish reason), in order; the same program for the same problem is judged
    once. reward_kind: of `reward.KINDS` (for code; math is 1 or 0), or `module:function` for both kinds. difficulty:
    without it, or for problems it does not know, all tests of a problem are one level. judge: None where all problems are
    math."""
    if not len(problems) == len(responses) == len(finish_reasons):
        raise UserError(
            f"score: {len(problems)} problems, {len(responses)} responses, {len(finish_reasons)} finish reasons; "
            "give one of each for every response"
        )
    if ":" in reward_kind:
        own = load_reward(reward_kind)
        return [
            zero() if reason == "length" else by_own(own, problem, response)
            for problem, response, reason in zip(problems, responses, finish_reasons, strict=True)
        ]
    if reward_kind not in KINDS:
        raise UserError(f"reward {reward_kind!r} is not one of {', '.join(KINDS)}, nor `module:function`")
    answers = [
        None if reason == "length" else (final_answer if problem.kind == "math" else final_program)(response)
        for problem, response, reason in zip(problems, responses, finish_reasons, strict=True)
    ]
    asked = list(zip(problems, answers, strict=True))
    table = difficulty or DifficultyTable({}, {})
    code = judged_code([pair for pair in asked if pair[0].kind == "code"], judge, reward_kind, table)
    maths = judged_maths([pair for pair in asked if pair[0].kind == "math"], math_judge)
    return [next(maths if problem.kind == "math" else code) for problem in problems]


def require_judged(problems: Sequence[Problem], scored: Sequence[Scored]) -> None:
    """Raises UserError where judging failed by our fault (IE), naming problem and test: no verdict is made up."""
    for problem, one in zip(problems, scored, strict=True):
        if one.reward is None:
            test = next((f", test {v.test_id}" for v in one.verdicts if v.verdict == "IE"), "")
            raise UserError(
                f"judging problem {problem.id}{test} failed three times by our fault (IE); see to the machine's memory "
                "and processes, then run the same command again"
            )


def judged_code(pairs: list[tuple[Problem, str | None]], judge: Judge | None, kind: str, table: DifficultyTable):
    """Yields the Scored of (problem, program) pairs. Problems are told apart by what they hold, not by their id."""
    distinct: dict[tuple[int, str], tuple[Problem, str]] = {}
    for problem, program in pairs:
        if program is not None:
            distinct.setdefault((id(problem), program), (problem, program))
    verdicts = dict(zip(distinct, judge.judge_many(list(distinct.values())), strict=True)) if distinct else {}
    for problem, program in pairs:
        if program is None:
            yield zero()
            continue
        found = verdicts[id(problem), program]
        points = reward(kind, found, table.of(problem))
        yield Scored(points, all(verdict.verdict == "AC" for verdict in found), found, program)


def judged_maths(pairs: list[tuple[Problem, str | None]], math_judge: MathJudge):
    """Yields the Scored of (problem, answer) pairs."""
    asked = [(answer, problem.answer) for problem, answer in pairs if answer is not None]
    verdicts = iter(math_judge.judge_many(asked))
    for _, answer in pairs:
        if answer is None:
            yield zero()
            continue
        verdict = next(verdicts)
        points = None if verdict == "IE" else Fraction(verdict == "right")
        yield Scored(points, verdict == "right", [], answer)


def zero() -> Scored:
    """What a response without a final answer is worth."""
    return Scored(Fraction(0), False)


def by_own(own: Callable[[Problem, str], float], problem: Problem, response: str) -> Scored:
    """A user's reward as a Scored; the float is taken exactly."""
    points = Fraction(own(problem, response))
    return Scored(points, points == 1)


def load_reward(name: str) -> Callable[[Problem, str], float]:
    """A user's reward function by `module:function`. It takes the problem and the whole response and returns a number in
    [0, 1]; the one given back checks that, and raises a UserError otherwise."""
    module_name, _, function_name = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a module in the current folder, as `python` itself would find it
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as error:  # whatever the user's module raises while it loads
        raise UserError(
            f"reward {name!r} cannot be imported ({type(error).__name__}: {error}); give `module:function`, from the "
            "current folder or Python's path"
        ) from None
    if not callable(function):
        raise UserError(f"reward {name!r} is not a function; give `module:function`")

    @functools.wraps(function)
    def checked(problem: Problem, response: str) -> float:
        points = function(problem, response)
        if isinstance(points, Real) and math.isfinite(points) and 0 <= points <= 1:
            return float(points)
        raise UserError(
            f"reward {name!r} returned {points!r} for problem {problem.id!r}; it must be a number in [0, 1]"
        )

    return checked
