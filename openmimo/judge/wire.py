"""Values as JSON that keeps their exact types, and the binary frames around them, for both ends of a worker's pipes.

A row's test data may be written in the same tagged JSON, so a tuple argument is `{"$tuple": [1, 2]}`:

    null, bool, int, float, str, list     themselves (nan and inf as JSON's NaN, Infinity)
    dict with text keys                   a JSON object; any other dict: {"$dict": [[key, value], ...]}
    tuple, set, frozenset                 {"$tuple": [...]}, {"$set": [...]}, {"$frozenset": [...]}
    complex, bytes                        {"$complex": [re, im]}, {"$bytes": "hex"}
    an int beyond 64 bits                 {"$int": "0x..."} (decimal text of huge ints is slow and limited)

A subclass crosses as its plain base (a Counter as a dict); anything else is a TypeError. Imports nothing of ours: the
worker loads this file without the package.
"""

import struct

SMALL = 1 << 64
BASES = (int, float, complex, str, bytes, list, tuple, dict, set, frozenset)

# judge -> worker: program bytes, tests, stdin program (1) or calls (0), cpu_s, wall_s, memory_mb, output_kb; then each
# input's size; the program (for calls: the function's name and a newline before it); the inputs
REQUEST = struct.Struct("<IIBddII")
SIZE = struct.Struct("<I")
# child -> worker, calls only: body bytes, status, its peak memory in kB
FRAME = struct.Struct("<IcI")
# worker -> judge: outcomes, text bytes; each outcome: status, cpu_s, wall_s, memory_mb, where its body is in the text
REPLY = struct.Struct("<II")
OUTCOME = struct.Struct("<cdddII")

LOADED, VALUE = b"L", b"V"  # program loaded; a result (calls) or the output (stdin)
ERROR, TIME, MEMORY, OUTPUT, FAULT = b"E", b"T", b"M", b"O", b"I"  # RE, TLE, MLE, OLE, IE


def encode(value, escape=True):
    """A Python value as tagged JSON data. TypeError: not data. RecursionError: cyclic or too deep.

    escape: a text key that begins with `$` is data. With False it is a tag already (a row's own JSON data)."""
    kind = type(value)
    if kind is int:
        return value if -SMALL < value < SMALL else {"$int": hex(value)}
    if value is None or kind is str or kind is float or kind is bool:
        return value
    if kind is list:
        return [encode(item, escape) for item in value]
    if kind is tuple or kind is set or kind is frozenset:
        return {f"${kind.__name__}": [encode(item, escape) for item in value]}
    if kind is dict:
        if all(type(key) is str and not (escape and key.startswith("$")) for key in value):
            return {key: encode(item, escape) for key, item in value.items()}
        return {"$dict": [[encode(key, escape), encode(item, escape)] for key, item in value.items()]}
    if kind is complex:
        return {"$complex": [value.real, value.imag]}
    if kind is bytes:
        return {"$bytes": value.hex()}
    for base in BASES:
        if isinstance(value, base):
            return encode(base(value), escape)
    raise TypeError(f"a {kind.__name__} is not data")


DECODERS = {
    "$int": lambda body: int(body, 16),
    "$tuple": lambda body: tuple(map(decode, body)),
    "$set": lambda body: set(map(decode, body)),
    "$frozenset": lambda body: frozenset(map(decode, body)),
    "$dict": lambda body: {decode(key): decode(value) for key, value in body},
    "$complex": lambda body: complex(*body),
    "$bytes": bytes.fromhex,
}


def decode(data):
    """Tagged JSON data as the Python value: the inverse of `encode`."""
    if type(data) is list:
        return [decode(item) for item in data]
    if type(data) is dict:
        if len(data) == 1:
            ((tag, body),) = data.items()
            if tag in DECODERS:
                return DECODERS[tag](body)
        return {key: decode(item) for key, item in data.items()}
    return data
