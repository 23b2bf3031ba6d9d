"""Bodies that are no JSON, are cut, or hold NaN, infinities, duplicate keys and lone surrogates."""

import os
import struct

BODIES = {3: b'{"a": 1, "a": NaN, "$tuple": [1, "\\ud800"], "$set": -Infinity}', 1: b"\xff\xfe14"}


def solve(numbers):
    body = BODIES[len(numbers)]
    os.write(3, struct.pack("<IcI", len(body), b"V", 0) + body)
    os._exit(0)
