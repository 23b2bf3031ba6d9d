"""Stops itself with a signal that cannot be caught."""

import os
import signal


def solve(numbers):
    os.kill(os.getpid(), signal.SIGSTOP)
    return None
