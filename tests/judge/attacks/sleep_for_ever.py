"""Uses no CPU time at all."""

import time


def solve(numbers):
    time.sleep(1000)
