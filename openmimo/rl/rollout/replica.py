"""A simulated engine: slots that share the time of a decode step, samples that leave one by one. For `simulate`.

Every active sample gets one token a decode step, so a replica's clock of tokens runs at `rate(active)`, and a sample
that enters at token v leaves at v + its length. Nothing is done between events.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush


class Replica:
    """Times in seconds, progress in tokens. rates[a]: tokens a second of each sample when a are active."""

    __slots__ = (
        "rates", "slots", "now", "token", "heap", "active", "waiting", "left", "held", "began", "intervals", "lost",
        "gone", "stalled", "start_s", "version",
    )  # fmt: skip

    def __init__(self, rates: list[float], slots: int, start_s: float):
        self.rates, self.slots, self.start_s = rates, slots, start_s
        self.now = self.token = self.stalled = 0.0
        self.heap: list[tuple[float, int, float]] = []  # (token at which it leaves, task, length)
        self.active = self.version = 0
        self.waiting: deque[tuple[int, float]] = deque()
        self.left: dict[int, int] = {}  # samples of a task that are not complete
        self.held: dict[int, float] = {}  # slot-seconds of a task's samples
        self.began: dict[int, float] = {}
        self.intervals: list[tuple[float, float, int]] = []  # of complete tasks: from, to, number
        self.lost: list[tuple[float, float, int]] = []  # of aborted ones
        self.gone: set[int] = set()

    def advance(self, now: float) -> None:
        """Moves the token clock; a prompt that is computed holds it up."""
        since = self.now if self.now > self.stalled else self.stalled
        if now > since and self.active:
            self.token += (now - since) * self.rates[self.active]
        self.now = now

    def start(self, n: int, lengths: list[float], now: float) -> None:
        self.advance(now)
        self.left[n], self.held[n] = len(lengths), 0.0
        self.waiting += [(n, length) for length in lengths]
        self._fill()

    def _fill(self) -> None:
        now, token, heap, waiting, began, held = self.now, self.token, self.heap, self.waiting, self.began, self.held
        free = self.slots - self.active
        while waiting and free:
            n, length = waiting.popleft()
            if n not in began:
                began[n] = now
                if self.start_s:
                    self.stalled = max(self.stalled, now) + self.start_s
            heappush(heap, (token + length, n, length))
            free -= 1
            held[n] -= now
        self.active = self.slots - free

    def next(self) -> float | None:
        """When the next sample leaves, if nothing changes."""
        heap, gone = self.heap, self.gone
        while heap and heap[0][1] in gone:
            heappop(heap)
        if not heap:
            return None
        since = self.now if self.now > self.stalled else self.stalled
        ahead = heap[0][0] - self.token
        return since + ahead / self.rates[self.active] if ahead > 0.0 else since

    def leave(self, now: float) -> list[tuple[int, float | None]]:
        """At the time of `next`: samples leave, waiting ones enter. Returns the task of each sample, with the
        slot-seconds of the task where it was its last."""
        heap, gone, left, held, leaving = self.heap, self.gone, self.left, self.held, []
        self.advance(now)
        limit = self.token = max(self.token, heap[0][0])
        while heap and heap[0][0] <= limit:
            n = heappop(heap)[1]
            if n in gone:
                continue
            self.active -= 1
            left[n] -= 1
            if left[n]:
                held[n] += now
                leaving.append((n, None))
            else:
                leaving.append((n, held.pop(n) + now))
                self.intervals.append((self.began.pop(n), now, n))
                del left[n]
        if self.waiting:
            self._fill()
        return leaving

    def abort(self, n: int, now: float) -> tuple[int, float, float]:
        """Drops a task; returns its samples that were not complete, the slot-seconds and the tokens spent on it."""
        self.advance(now)
        running = [(end, length) for end, m, length in self.heap if m == n]
        tokens = sum(length - (end - self.token) for end, length in running)
        self.active -= len(running)
        held = self.held.pop(n) + len(running) * now
        if len(self.waiting) and any(m == n for m, _ in self.waiting):
            self.waiting = deque(item for item in self.waiting if item[0] != n)
        self.gone.add(n)
        left = self.left.pop(n)
        if n in self.began:
            self.lost.append((self.began.pop(n), now, n))
        self._fill()
        return left, held, tokens

    def busy(self, aborted: set[int] = frozenset()) -> float:
        """Seconds in which it worked on a task that was completed: the union of their intervals."""
        total, end = 0.0, float("-inf")
        for began, ended, n in sorted(self.intervals):
            if ended > end and n not in aborted:
                total += ended - max(began, end)
                end = ended
        return total
