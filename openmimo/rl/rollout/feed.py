"""An engine behind task numbers: samples wait here until a slot is free, whole groups come out with their times.

feed = Feed(engine, slots=8); feed.start(3, requests); while feed.busy: partly, done = feed.work()
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from openmimo.infer.engine import Engine, Event, Request

Place = tuple[int, int]  # task, sample


@dataclass(frozen=True)
class Done:
    """A task's responses in sample order. began, prefilled, ended: of each sample, when it got a slot, when the step
    was over that computed its prompt, when it left; seconds of time.monotonic, which all processes of one machine share."""

    n: int
    events: list[Event]
    began: list[float]
    prefilled: list[float]
    ended: list[float]


class Feed:
    """Only as many samples are given to the engine as it has slots, so that who waits and who decodes is known here."""

    def __init__(self, engine: Engine, slots: int):
        self.engine, self.slots = engine, slots
        self.waiting: deque[tuple[Place, Request]] = deque()
        self.places: dict[int, Place] = {}  # the engine's id -> whose sample
        self.parts: dict[int, dict[int, tuple[float, float, float, Event]]] = {}
        self.sizes: dict[int, int] = {}
        self.began: dict[Place, list[float]] = {}  # and, a step later, prefilled
        self.steps: list[tuple[int, int, float]] = []  # rows decoded, samples admitted, seconds; since `take_steps`

    @property
    def busy(self) -> bool:
        return bool(self.waiting or self.places)

    def start(self, n: int, requests: list[Request]) -> None:
        self.sizes[n], self.parts[n] = len(requests), {}
        self.waiting.extend(((n, i), request) for i, request in enumerate(requests))

    def abort(self, n: int) -> None:
        """Drops all samples of n; of an unknown n nothing."""
        self.waiting = deque(item for item in self.waiting if item[0][0] != n)
        for request_id in [r for r, place in self.places.items() if place[0] == n]:
            self.engine.abort(request_id)
            del self.began[self.places.pop(request_id)]
        self.parts.pop(n, None)

    def clear(self) -> None:
        self.waiting.clear()
        for n in list(self.parts):
            self.abort(n)

    def work(self) -> tuple[list[int], list[Done]]:
        """One step of the engine. Returns the task of each sample that is complete with it while others of its task
        are not, and the tasks that are complete."""
        now, admitted = time.monotonic(), 0
        while self.waiting and len(self.places) < self.slots:
            place, request = self.waiting.popleft()
            self.places[self.engine.add(request)] = place
            self.began[place] = [now]
            admitted += 1
        rows = len(self.places)
        events = self.engine.step()
        end = time.monotonic()
        self.steps.append((rows, admitted, end - now))
        for times in list(self.began.values())[-admitted:] if admitted else ():
            times.append(end)
        partly, done = [], []
        for event in events:
            if event.finish_reason is None:
                continue
            n, i = place = self.places.pop(event.id)
            self.parts[n][i] = (*self.began.pop(place), end, event)
            if len(self.parts[n]) == self.sizes[n]:
                parts = [part for _, part in sorted(self.parts.pop(n).items())]
                began, prefilled, ended, found = map(list, zip(*parts, strict=True))
                done.append(Done(n, found, began, prefilled, ended))
            else:
                partly.append(n)
        return partly, done

    def take_steps(self) -> list[tuple[int, int, float]]:
        """(rows, samples admitted, seconds) of the steps since the last call: what the simulator is calibrated with."""
        steps, self.steps = self.steps, []
        return steps
