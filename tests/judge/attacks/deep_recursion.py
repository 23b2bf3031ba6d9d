"""Overflows the stack of the interpreter, or that of the encoder with what it returns."""

import sys

sys.setrecursionlimit(10**9)


def solve(numbers):
    nested = []
    for _ in range(10**5):
        nested = [nested]
    return nested
