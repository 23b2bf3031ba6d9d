"""Announces a result of four gigabytes, and sends it slowly."""

import os
import struct
import time


def solve(numbers):
    os.write(3, struct.pack("<IcI", 1 << 19, b"V", 0))
    while True:
        os.write(3, b" ")
        time.sleep(0.0005)
