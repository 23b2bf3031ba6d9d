"""An engine in a thread of its own, for servers: requests come in from any thread, events go out by callback.

with EngineLoop(engine) as loop: ticket = loop.submit(request, deliver); loop.abort(ticket)
"""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from openmimo.errors import UserError
from openmimo.infer.engine import Engine
from openmimo.infer.request import Event, Request


@dataclass(eq=False)
class Ticket:
    """A request under way. deliver is called in the engine's thread with each event, or with the error that ends it."""

    request: Request
    deliver: Callable[[Event | Exception], None]
    id: int | None = None


class EngineLoop(threading.Thread):
    """The only thread that touches the engine. `counts`: requests by how they ended, tokens in and out."""

    def __init__(self, engine: Engine):
        super().__init__(daemon=True, name="engine")
        self.engine, self.tickets, self.counts = engine, {}, Counter()
        self.inbox: queue.SimpleQueue[tuple[str, Ticket | None]] = queue.SimpleQueue()
        self.error: Exception | None = None

    def __enter__(self) -> EngineLoop:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.inbox.put(("stop", None))
        self.join()

    def submit(self, request: Request, deliver: Callable[[Event | Exception], None]) -> Ticket:
        """Queues a request."""
        ticket = Ticket(request, deliver)
        self.inbox.put(("add", ticket))
        return ticket

    def abort(self, ticket: Ticket) -> None:
        """Drops a request, whatever its state; nothing is delivered afterwards."""
        self.inbox.put(("abort", ticket))

    def run(self) -> None:
        try:
            while self._serve():
                for event in self.engine.step() if self.engine.busy else ():
                    self._deliver(event)
        except Exception as error:  # the server goes on to say so: /health, and every request
            self.error = error
            for ticket in [*self.tickets.values()]:
                ticket.deliver(error)
            self._refuse(error)

    def _serve(self) -> bool:
        """Takes what has come in, waiting for it where nothing runs; False when the loop shall end."""
        wait = not self.engine.busy
        while wait or not self.inbox.empty():
            what, ticket = self.inbox.get()
            if what == "stop":
                return False
            if what == "add":
                self._add(ticket)
            elif ticket.id in self.tickets:
                self.engine.abort(ticket.id)
                del self.tickets[ticket.id]
                self.counts["abort"] += 1
            wait = not self.engine.busy
        return True

    def _add(self, ticket: Ticket) -> None:
        try:
            ticket.id = self.engine.add(ticket.request)
        except UserError as error:
            ticket.deliver(error)
            return
        self.tickets[ticket.id] = ticket
        self.counts["prompt_tokens"] += len(ticket.request.prompt)

    def _deliver(self, event: Event) -> None:
        ticket = self.tickets[event.id]
        self.counts["tokens"] += len(event.token_ids)
        if event.finish_reason:
            del self.tickets[event.id]
            self.counts[event.finish_reason] += 1
        ticket.deliver(event)

    def _refuse(self, error: Exception) -> None:
        """After a failure: every further request gets it too."""
        while True:
            what, ticket = self.inbox.get()
            if what == "stop":
                return
            if what == "add":
                ticket.deliver(error)
