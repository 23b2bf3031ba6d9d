"""Starts other programs, with and without a shell. open on: rlimits"""

import subprocess
import sys


def solve(numbers):
    for command in (
        ["/bin/sh", "-c", "echo 14"],
        ["/usr/bin/env", "python3", "-c", "print(14)"],
        [sys.executable, "-c", "print(14)"],
    ):
        try:
            return int(subprocess.run(command, capture_output=True).stdout)
        except (OSError, ValueError):
            pass
    return None
