"""Watching one child: its frames, its clocks, its limits, its end. Loaded by the worker without the package."""

import mmap
import os
import select
import sys
import time

import candidate
import wire

COMMANDS = 100  # where the worker keeps the pipe from the judge
HEAD_START_MS = 4
ROOM_FOR = (
    16  # results of full size that one child may send; what comes after is an OLE, and the rest gets a fresh child
)
MAP_NORESERVE = 0x4000


class Request:
    """One program to run: the fixed header; its payload is still in the pipe."""

    def __init__(self, header):
        values = wire.REQUEST.unpack(header)
        self.size, self.tests, self.is_stdin, self.cpu_s, self.wall_s, self.memory_mb, output_kb = values
        self.output_bytes = output_kb << 10


class Run:
    """One child from fork to burial: what it sent, and the time that each test took.

    `outcomes`: (status, cpu_s, wall_s, memory_mb, start and end of its body in `text`), for calls the program's loading
    first; fewer than asked for when the child was lost on the way. A test's times are the child's stamps held between
    what the worker read before and reads now: a slow worker charges nobody, and a false stamp only moves time from one
    of the liar's tests to another within the same limits.

    `text` is a memory map of this run, not heap: `forget` gives it back to the kernel before the next fork, or else the
    next program could find this one's results, which may well be right, in the memory that it inherits."""

    def __init__(self, request, pid, source):
        self.request, self.pid, self.source = request, pid, source
        self.pidfd = os.pidfd_open(pid)
        self.due = 1 if request.is_stdin else 1 + request.tests
        room = (self.due + 1) * wire.FRAME.size + min(self.due, ROOM_FOR) * request.output_bytes + 1
        self.map = mmap.mmap(-1, room, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        self.text = memoryview(self.map)
        self.used = self.parsed = 0
        self.outcomes, self.ready = [], False
        self.cpu_mark, self.wall_mark = 0.0, time.monotonic()

    def forget(self):
        """Ends the life of `text`."""
        self.text.release()
        self.map.close()

    def cpu(self):
        """CPU seconds of the child's threads so far, from the kernel."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def record(self, status, cpu, wall, memory_mb=0.0, body=(0, 0), last=False):
        """One outcome, charged with the time since the one before it; `last` when the child is of no more use."""
        if self.ready and cpu - self.cpu_mark > self.request.cpu_s:
            status, body = wire.TIME, (0, 0)
        self.outcomes.append((status, cpu - self.cpu_mark, wall - self.wall_mark, memory_mb, *body))
        self.cpu_mark, self.wall_mark = cpu, wall
        if last or status in (wire.TIME, wire.MEMORY):
            self.due = len(self.outcomes)

    def watch(self):
        """Until all outcomes are in, the child is gone or a limit is reached. Leaves the child as it is."""
        poll = select.poll()
        poll.register(COMMANDS, 0)  # only to hear that the judge is gone
        poll.register(self.pidfd, select.POLLIN)
        if self.request.is_stdin:
            poll.register(self.source, select.POLLIN)
        elif not poll.poll(HEAD_START_MS):  # most programs are done by now, at the price of one awakening
            poll.register(self.source, select.POLLIN)
        while len(self.outcomes) < self.due:
            cpu, now, known = self.cpu(), time.monotonic(), len(self.outcomes)
            left = min(self.request.cpu_s - (cpu - self.cpu_mark), self.request.wall_s - (now - self.wall_mark))
            if left <= 0:
                while self.receive():
                    pass
                if len(self.outcomes) == known:
                    self.record(wire.TIME if self.ready else wire.FAULT, cpu, now, last=True)
                continue
            events = dict(poll.poll(left * 1000 + 1))
            if COMMANDS in events:
                sys.exit()
            if self.source in events and not self.receive():
                poll.unregister(self.source)
            if self.pidfd in events:
                while self.receive():
                    pass
                return

    def receive(self):
        """Takes what the child has written; False when there is no more to take, or no room for more."""
        with self.text[self.used :] as room:
            try:
                count = os.readv(self.source, [room])
            except BlockingIOError:
                return False
        self.used += count
        if not self.ready and self.used >= wire.FRAME.size:
            self.ready = True  # the child's first frame is ours: it is confined and about to start the program
            self.parsed = wire.FRAME.size
        if not self.request.is_stdin:
            self.take_frames()
        if self.used == len(self.text) and len(self.outcomes) < self.due:
            self.record(wire.OUTPUT, self.cpu(), time.monotonic(), last=True)
        return count > 0 and len(self.outcomes) < self.due

    def take_frames(self):
        """Outcomes from the complete frames that are not yet parsed. One that claims too much is an OLE and the last."""
        cpu, now = self.cpu(), time.monotonic()
        while self.used - self.parsed >= wire.FRAME.size and len(self.outcomes) < self.due:
            size, status, cpu_stamp, wall_stamp, memory_kb = wire.FRAME.unpack_from(self.text, self.parsed)
            if size > self.request.output_bytes:
                return self.record(wire.OUTPUT, cpu, now, last=True)
            start = self.parsed + wire.FRAME.size
            if self.used < start + size:
                return None
            self.parsed = start + size
            loading = not self.outcomes
            if status not in (wire.LOADED if loading else wire.VALUE, wire.MEMORY, wire.OUTPUT):
                status = wire.ERROR
            cpu_stamp = cpu_stamp if self.cpu_mark <= cpu_stamp <= cpu else cpu
            wall_stamp = wall_stamp if self.wall_mark <= wall_stamp <= now else now
            last = loading and status != wire.LOADED
            self.record(status, cpu_stamp, wall_stamp, memory_kb / 1024, (start, self.parsed), last)

    def finish(self):
        """After the child was killed or has exited: buries it, and gives the verdict that is still owed, if one is."""
        cpu, now = self.cpu(), time.monotonic()
        _, status, usage = os.wait4(self.pid, 0)
        os.close(self.source)
        os.close(self.pidfd)
        if len(self.outcomes) >= self.due:
            return
        code, memory_mb = os.waitstatus_to_exitcode(status), usage.ru_maxrss / 1024
        if not self.ready:
            self.record(wire.FAULT, cpu, now, last=True)
        elif self.request.is_stdin and code == 0:
            self.record(wire.VALUE, cpu, now, memory_mb, (self.parsed, self.used))
        else:
            ran_out = self.request.is_stdin and code == candidate.MEMORY_EXIT
            self.record(wire.MEMORY if ran_out else wire.ERROR, cpu, now, memory_mb, last=True)
