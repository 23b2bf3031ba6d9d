"""Our own family of code problems: English statement, golden Python solution, 12 tests of different difficulty.

    python -m openmimo.data.problems.code 3

A problem picks numbers of a list, maps them and reduces them. Its tests are plain cases, edge cases (empty lists,
nothing picked, repeated and negative numbers) and larger inputs; each catches a way of writing the program that real
code uses and that is right only sometimes (`STYLES`): the index style fails on empty picks, recursion on long lists.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass

from openmimo.rows import Test

PICKS = {  # name -> adjective, words after the noun, condition, difficulty
    "all": ("", "", "", 1),
    "even": ("even ", "", "x % 2 == 0", 1),
    "odd": ("odd ", "", "x % 2 == 1", 1),
    "positive": ("positive ", "", "x > 0", 1),
    "negative": ("negative ", "", "x < 0", 1),
    "above": ("", " above {k}", "x > {k}", 2),
    "below": ("", " below {k}", "x < {k}", 2),
    "multiple": ("", " divisible by {k}", "x % {k} == 0", 2),
}
MAPS = {  # name -> words, expression, difficulty
    "same": ("them", "x", 0),
    "double": ("their doubles", "2 * x", 1),
    "square": ("their squares", "x * x", 1),
    "absolute": ("their absolute values", "abs(x)", 1),
    "plus": ("their values plus {j}", "x + {j}", 1),
}
REDUCES = {  # name -> words, expression over the list ys
    "sum": ("the sum of {m}", "sum(ys)"),
    "count": ("how many there are", "len(ys)"),
    "max": ("the largest of {m}, or 0 if there are none", "max(ys, default=0)"),
    "min": ("the smallest of {m}, or 0 if there are none", "min(ys, default=0)"),
}
OPENINGS = ("Write", "Define")


@dataclass(frozen=True)
class CodeProblem:
    """Statement, programs by style (the golden one first), difficulty (1 = easiest), key of the content, and the
    number that the edge cases are built around."""

    key: str
    statement: str
    programs: dict[str, str]
    difficulty: int
    k: int


def programs_of(pick: str, mapping: str, reduce: str) -> dict[str, str]:
    """The same program in several styles. Only `list` handles every input; the others are what people also write."""
    where = f" if {pick}" if pick else ""
    ys = f"    ys = [{mapping} for x in xs{where}]\n"
    programs = {"list": f"def solve(xs):\n{ys}    return {REDUCES[reduce][1]}\n"}
    if reduce in ("max", "min"):
        sign = ">" if reduce == "max" else "<"
        programs["index"] = (
            f"def solve(xs):\n{ys}    best = ys[0]\n    for y in ys:\n        if y {sign} best:\n"
            "            best = y\n    return best\n"
        )
    else:
        value = mapping if reduce == "sum" else "1"
        value = f"({value} if {pick} else 0)" if pick else value
        programs["recursive"] = (
            f"def solve(xs):\n    if not xs:\n        return 0\n    x = xs[0]\n    return {value} + solve(xs[1:])\n"
        )
    return programs


def make_tests(problem: CodeProblem) -> list[Test]:
    """7 plain cases, 3 edge cases, 2 larger inputs, a function of the content alone; inputs are lists of integers,
    expected values come from running the golden program here (it is ours)."""
    scope: dict = {}
    exec(problem.programs["list"], scope)
    rng, k = random.Random(problem.key), problem.k
    plain = [[rng.randint(-9, 20) for _ in range(rng.randint(3, 7))] for _ in range(7)]
    edge = [[], [rng.choice((-1, 1)) * (k + 1)], [k, -k, 0, k]]
    large = [[rng.randint(-99, 99) for _ in range(n)] for n in (200, 1200)]
    tests = []
    for name, inputs in (("plain", plain), ("edge", edge), ("large", large)):
        for index, xs in enumerate(inputs):
            tests.append(Test(f"{name}{index}", "call", [xs], scope["solve"](list(xs))))
    return tests


def generate(rng: random.Random) -> CodeProblem:
    """One problem drawn with `rng`."""
    pick, mapping, reduce = rng.choice(list(PICKS)), rng.choice(list(MAPS)), rng.choice(list(REDUCES))
    mapping = "same" if reduce == "count" else mapping
    k, j = rng.randint(2, 9), rng.randint(1, 9)
    adjective, suffix, condition, pick_level = PICKS[pick]
    words, expression, map_level = MAPS[mapping]
    what = REDUCES[reduce][0].format(m=words.format(j=j))
    condition, expression = condition.format(k=k), expression.format(j=j)
    programs = programs_of(condition, expression, reduce)
    statement = f"{rng.choice(OPENINGS)} solve(xs): of the {adjective}numbers in xs{suffix.format(k=k)}, return {what}."
    difficulty = pick_level + map_level + (reduce in ("max", "min"))
    key = f"code: {condition} | {expression} | {reduce}"
    return CodeProblem(key, statement, programs, difficulty, k)


if __name__ == "__main__":
    stream = random.Random(0)
    for _ in range(int(sys.argv[1])):
        problem = generate(stream)
        print(problem.statement, *problem.programs.values(), sep="\n")
