"""kind: stdin. A gigabyte without a newline."""

import os

while True:
    os.write(1, b"4" * 65536)
