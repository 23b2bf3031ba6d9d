"""Writes wherever it may: next to the judge, into the library, into shared memory. open on: rlimits"""

import os
import sys


def solve(numbers):
    for folder in ["..", "/", "/tmp", "/dev/shm", "/var/tmp", "/run", os.path.dirname(os.__file__), *sys.path]:
        try:
            path = f"{folder}/left-by-a-program"
            with open(path, "w") as file:
                file.write("14")
            os.unlink(path)
            return 14
        except OSError:
            pass
    return None
