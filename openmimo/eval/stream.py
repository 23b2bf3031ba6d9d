"""All tasks of an evaluation at once, judged beside generation as they complete [R 3.4, Table 3].

found = stream(engine, slots, requests, judge)    # requests: a list a problem; judge: (problem's number, events) -> T

Nothing is dropped here, so there is no policy: every sample waits for a slot, and a problem whose samples are complete
goes to the judge in a thread, while the engine works on. The judges themselves are processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from openmimo.infer.engine import Engine, Event, Request
from openmimo.rl.rollout.feed import Feed

T = TypeVar("T")


def stream(
    engine: Engine, slots: int, requests: list[list[Request]], judge: Callable[[int, list[Event]], T]
) -> Iterator[tuple[int, T]]:
    """Yields (problem's number, what `judge` says) as they come. Raises what `judge` raises."""
    feed = Feed(engine, slots)
    for number, of_problem in enumerate(requests):
        feed.start(number, of_problem)
    waiting: dict[Future, int] = {}
    with ThreadPoolExecutor(1, "judge") as thread:
        try:
            while feed.busy or waiting:
                for done in feed.work()[1] if feed.busy else ():
                    waiting[thread.submit(judge, done.n, done.events)] = done.n
                ready = wait(waiting, 0 if feed.busy else None, FIRST_COMPLETED).done if waiting else ()
                for future in ready:
                    yield waiting.pop(future), future.result()
        finally:
            feed.clear()
            thread.shutdown(cancel_futures=True)
