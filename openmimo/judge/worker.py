"""The worker: a small warm process that forks one confined child for each program or test and reports what became of it.

    python -s -S -P -c 'import worker; worker.main()' RUNG BOX CPU        (`leash.Worker` starts it; see there)

    Judge ==request==> worker --files in memory--> child: program, input
    Judge <==reply==== worker <--frames----------- child: results as data, or its standard output

It is a program of its own, started before and apart from anything heavy: a child's price is the memory that it shares
with the worker, so the worker imports only what most programs use. Expected outputs never come here, and neither program,
inputs nor results ever lie in the worker's heap (see `watch.Request`), so a child's inherited memory holds nothing of the
programs before it. Environment: PYTHONHASHSEED alone.
"""

import _signal
import builtins
import gc
import os
import signal
import sys

import candidate
import wire
from bury import clear, end_all, end_orphans
from confine import FILE_BYTES, Walls
from watch import COMMANDS, READY, Child, Request, is_ready, read_exactly, take

REPLIES = COMMANDS + 1  # where the pipe to the judge is moved; no child keeps any of the three
TERM = int(signal.SIGTERM)
RESULT, ORDERS, INPUT = 3, 4, 5  # a calls child's open files besides 0, 1 and 2; /dev/null in the worker


def run_stdin(request, walls):
    """Every test in a child of its own, its input and output as files in memory."""
    for size in request.sizes:
        stdin, stdout = os.memfd_create("stdin"), os.memfd_create("stdout")
        take(size, stdin)
        child = start(request, walls, live_for_stdin, stdin, stdout)
        news = child.wait()
        _, wall_s = child.spent()
        ready, (code, cpu_s, memory_mb) = bury(child, walls)
        start_of_body = request.used
        if not ready:
            status = wire.FAULT
        elif os.lseek(stdout, 0, os.SEEK_END) > request.output_bytes:
            status = wire.OUTPUT
        elif type(news) is bytes or cpu_s > request.cpu_s:
            status = news if type(news) is bytes else wire.TIME
        elif code:
            status = wire.MEMORY if code == candidate.MEMORY_EXIT else wire.ERROR
        else:
            status = wire.VALUE
            os.lseek(stdout, 0, os.SEEK_SET)
            while request.receive(stdout):
                pass
        request.outcomes.append((status, cpu_s, wall_s, memory_mb, start_of_body, request.used))
        os.close(stdin)
        os.close(stdout)


def run_calls(request, walls):
    """All tests in one child, one input at a time; a fresh child after each failure. Stops where the program does not
    even load: that is the outcome of all its tests."""
    child = None
    for number, size in enumerate(request.sizes):
        take(size, request.input)
        if child is None:
            child, orders = start_for_calls(request, walls)
            outcome = next_outcome(child, walls, wire.LOADED)
            if number == 0:
                request.outcomes.append(outcome)
            if outcome[0] != wire.LOADED:
                os.close(orders)
                child = None
                if number:
                    request.outcomes.append(outcome)
                    continue
                for left in request.sizes[1:]:
                    take(left, request.input)
                return
        give(orders, wire.SIZE.pack(size))
        outcome = next_outcome(child, walls, wire.VALUE)
        request.outcomes.append(outcome)
        if outcome[0] != wire.VALUE:
            os.close(orders)
            child = None
    if child is not None:
        os.close(orders)
        bury(child, walls)


def start_for_calls(request, walls):
    """A child that loads the program and then waits for orders; (child, the pipe for its orders)."""
    orders, orders_end = os.pipe()
    source, source_end = os.pipe()
    child = start(request, walls, live_for_calls, orders, source_end, source=source)
    os.close(orders)
    os.close(source_end)
    os.set_blocking(source, False)
    return child, orders_end


def next_outcome(child, walls, expected):
    """What the child's next frame means. A status that is not the expected one is the child's end."""
    status, memory_mb, *body = child.frame()
    cpu_s, wall_s = child.spent()
    if cpu_s > child.request.cpu_s and status == expected:
        status = wire.TIME
    if status not in (expected, wire.TIME, wire.MEMORY, wire.OUTPUT):
        status = wire.ERROR
    if status != expected:
        ready, (_, _, peak_mb) = bury(child, walls)
        memory_mb, body = memory_mb or peak_mb, (0, 0)
        status = status if ready else wire.FAULT
    return status, cpu_s, wall_s, memory_mb, *body


def start(request, walls, live, *fds, source=None):
    """Forks a child that lives `live(request, walls, its working folder, *fds)`."""
    folder = f"{walls.box}/work"
    os.mkdir(folder, 0o700)
    pid = os.fork()
    if pid == 0:
        try:
            live(request, walls, folder, *fds)
        except OSError as error:
            os.write(2, f"openmimo judge: a child could not start: {error}\n".encode())
        finally:
            os._exit(1)
    return Child(request, pid, walls, source)


def live_for_stdin(request, walls, folder, stdin, stdout):
    """The child's whole life: confine itself, say so, run the program as `python program.py` would."""
    become(request, walls, folder, 1, request.output_bytes + 1)
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    candidate.answer_stdin(lambda: code_of(request, RESULT))


def live_for_calls(request, walls, folder, orders, result):
    """The child's whole life: confine itself, say so, load the program, answer one order after the other."""
    become(request, walls, folder, 1 + len(request.sizes), FILE_BYTES)
    for fd, place in ((RESULT, 0), (RESULT, 1), (result, RESULT), (orders, ORDERS), (request.input, INPUT)):
        os.dup2(fd, place)
    send = candidate.sender(RESULT, request.output_bytes)
    candidate.answer_calls(lambda: code_of(request, INPUT + 1), ORDERS, INPUT, send)


def become(request, walls, folder, tests, file_bytes):
    """From a copy of the worker to a confined child."""
    _signal.signal(TERM, 0)  # the default; the public `signal.signal` costs a tenth of a child
    walls.enter(folder, request.cpu_s * tests, request.memory_mb, file_bytes)
    os.dup2(RESULT, 2)
    os.eventfd_write(READY, 1)


def code_of(request, first_fd):
    """The program's (function name, code object); everything from `first_fd` on is closed before it is returned."""
    code = candidate.code_of(request.program, request.compiled, request.is_stdin)
    os.closerange(first_fd, 1024)
    gc.enable()
    return code


def give(pipe, data):
    """Writes to a child's orders, whether it still listens or not."""
    try:
        os.write(pipe, data)
    except BrokenPipeError:
        pass


def bury(child, walls):
    """Ends the child and all it started, and empties the box; (whether it got as far as the program, what `end_all`
    says)."""
    end = end_all(child.pid, walls)
    clear(walls.box)
    os.close(child.pidfd)
    if child.source is not None:
        os.close(child.source)
    return is_ready(), end


def serve(walls):
    """Requests from the judge until it closes the pipe."""
    while header := read_exactly(COMMANDS, wire.REQUEST.size):
        request = Request(header)
        (run_stdin if request.is_stdin else run_calls)(request, walls)
        heads = b"".join(wire.OUTCOME.pack(*outcome) for outcome in request.outcomes)
        write(wire.REPLY.pack(len(request.outcomes), request.used) + heads)
        with request.text[: request.used] as text:
            write(text)
        request.close()


def write(data):
    """All of `data` to the judge."""
    sent = 0
    while sent < len(data):
        sent += os.write(REPLIES, data[sent:])


def main():
    rung, box, cpu = sys.argv[1:]
    os.dup2(0, COMMANDS)
    os.dup2(1, REPLIES)
    os.dup2(os.eventfd(0, os.EFD_NONBLOCK), READY)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(RESULT, INPUT + 1):
        os.dup2(null, fd)
    del sys.path[0]
    sys.argv[:], sys.dont_write_bytecode = ["program.py"], True
    os.environ.clear()
    builtins.exit = builtins.quit = sys.exit
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        walls = Walls(rung, box, int(cpu))
    except OSError:
        sys.exit(3)  # not on this machine; the judge tries the next rung
    candidate.warm_up()
    gc.disable()
    gc.freeze()
    try:
        write(b"ready\n")
    except BrokenPipeError:
        sys.exit()  # the judge has gone
    try:
        serve(walls)
    finally:
        if not walls.in_namespaces:  # there, all ends with us
            end_orphans(walls)
