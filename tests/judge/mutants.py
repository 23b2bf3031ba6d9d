"""Wrong programs: small changes to right ones, and whether they show on a test, decided without the judge.

Run as a script, it reads one JSON list of `[program, mutant, function's name, inputs]` from standard input and prints one
list of booleans: whether the two clearly differ on some input. A mutant that takes too long counts as no different.
"""

import ast
import json
import random
import resource
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

OTHER = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.Div: ast.Mult, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def places(tree):
    """Everything in a program that can be changed: (node, what is done to it)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OTHER:
            yield node, lambda node: setattr(node, "op", OTHER[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
            yield node, lambda node: node.ops.__setitem__(0, OTHER[type(node.ops[0])]())
        elif isinstance(node, ast.Constant) and type(node.value) in (int, bool):
            yield (
                node,
                lambda node: setattr(node, "value", not node.value if type(node.value) is bool else node.value + 1),
            )
        elif isinstance(node, ast.If | ast.While | ast.IfExp):
            yield node, lambda node: setattr(node, "test", ast.UnaryOp(ast.Not(), node.test))
        elif isinstance(node, ast.Return) and node.value is not None:
            yield node, lambda node: setattr(node, "value", ast.List([node.value], ast.Load()))


def mutants(program, count, seed):
    """Up to `count` different programs, each changed in one place."""
    total = len(list(places(ast.parse(program))))
    found = []
    for place in random.Random(seed).sample(range(total), min(count, total)):
        tree = ast.parse(program)
        node, change = list(places(tree))[place]
        change(node)
        found.append(ast.unparse(ast.fix_missing_locations(tree)))
    return found


def same(one, other):
    """Whether two results may pass for equal, more generously than any judge."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other or one != one or other != other or abs(one - other) <= 1e-3 * max(1, abs(one))
    if isinstance(one, list | tuple) and type(one) is type(other):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return isinstance(one, complex) or one == other


def differ(pairs):
    """In a process of its own: see the module's docstring."""
    told = subprocess.run(
        [sys.executable, __file__, str(Path(__file__).parents[2])],
        input=json.dumps(pairs), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(told.stdout)


def too_long(*_):
    raise TimeoutError


def main():
    sys.path.insert(0, sys.argv[1])
    from openmimo.judge import wire

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    signal.signal(signal.SIGALRM, too_long)
    out, sys.stdout = sys.stdout, sys.stderr
    told = []
    for program, mutant, name, inputs in json.load(sys.stdin):
        differs = False
        signal.setitimer(signal.ITIMER_REAL, 3)
        try:
            right, wrong = {}, {}
            exec(program, right)
            exec(mutant, wrong)
            for tagged in inputs:
                arguments = wire.decode(tagged)
                expected = right[name](*deepcopy(arguments))
                try:
                    differs = not same(expected, wrong[name](*arguments))
                except TimeoutError:
                    raise
                except Exception:
                    differs = True
                if differs:
                    break
        except (TimeoutError, MemoryError, RecursionError):
            differs = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        told.append(differs)
    out.write(json.dumps(told))


if __name__ == "__main__":
    main()
