"""Crashes in C: writes where it must not."""

import ctypes


def solve(numbers):
    ctypes.memset(8, 0, 64)
