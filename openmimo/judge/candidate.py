"""What runs in the child, beside the candidate's own code: load the program, feed it inputs, hand back data.

Nothing here is a secret or a guard: the program may read and patch all of it and only spoils its own answers, since the
expected outputs are elsewhere and time, memory and processes are limited from outside. Loaded by the worker without
the package.

The imports are those that programs use most; a child finds them loaded. `threading` is not among them: with it every
fork costs half as much again.
"""

import atexit
import bisect  # noqa: F401
import collections  # noqa: F401
import copy  # noqa: F401
import functools  # noqa: F401
import heapq  # noqa: F401
import itertools  # noqa: F401
import json
import marshal
import math  # noqa: F401
import os
import re  # noqa: F401
import resource
import string  # noqa: F401
import sys
import types
import typing  # noqa: F401

import wire

MEMORY_EXIT = 87  # a stdin program that ran out of memory says so by this exit code
KEPT_BYTES = 1 << 18  # a larger compiled program is compiled again for each child
ENCODER = json.JSONEncoder(separators=(",", ":"))
ENCODE_FAST = json.encoder.c_make_encoder and json.encoder.c_make_encoder(
    None, ENCODER.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
)  # what `ENCODER.encode` makes anew for each value
SCAN = json.JSONDecoder().scan_once


def import_random():
    """`random`, seeded. Its hook, which seeds it by chance after each fork, must not be: verdicts are deterministic."""
    hook, os.register_at_fork = os.register_at_fork, lambda **hooks: None
    import random

    os.register_at_fork = hook
    random.seed(0)
    return random.seed


SEED = import_random()
WARM_UP = """f
import sys
from collections import defaultdict
class Pair:
    def __init__(self, one, other=0):
        self.one, self.other = one, other
def f(n, text="a b"):
    found = defaultdict(list)
    for i, x in enumerate(sorted(range(n), key=lambda value: -value)):
        found[x % 3].append(f"{i} {x:.2f}")
    try:
        while Pair(n).one > {1, 2.5}:
            n -= 1
    except TypeError as error:
        print(*map(str, text.split()), sep=",")
    return [n, (1, True), {"a": None}]
print(f(3))
"""


def warm_up():
    """In the worker, once: does what every child will do, so that what Python sets up on first use is there, and opens
    the standard streams, on files in memory as in a child."""
    scratch = [os.memfd_create(name) for name in ("program", "compiled", "stdin", "stdout")]
    os.write(scratch[0], WARM_UP.encode())
    out = open(scratch[3], "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    for _ in range(2):
        name, code, _ = code_of(scratch[0], scratch[1], False)
        names = {"__name__": "warm_up", "print": functools.partial(print, file=out)}
        exec(code, names)
        dumps(wire.encode(names[name](*wire.decode(SCAN("[3]", 0)[0])))).encode()
    out.flush()
    os.dup2(scratch[2], 0)
    os.dup2(scratch[3], 1)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    os.ftruncate(1, 0)
    os.lseek(1, 0, os.SEEK_SET)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    for fd in scratch:
        os.close(fd)


def code_of(program, compiled, is_stdin):
    """(the function's name, empty for a stdin program; the code object; whether it may draw at random). The first child
    of a program compiles it and leaves the code in the file `compiled` for the next."""
    source = read(program)
    name, _, source = (b"", b"", source) if is_stdin else source.partition(b"\n")
    if kept := read(compiled):
        return name.decode(), marshal.loads(kept), b"random" in source
    code = compile(source, "program.py", "exec", dont_inherit=True)
    kept = marshal.dumps(code)
    if len(kept) < min(KEPT_BYTES, resource.getrlimit(resource.RLIMIT_FSIZE)[0] & 0xFFFFFFFF):
        os.pwrite(compiled, kept, 0)
    return name.decode(), code, b"random" in source


def read(fd):
    """The whole of a file in memory."""
    return os.pread(fd, os.lseek(fd, 0, os.SEEK_END), 0)


def sender(fd, body_limit):
    """`send(status, body)`: writes one frame with this process's peak memory; a longer body is an OLE."""
    write, usage, pack, own = os.write, resource.getrusage, wire.FRAME.pack, resource.RUSAGE_SELF

    def send(status, body=b""):
        if len(body) > body_limit:
            status, body = wire.OUTPUT, b""
        frame = pack(len(body), status, usage(own).ru_maxrss) + body
        while frame:
            frame = frame[write(fd, frame) :]

    return send


def load(code, name):
    """Runs the program's top level as the module `name`; returns the module."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(code, module.__dict__)
    return module


def dumps(value):
    """Tagged JSON data as text."""
    return "".join(ENCODE_FAST(value, 0)) if ENCODE_FAST else ENCODER.encode(value)


def answer_calls(code_of_program, orders, inputs, send):
    """Frames: LOADED, then a VALUE or ERROR for each order, which is the size of the input (a list of arguments)."""
    scan, encode, decode, text, seed = SCAN, wire.encode, wire.decode, dumps, SEED
    try:
        name, code, draws = code_of_program()  # seeding costs more than a small test
        names = load(code, "solution").__dict__
        function = names[name] if name in names else getattr(names["Solution"](), name)
    except MemoryError:
        return send(wire.MEMORY)
    except BaseException:
        return send(wire.ERROR)
    send(wire.LOADED)
    while order := os.read(orders, wire.SIZE.size):
        try:
            arguments = decode(scan(os.pread(inputs, *wire.SIZE.unpack(order), 0).decode("ascii"), 0)[0])
            if draws:
                seed(0)
            body = text(encode(function(*arguments))).encode()
        except MemoryError:
            send(wire.MEMORY)
        except BaseException:
            send(wire.ERROR)
        else:
            send(wire.VALUE, body)


def answer_stdin(code_of_program):
    """Runs a whole program on its standard input, as `python program.py` would; exits with its exit code."""
    out = sys.stdout
    code = exit_code(lambda: load(code_of_program()[1], "__main__"))
    for last in (join_threads, atexit._run_exitfuncs, lambda: sys.stdout.flush(), out.flush):
        code = code or exit_code(last)
    os._exit(code)


def join_threads():
    """As Python does before it ends."""
    if "threading" in sys.modules:
        sys.modules["threading"]._shutdown()


def exit_code(function, *arguments):
    """The exit code that Python would give for running the function."""
    try:
        function(*arguments)
    except SystemExit as stop:
        return 0 if stop.code is None else stop.code & 255 if isinstance(stop.code, int) else 1
    except MemoryError:
        return MEMORY_EXIT
    except BaseException:
        return 1
    return 0
