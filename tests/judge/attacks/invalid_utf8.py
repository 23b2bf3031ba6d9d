"""kind: stdin. Bytes that are not text, with NULs."""

import os

os.write(1, b"\x00\xff\xfe49\x00" * 1000)
