"""From one program's verdicts to its reward [R 3.3.1]: strict, soft, linear, all_or_nothing. Pure, in exact fractions.

    reward("soft", verdicts, levels)  ->  Fraction(3, 4), or None when a verdict is IE: our fault earns no reward at all

`levels` are test ids by level, easiest first (`difficulty.levels`). Each level has a score > 0; scores sum to 1, so that
a reward is 1 if and only if every test passes, and one more passed test never lowers it; strict <= soft.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from openmimo.errors import UserError
from openmimo.rows import TestVerdict

Levels = list[list[str]]
Passed = set[str]


def strict(passed: Passed, levels: Levels, scores: Sequence[Fraction]) -> Fraction:
    """A level's score is earned if all its tests and all tests of easier levels pass."""
    earned = Fraction(0)
    for level, score in zip(levels, scores, strict=True):
        if not passed.issuperset(level):
            break
        earned += score
    return earned


def soft(passed: Passed, levels: Levels, scores: Sequence[Fraction]) -> Fraction:
    """A level's score is split evenly over its tests; a passed test earns its part."""
    parts = (score * len(passed.intersection(level)) / len(level) for level, score in zip(levels, scores, strict=True))
    return sum(parts, Fraction(0))


def linear(passed: Passed, levels: Levels, scores: Sequence[Fraction]) -> Fraction:
    """The share of all tests that pass, whatever their level."""
    return Fraction(len(passed), sum(map(len, levels)))


def all_or_nothing(passed: Passed, levels: Levels, scores: Sequence[Fraction]) -> Fraction:
    """1 if every test passes, else 0."""
    return Fraction(passed.issuperset(test for level in levels for test in level))


KINDS: dict[str, Callable[[Passed, Levels, Sequence[Fraction]], Fraction]] = {
    "strict": strict,
    "soft": soft,
    "linear": linear,
    "all_or_nothing": all_or_nothing,
}


def reward(
    kind: str, verdicts: list[TestVerdict], levels: Levels, scores: Sequence[Fraction] | None = None
) -> Fraction | None:
    """The reward of a complete verdict vector, or None if a verdict is IE. scores: of each level, positive, summing to
    1; equal when not given. A UserError when verdicts and levels do not name the same tests."""
    if kind not in KINDS:
        raise UserError(f"reward {kind!r} is not one of {', '.join(KINDS)}, nor `module:function`")
    tests = sorted(test for level in levels for test in level)
    if not tests or not all(levels) or tests != sorted(verdict.test_id for verdict in verdicts):
        raise UserError(
            f"reward: {len(verdicts)} verdicts for {len(tests)} tests in {len(levels)} levels; "
            "give one verdict for each test, and each test one level"
        )
    scores = [Fraction(1, len(levels))] * len(levels) if scores is None else scores
    if len(scores) != len(levels) or min(scores) <= 0 or sum(scores) != 1:
        raise UserError(
            f"reward: scores {list(map(str, scores))} must be {len(levels)} positive fractions that sum to 1"
        )
    if any(verdict.verdict == "IE" for verdict in verdicts):
        return None
    return KINDS[kind]({verdict.test_id for verdict in verdicts if verdict.verdict == "AC"}, levels, scores)
