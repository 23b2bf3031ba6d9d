"""Fails on purpose, and hopes to find what it left in memory in the next test."""

import builtins


def solve(numbers):
    if hasattr(builtins, "left"):
        return sum(n * n for n in numbers)
    builtins.left = True
    raise ValueError
