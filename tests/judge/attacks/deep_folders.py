"""A folder tree too deep to walk, with locked folders and a link to the root in it."""

import os


def solve(numbers):
    os.symlink("/", "root")
    for _ in range(600):
        os.mkdir("d" * 50)
        os.chdir("d" * 50)
    os.mkdir("locked")
    os.chmod("locked", 0)
    os.chmod("..", 0)
    return None
