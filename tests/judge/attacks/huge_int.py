"""An integer whose decimal text takes minutes."""


def solve(numbers):
    return 1 << 4_000_000
