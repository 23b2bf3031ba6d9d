"""Reads through links, hard links and paths with dots, to get out of its folder. open on: rlimits"""

import os


def solve(numbers):
    for number, target in enumerate(
        ("/etc/passwd", "../../../../etc/passwd", "/proc/1/environ", "/proc/self/root/etc/passwd")
    ):
        for link in (os.symlink, os.link):
            try:
                link(target, f"link{number}{link.__name__}")
                if open(f"link{number}{link.__name__}").read():
                    return 14
            except OSError:
                pass
    return None
