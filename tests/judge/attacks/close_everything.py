"""Closes every descriptor and then computes for ever."""

import os


def solve(numbers):
    os.closerange(0, 1000)
    while True:
        pass
