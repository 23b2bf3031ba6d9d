"""What runs in the child, beside the candidate's own code: load the program, feed it inputs, hand back data.

Nothing here is a secret or a guard: the program may read and patch all of it and only spoils its own answers, since the
expected outputs are elsewhere and time, memory and processes are limited from outside. Loaded by the worker without
the package.
"""

import atexit
import io
import json
import os
import random
import resource
import sys
import threading
import time
import types

import wire

ENCODER = json.JSONEncoder(separators=(",", ":"))
MEMORY_EXIT = 87  # a stdin program that ran out of memory says so by this exit code


def sender(fd, body_limit):
    """`send(status, body)`: writes one frame with this process's clocks and peak memory; a longer body is an OLE."""
    write, cpu, clock, usage, pack = os.write, time.process_time, time.monotonic, resource.getrusage, wire.FRAME.pack

    def send(status, body=b""):
        if len(body) > body_limit:
            status, body = wire.OUTPUT, b""
        frame = pack(len(body), status, cpu(), clock(), usage(resource.RUSAGE_SELF).ru_maxrss) + body
        while frame:
            frame = frame[write(fd, frame) :]

    return send


def load(program, name):
    """Runs the program's top level as the module `name`; returns the module."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    exec(compile(program, "program.py", "exec", dont_inherit=True), module.__dict__)
    return module


def answer_calls(program, entry_point, inputs, send):
    """Frames LOADED, then one VALUE or ERROR for each input (a list of arguments), in order; ends early on MEMORY, since
    what is left of the process cannot be trusted with the next test."""
    dumps, encode, decode, seed = ENCODER.encode, wire.encode, wire.decode, random.seed
    draws = "random" in program  # seeding costs more than a small test
    try:
        names = load(program, "solution").__dict__
        function = names[entry_point] if entry_point in names else getattr(names["Solution"](), entry_point)
    except MemoryError:
        return send(wire.MEMORY)
    except BaseException:
        return send(wire.ERROR)
    send(wire.LOADED)
    for arguments in inputs:
        try:
            if draws:
                seed(0)
            body = dumps(encode(function(*decode(arguments)))).encode()
        except MemoryError:
            return send(wire.MEMORY)
        except BaseException:
            send(wire.ERROR)
        else:
            send(wire.VALUE, body)


def answer_stdin(program, text):
    """Runs a whole program on `text` as its standard input, as `python program.py` would; exits with its exit code."""
    feed(text.encode("utf-8", "surrogateescape"))
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)
    out = sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)
    code = exit_code(load, program, "__main__")
    for last in (threading._shutdown, atexit._run_exitfuncs, lambda: sys.stdout.flush(), out.flush):
        code = code or exit_code(last)
    os._exit(code)


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


def feed(data):
    """Makes `data` what file descriptor 0 reads, as an anonymous file: it neither blocks nor needs a reader."""
    fd = os.memfd_create("stdin")
    with io.FileIO(fd, "w", closefd=False) as file:
        while data:
            data = data[file.write(data) :]
    os.lseek(fd, 0, os.SEEK_SET)
    os.dup2(fd, 0)
    os.close(fd)
