"""kind: stdin. Floods standard error, and prints nothing."""

import os

while True:
    os.write(2, b"4" * 65536)
