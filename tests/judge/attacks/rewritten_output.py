"""kind: stdin. Makes its output a device, a hole of a terabyte, and somebody else's file."""

import os

for act in (
    lambda: os.ftruncate(1, 1 << 40),
    lambda: os.lseek(1, 1 << 40, 0),
    lambda: os.write(1, b"49"),
    lambda: os.dup2(os.open("/dev/zero", os.O_RDWR), 1),
    lambda: os.dup2(0, 1),
):
    try:
        act()
    except OSError:
        pass
