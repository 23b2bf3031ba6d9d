"""Children that end and are never waited for."""

import os


def solve(numbers):
    for _ in range(40):
        if os.fork() == 0:
            os._exit(0)
    return None
