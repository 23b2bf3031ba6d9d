"""All tasks of an evaluation at once, judged beside generation as they complete [R 3.4, Table 3].

found = stream(engine, slots, requests, judge)    # requests: a list a problem; judge: (problem's number, events) -> [T]

Nothing is dropped here, so there is no policy: every sample waits for a slot, and a problem whose samples are complete
goes to the judge in a thread, while the engine works on. A judge that has nothing to do takes what there is of a problem
that is not complete, so that little is left when the engine is done. The judges themselves are processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from openmimo.infer.engine import Engine, Event, Request
from openmimo.rl.rollout.feed import Feed

T = TypeVar("T")


def stream(
    engine: Engine, slots: int, requests: list[list[Request]], judge: Callable[[int, list[Event]], list[T]]
) -> Iterator[tuple[int, list[tuple[Event, T]]]]:
    """Yields (problem's number, each sample's event and what `judge` says of it) as problems are judged. Raises what
    `judge` raises."""
    feed, places = Feed(engine, slots), []  # (problem, sample) by the feed's numbers
    for number, of_problem in enumerate(requests):
        for sample, request in enumerate(of_problem):
            feed.start(len(places), [request])
            places.append((number, sample))
    generating = [len(of_problem) for of_problem in requests]
    ready: dict[int, dict[int, Event]] = {}  # complete, not given to the judge
    found: list[dict[int, tuple[Event, T]]] = [{} for _ in requests]
    waiting: dict[Future, tuple[int, dict[int, Event]]] = {}
    with ThreadPoolExecutor(1, "judge") as thread:

        def give(number: int) -> None:
            events = ready.pop(number)
            waiting[thread.submit(judge, number, [*events.values()])] = number, events

        try:
            while feed.busy or waiting:
                for done in feed.work()[1] if feed.busy else ():
                    number, sample = places[done.n]
                    ready.setdefault(number, {})[sample] = done.events[0]
                    generating[number] -= 1
                    if not generating[number]:
                        give(number)
                if ready and not waiting:
                    give(max(ready, key=lambda number: len(ready[number])))
                for future in wait(waiting, 0 if feed.busy else None, FIRST_COMPLETED).done if waiting else ():
                    number, events = waiting.pop(future)
                    judged = zip(events, events.values(), future.result(), strict=True)
                    found[number].update({sample: (event, one) for sample, event, one in judged})
                    if len(found[number]) == len(requests[number]):
                        yield number, [found[number][sample] for sample in range(len(requests[number]))]
        finally:
            feed.clear()
            thread.shutdown(cancel_futures=True)
