"""Leaves a thread and a twice-forked process behind, and returns at once."""

import os
import threading
import time


def solve(numbers):
    threading.Thread(target=time.sleep, args=(1000,)).start()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return None
