"""Procedural math problems from reasoning-gym, graded in difficulty, each with a worked solution that we derive.

    python -m openmimo.data.problems.maths chain_sum 3

reasoning-gym gives question, answer and numbers; the steps are ours, and a solution whose last line is not the
answer is dropped (and counted by the caller), so every worked solution is verified.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Worked:
    """A question, its answer, its difficulty (1 = easiest) and the steps, one a line. `key` names the content."""

    family: str
    key: str
    question: str
    answer: str
    difficulty: int
    steps: list[str]


def chain_sum_steps(item: dict) -> tuple[int, list[str]]:
    """4 - 1 - 7 -> one running sum a line."""
    tokens = item["metadata"]["expression"].split()
    total, lines = int(tokens[0]), []
    for sign, number in zip(tokens[1::2], tokens[2::2], strict=True):
        value = total + int(number) if sign == "+" else total - int(number)
        lines.append(f"{total}{sign}{number}={value}")
        total = value
    return len(lines), lines


def products_steps(item: dict) -> tuple[int, list[str]]:
    """3 * 4 * 7 -> one running product a line."""
    factors = [int(n) for n in item["metadata"]["expression"].split(" * ")]
    total, lines = factors[0], []
    for factor in factors[1:]:
        lines.append(f"{total}*{factor}={total * factor}")
        total *= factor
    return len(lines), lines


def gcd_steps(item: dict) -> tuple[int, list[str]]:
    """Euclid's algorithm: one remainder a line."""
    a, b = sorted(item["metadata"]["numbers"], reverse=True)
    lines = []
    while b:
        lines.append(f"{a}%{b}={a % b}")
        a, b = b, a % b
    lines.append(f"gcd={a}")
    return max(1, len(lines) - 1), lines


def equation_steps(item: dict) -> tuple[int, list[str]] | None:
    """8*e - 5 = 3 -> move the constant, then divide. None for a shape other than a*x + b = c or a*x = c."""
    match = re.fullmatch(r"(?:(\d+)\*)?([a-z])(?: ([+-]) (\d+))? = (-?\d+)", item["metadata"]["equation"])
    if not match:
        return None
    factor, x, sign, constant, right = match.groups()
    factor, right, lines = int(factor or 1), int(right), []
    term = f"{factor}*{x}" if factor != 1 else x
    if sign:
        moved = right - int(constant) if sign == "+" else right + int(constant)
        lines.append(f"{term}={right}{'-' if sign == '+' else '+'}{constant}={moved}")
        right = moved
    if factor != 1 or not lines:
        lines.append(f"{x}={right}/{factor}={right // factor}")
    return len(lines) + (factor > 9), lines


FAMILIES = {
    "chain_sum": (chain_sum_steps, {"min_terms": 2, "max_terms": 5, "min_digits": 1, "max_digits": 1}),
    "products": (products_steps, {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}),
    "gcd": (gcd_steps, {"min_value": 2, "max_value": 30}),
    "simple_equations": (equation_steps, {"min_terms": 2, "max_terms": 2, "min_value": 1, "max_value": 9}),
}


def generate(family: str, seed: int, size: int) -> Iterator[Worked | None]:
    """`size` problems of a family from its stream `seed`; None for one whose steps could not be derived or verified."""
    import reasoning_gym

    steps_of, options = FAMILIES[family]
    dataset = reasoning_gym.create_dataset(family, seed=seed, size=size, **options)
    for index in range(size):
        item = dataset[index]
        derived, answer = steps_of(item), str(item["answer"])
        if derived is None or derived[1][-1].rsplit("=", 1)[-1] != answer:
            yield None
            continue
        yield Worked(
            family, f"{family}: {content_of(family, item['metadata'])}", item["question"].strip(), answer, *derived
        )


def content_of(family: str, meta: dict) -> str:
    """What makes two problems one: the numbers, whatever the order of factors and the name of the unknown."""
    if family == "products":
        return str(sorted(meta["expression"].split(" * ")))
    if family == "gcd":
        return str(sorted(meta["numbers"]))
    return re.sub("[a-z]", "x", meta["equation"]) if family == "simple_equations" else meta["expression"]


if __name__ == "__main__":
    for worked in generate(sys.argv[1], seed=0, size=int(sys.argv[2])):
        print(worked)
