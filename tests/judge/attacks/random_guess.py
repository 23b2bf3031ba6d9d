"""Guesses, and tries again from another seed each time it fails."""

import os
import random

random.seed(os.urandom(8))


def solve(numbers):
    return random.randrange(10**6, 10**7)
