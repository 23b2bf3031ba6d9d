"""The worker: a small warm process that forks one confined child for each program and reports what became of it.

    python -s -S -B worker.py RUNG BOX        (`pool.Judge` starts it; see there)

    Judge ==request==> worker --splice--> child: program, inputs
    Judge <==reply==== worker <--frames-- child: results as data, or its standard output

It is a program of its own, started before and apart from anything heavy: forking it takes under a millisecond, forking a
process that holds torch a hundred. Expected outputs never come here. The program and its inputs do not either: they pass
through by splice, so a child's inherited memory holds nothing of the programs before it. Environment: PYTHONHASHSEED
alone. Results are kept outside the heap until they are sent, so the next child does not inherit them either. The imports below are those that programs use most; a child finds them loaded.
"""

import bisect  # noqa: F401
import builtins
import collections  # noqa: F401
import copy  # noqa: F401
import dataclasses  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import fractions  # noqa: F401
import functools  # noqa: F401
import gc
import hashlib  # noqa: F401
import heapq  # noqa: F401
import itertools  # noqa: F401
import json
import math  # noqa: F401
import os
import random
import re  # noqa: F401
import signal
import statistics  # noqa: F401
import string  # noqa: F401
import sys
import typing  # noqa: F401

import candidate
import wire
from bury import clear, end_all
from confine import Walls
from watch import COMMANDS, Request, Run

REPLIES = COMMANDS + 1  # where the pipe to the judge is moved; no child keeps either
RESULT = 3  # a child's only open file besides 0, 1 and 2; a child's pipe must not land here, so the worker occupies it


def start(request, walls, folder):
    """Forks a child for the request and passes it its payload; returns its `Run`."""
    payload, payload_end = os.pipe()
    source, source_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            live(request, walls, folder, payload, source_end)
        except OSError as error:
            os.write(2, f"openmimo judge: a child could not start: {error}\n".encode())
        finally:
            os._exit(1)
    os.close(payload)
    os.close(source_end)
    os.set_blocking(source, False)
    run = Run(request, pid, source)
    pass_on(request.size, payload_end)
    os.close(payload_end)
    return run


def pass_on(left, payload_end):
    """Moves the payload from the judge's pipe to the child's inside the kernel; drops what a dead child leaves."""
    null = None
    while left:
        try:
            moved = os.splice(COMMANDS, payload_end if null is None else null, left)
        except BrokenPipeError:
            null = RESULT  # /dev/null here
            continue
        left -= moved or sys.exit()


def live(request, walls, folder, payload, source):
    """The child's whole life: confine itself, read its payload, say so, run the program."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    walls.enter(folder, request.cpu_s * (1 + request.tests), request.memory_mb)
    job = json.loads(read_exactly(payload, request.size))
    out = 1 if request.is_stdin else RESULT
    os.dup2(source, out)
    os.dup2(0, 2)
    os.closerange(max(out, 2) + 1, 1024)
    send = candidate.sender(out, request.output_bytes)
    send(wire.READY)
    gc.enable()
    if request.is_stdin:
        candidate.answer_stdin(job["program"], job["stdin"])
    else:
        candidate.answer_calls(job["program"], job["entry_point"], job["inputs"], send)


def serve(walls):
    """Requests from the judge until it closes the pipe."""
    number = 0
    while header := read_exactly(COMMANDS, wire.REQUEST.size):
        request, number = Request(header), number + 1
        folder = f"{walls.box}/{number}"
        os.mkdir(folder, 0o700)
        run = start(request, walls, folder)
        try:
            run.watch()
        finally:
            end_all(run, walls)
            clear(walls.box)
        reply(run)
        run.forget()


def read_exactly(fd, size):
    """`size` bytes, or fewer where the pipe was closed before."""
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data


def reply(run):
    """All outcomes of one program in one message."""
    heads = b"".join(wire.OUTCOME.pack(*outcome) for outcome in run.outcomes)
    write(wire.REPLY.pack(len(run.outcomes), run.used) + heads)
    with run.text[: run.used] as text:
        write(text)


def write(data):
    """All of `data` to the judge."""
    sent = 0
    while sent < len(data):
        sent += os.write(REPLIES, data[sent:])


def main():
    rung, box = sys.argv[1:]
    os.dup2(0, COMMANDS)
    os.dup2(1, REPLIES)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, RESULT):
        os.dup2(null, fd)
    del sys.path[0], sys.argv[1:]
    os.environ.clear()
    builtins.exit = builtins.quit = sys.exit
    random.seed(0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        walls = Walls(rung, box)
    except OSError:
        sys.exit(3)  # not on this machine; the judge tries the next rung
    gc.disable()
    gc.freeze()
    try:
        write(b"ready\n")
    except BrokenPipeError:
        sys.exit()  # the judge has gone
    serve(walls)


if __name__ == "__main__":
    main()
