"""Work spread over judges elsewhere: whoever is free takes the next items, and a dead one's are taken by the others.

    spread(items, lanes, patience_s=60)  ->  a result for every item, in order

A lane is one conversation with one judge. It raises `Lost` when the judge is gone: the items go back to the front of the
queue, and the lane asks from time to time whether it is there again. It raises `Busy` when the judge has no room. So
every item has one result in the end: a lane that failed has delivered none of its items, a lane that answered all. With
every lane gone for `patience_s`, and on bad input, there is an error and no result.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from openmimo.errors import UserError

ASK_AGAIN_S = 0.5


class Lost(Exception):
    """The judge does not answer."""


class Busy(Exception):
    """The judge has no room now. `retry_after`: seconds."""

    def __init__(self, retry_after: float):
        super().__init__(f"busy for {retry_after} s")
        self.retry_after = retry_after


class Lane(Protocol):
    name: str  # of the judge, for an error's line
    size: int  # items that it takes at once

    def send(self, items: list) -> list:
        """A result for each item. Lost, Busy, UserError."""

    def alive(self) -> bool:
        """Whether a lost judge is there again."""


class Spread:
    """What the lanes' threads share."""

    def __init__(self, items: Sequence[Any], lanes: Sequence[Lane], patience_s: float):
        self.items, self.lanes, self.patience_s = items, lanes, patience_s
        self.waiting: deque[int] = deque(range(len(items)))
        self.results: dict[int, Any] = {}
        self.lost: set[int] = set()  # lanes
        self.all_lost_since = 0.0
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def over(self) -> bool:
        return self.error is not None or len(self.results) == len(self.items)

    def work(self, number: int) -> None:
        """One lane's thread."""
        lane = self.lanes[number]
        try:
            while (taken := self.take(lane)) is not None:
                try:
                    results = lane.send([self.items[i] for i in taken])
                    if len(results) != len(taken):
                        raise UserError(f"judge {lane.name}: {len(results)} results for {len(taken)} items")
                except Busy as busy:
                    self.give_back(taken, busy.retry_after)
                except Lost:
                    with self.changed:
                        self.lost.add(number)
                        self.all_lost_since = time.monotonic()
                    self.give_back(taken, 0)
                    self.await_return(number)
                else:
                    with self.changed:
                        assert not self.results.keys() & set(taken), "an item has two results"
                        self.results |= zip(taken, results, strict=True)
                        self.changed.notify_all()
        except BaseException as error:  # it is the caller's: a thread must not keep it
            with self.changed:
                self.error = self.error or error
                self.changed.notify_all()

    def take(self, lane: Lane) -> list[int] | None:
        """The next items for the lane, a fair share of what waits; None when all is over."""
        with self.changed:
            while not self.waiting and not self.over():
                self.changed.wait()
            if self.over():
                return None
            count = min(lane.size, -(-len(self.waiting) // len(self.lanes)))
            return [self.waiting.popleft() for _ in range(count)]

    def give_back(self, taken: list[int], pause_s: float) -> None:
        """Puts the items to the front of the queue; then pauses, but not beyond the end."""
        with self.changed:
            self.waiting.extendleft(reversed(taken))
            self.changed.notify_all()
            if pause_s:
                self.changed.wait_for(self.over, timeout=pause_s)

    def await_return(self, number: int) -> None:
        """Until the lane's judge is there again, or all is over. An error when every lane is lost for too long."""
        while True:
            with self.changed:
                if self.changed.wait_for(self.over, timeout=ASK_AGAIN_S):
                    return
            if self.lanes[number].alive():
                with self.changed:
                    self.lost.discard(number)
                return
            with self.changed:
                gone = time.monotonic() - self.all_lost_since
                if len(self.lost) == len(self.lanes) and gone > self.patience_s and not self.over():
                    names = ", ".join(sorted({lane.name for lane in self.lanes}))
                    raise UserError(f"no judge has answered for {gone:.0f} s ({names}); start one, then go on")


def spread(items: Sequence[Any], lanes: Sequence[Lane], patience_s: float) -> list[Any]:
    """A result for every item, in order; see the module."""
    shared = Spread(items, lanes, patience_s)
    threads = [threading.Thread(target=shared.work, args=(n,), daemon=True) for n in range(len(lanes))]
    for thread in threads:
        thread.start()
    with shared.changed:
        try:
            shared.changed.wait_for(shared.over)
        except BaseException as error:  # Ctrl-C: the threads are to end too
            shared.error = error
            shared.changed.notify_all()
            raise
    if shared.error:
        raise shared.error
    return [shared.results[i] for i in range(len(items))]
