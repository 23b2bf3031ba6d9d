"""Watching one child: its clocks, its limits, its frames, its end. Loaded by the worker without the package."""

import mmap
import os
import select
import struct
import sys
import time

import wire
from bury import family

COMMANDS = 100  # where the worker keeps the pipe from the judge
READY = COMMANDS + 2  # an event counter: a child adds one when it is confined and about to read the program
CENSUS_S = 0.05  # how often a child's descendants are counted
ROOM_FOR = 16  # results of full size that one request may bring; what comes after is an OLE
MAP_NORESERVE = 0x4000


class Request:
    """One program and its tests: the header is here, the inputs are still in the pipe. `outcomes`: (status, cpu_s,
    wall_s, memory_mb, start and end of its body in `text`), for calls the program's loading first.

    `text` is a map that no child inherits (MADV_DONTFORK), not heap: or else a program could find the results of the ones
    before it, which may well be right, in its own memory. The program and its inputs are files in memory for the same
    reason: the kernel moves them there, and they never pass through the worker's heap."""

    def __init__(self, header):
        values = wire.REQUEST.unpack(header)
        self.size, tests, self.is_stdin, self.cpu_s, self.wall_s, self.memory_mb, output_kb = values
        self.sizes = struct.unpack(f"<{tests}I", read_exactly(COMMANDS, tests * wire.SIZE.size))
        self.output_bytes = output_kb << 10
        self.program, self.compiled, self.input = (os.memfd_create(name) for name in ("program", "compiled", "input"))
        take(self.size, self.program)
        room = min(tests + 1, ROOM_FOR) * (self.output_bytes + 1) + (tests + 2) * wire.FRAME.size
        self.map = mmap.mmap(-1, room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        self.map.madvise(mmap.MADV_DONTFORK)
        self.text, self.used, self.outcomes = memoryview(self.map), 0, []

    def receive(self, fd):
        """Moves what can be read from fd behind the text; the bytes moved. BlockingIOError: nothing there yet."""
        with self.text[self.used :] as room:
            count = os.readv(fd, [room])
        self.used += count
        return count

    def close(self):
        self.text.release()
        self.map.close()
        for fd in (self.program, self.compiled, self.input):
            os.close(fd)


class Child:
    """One child from its fork on. The marks are where the test under way began."""

    def __init__(self, request, pid, walls, source=None):
        """source: the pipe that a calls child writes its frames to."""
        self.request, self.pid, self.proc, self.source = request, pid, walls.proc, source
        self.pidfd = os.pidfd_open(pid)
        self.poll = select.poll()
        self.poll.register(COMMANDS, 0)  # only to hear that the judge is gone
        self.poll.register(self.pidfd, select.POLLIN)
        if source is not None:
            self.poll.register(source, select.POLLIN)
        self.cpu_mark = self.delay_mark = 0.0
        self.wall_mark = time.monotonic()

    def cpu(self):
        """CPU seconds of the child's threads so far, from the kernel."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def spent(self):
        """(CPU seconds, wall seconds) since the marks, which move to now."""
        cpu, now = self.cpu(), time.monotonic()
        cpu_s, wall_s = cpu - self.cpu_mark, now - self.wall_mark
        if wall_s > CENSUS_S:
            self.delay_mark = self.delay()
        self.cpu_mark, self.wall_mark = cpu, now
        return cpu_s, wall_s

    def delay(self):
        """Seconds in which the child could have run and had to wait for the CPU; 0 where the kernel does not say."""
        try:
            with open(os.open(f"{self.pid}/schedstat", os.O_RDONLY, dir_fd=self.proc)) as file:
                return int(file.read().split()[1]) / 1e9
        except (OSError, TypeError):
            return 0.0

    def wait(self, fresh=True):
        """Descriptors with news: `pidfd` when the child has ended, `source` when it has written; or the status of a
        limit that was reached: TIME, MEMORY. Time in which others had the CPU does not count as wall time. fresh: the
        marks have just been set, so no clock need be read before the first news."""
        request, delay = self.request, 0.0
        left = min(request.cpu_s, request.wall_s)
        while True:
            if not fresh:
                cpu_s, wall_s = self.cpu() - self.cpu_mark, time.monotonic() - self.wall_mark - delay
                if wall_s >= request.wall_s and cpu_s < request.cpu_s:
                    known, delay = delay, self.delay() - self.delay_mark
                    wall_s += known - delay
                left = min(request.cpu_s - cpu_s, request.wall_s - wall_s)
                if left <= 0:
                    return wire.TIME
            fresh = False
            events = [fd for fd, _ in self.poll.poll(min(left, CENSUS_S) * 1000 + 1)]
            if COMMANDS in events:
                sys.exit()
            if events:
                return events
            if status := self.census():
                return status

    def census(self):
        """The status of a limit that the child breaks together with what it has started; None while it keeps them."""
        cpu = memory = 0
        pids = family(self.proc)
        if len(pids) > 1:
            for pid in pids:
                try:
                    cpu += time.clock_gettime(~pid << 3 | 2)
                    with open(os.open(f"{pid}/smaps_rollup", os.O_RDONLY, dir_fd=self.proc)) as file:
                        memory += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
                except OSError:  # it has just ended
                    continue
        if memory >> 10 > self.request.memory_mb:
            return wire.MEMORY
        return wire.TIME if cpu - self.cpu_mark > self.request.cpu_s else None

    def frame(self):
        """The child's next frame: (status, memory_mb, start and end of its body in the text)."""
        request, start = self.request, self.request.used
        body, fresh = start + wire.FRAME.size, True
        while True:
            news, fresh = self.wait(fresh), False
            if type(news) is bytes:
                return news, 0.0, 0, 0
            if self.source not in news or not self.receive():
                return wire.ERROR, 0.0, 0, 0
            if request.used < body:
                continue
            size, status, memory_kb = wire.FRAME.unpack_from(request.text, start)
            if size > request.output_bytes or request.used == len(request.text):
                return wire.OUTPUT, 0.0, 0, 0
            if request.used > body + size:  # more than it was asked for
                return wire.ERROR, 0.0, 0, 0
            if request.used == body + size:
                return status, memory_kb / 1024, body, request.used

    def receive(self):
        """Whether there was something to read: False at the end of the pipe."""
        try:
            return self.request.receive(self.source) > 0
        except BlockingIOError:
            return True


def is_ready():
    """Whether the last child got as far as the program; asked once for each child."""
    try:
        return os.eventfd_read(READY) > 0
    except BlockingIOError:
        return False


def take(size, fd):
    """Moves the next `size` bytes from the judge to the start of the file, inside the kernel."""
    done = 0
    while done < size:
        done += os.splice(COMMANDS, fd, size - done, offset_dst=done) or sys.exit()


def read_exactly(fd, size):
    """`size` bytes, or fewer where the pipe was closed before."""
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data
