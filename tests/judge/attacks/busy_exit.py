"""Never lets its process end: exit hooks, destructors and threads that go on."""

import atexit
import sys
import threading


class Undead:
    def __del__(self):
        while True:
            pass


atexit.register(lambda: threading.Event().wait())
kept = Undead()
sys.stdout = Undead()


def solve(numbers):
    global kept
    kept = None
