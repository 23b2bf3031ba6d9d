"""The client of judge servers: what `pool.Judge` does, done elsewhere.

    with RemoteJudge(["http://judge-1:8300", "http://judge-2:8300"]) as judge:
        judge.judge_many([(problem, program), ...])       # as Judge.judge_many
        judge.judge_answers([("1/2", "0.5")])

A server that dies, or does not answer in the time that its programs may take, loses its work to the others (`spread`).
A server may come back. Needs the extra `serve`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import httpx

from openmimo.errors import UserError
from openmimo.judge import wire
from openmimo.judge.spread import Busy, Lost, spread
from openmimo.rows import Problem, TestVerdict

CONNECT_S, GRACE_S, PATIENCE_S = 5.0, 60.0, 60.0
LANES = 2  # conversations with a server: one is judged while the next is sent
ANSWER_S = 60.0  # wall seconds that one math answer may take


class RemoteJudge:
    """Judges on several servers. One caller at a time (others wait); usable from any thread."""

    def __init__(self, servers: Sequence[str], patience_s: float = PATIENCE_S):
        """Asks every server how it is; those that do not answer now may come later, but one must. patience_s: how long
        all may be gone, before judging ends with an error."""
        if not servers:
            raise UserError("judge: there are no servers; give at least one address, such as http://host:8300")
        self.lock, self.patience_s = threading.Lock(), patience_s
        self.client = httpx.Client(
            timeout=httpx.Timeout(None, connect=CONNECT_S), limits=httpx.Limits(max_connections=None)
        )
        found = [self.health(server) for server in servers]
        if not any(found):
            self.client.close()
            raise UserError(f"judge: no server answers at {', '.join(servers)}; start one with `openmimo judge serve`")
        self.rung = ", ".join(sorted({state["rung"] for state in found if state}))
        self.servers = [
            (server.rstrip("/"), (state or {}).get("workers", 1)) for server, state in zip(servers, found, strict=True)
        ]

    def health(self, server: str) -> dict[str, Any] | None:
        """What /health says, or None."""
        try:
            reply = self.client.get(f"{server.rstrip('/')}/health", timeout=CONNECT_S)
            return reply.json() if reply.status_code == 200 else None
        except (httpx.TransportError, httpx.InvalidURL, ValueError):
            return None

    def judge_many(self, items: list[tuple[Problem, str]], stop_on_failure: bool = False) -> list[list[TestVerdict]]:
        """As `pool.Judge.judge_many`."""
        for problem, _ in items:
            if problem.kind != "code" or not problem.tests:
                raise UserError(f"problem {problem.id!r}: no verdict without tests; give it tests or leave it out")
        return self._spread(items, ProgramLane, stop_on_failure)

    def judge_answers(self, pairs: list[tuple[str | None, str]]) -> list[str]:
        """As `pool.Judge.judge_answers`."""
        return self._spread(pairs, AnswerLane)

    def _spread(self, items: list, lane: type, *more: Any) -> list:
        with self.lock:
            lanes = [lane(self, place, workers, *more) for place, workers in self.servers for _ in range(LANES)]
            return spread(items, lanes, self.patience_s)

    def close(self) -> None:
        """Ends the connections; safe to call twice."""
        self.client.close()

    def __enter__(self) -> RemoteJudge:
        return self

    def __exit__(self, *_) -> None:
        self.close()


class HttpLane:
    """One conversation with one server."""

    def __init__(self, judge: RemoteJudge, server: str, size: int):
        self.judge, self.name, self.size = judge, server, size

    def alive(self) -> bool:
        return self.judge.health(self.name) is not None

    def post(self, path: str, data: dict[str, Any], patience_s: float) -> list:
        """The verdicts in the server's reply."""
        timeout = httpx.Timeout(patience_s, connect=CONNECT_S)
        try:
            reply = self.judge.client.post(f"{self.name}{path}", content=json.dumps(data).encode(), timeout=timeout)
        except httpx.TransportError:
            raise Lost from None
        if reply.status_code == 429:
            raise Busy(float(reply.headers.get("Retry-After", 1)))
        if reply.status_code >= 500:
            raise Lost
        try:
            found = reply.json()
            if reply.status_code == 200:
                return found["verdicts"]
            message = found["error"]
        except (ValueError, KeyError, TypeError):
            message = f"status {reply.status_code}"
        raise UserError(f"judge {self.name}: {message}")


class ProgramLane(HttpLane):
    """Sends programs."""

    def __init__(self, judge: RemoteJudge, server: str, workers: int, stop_on_failure: bool):
        super().__init__(judge, server, workers)
        self.stop_on_failure = stop_on_failure

    def send(self, items: list[tuple[Problem, str]]) -> list[list[TestVerdict]]:
        problems = {id(problem): problem for problem, _ in items}
        place = {key: number for number, key in enumerate(problems)}
        data = {
            "problems": [as_data(problem) for problem in problems.values()],
            "programs": [[place[id(problem)], program] for problem, program in items],
            "stop_on_failure": self.stop_on_failure,
        }
        longest = sum(problem.limits.wall_s * (1 + len(problem.tests)) for problem, _ in items)
        verdicts = self.post("/judge", data, GRACE_S + longest)
        return [[TestVerdict(**one) for one in of_program] for of_program in verdicts]


class AnswerLane(HttpLane):
    """Sends math answers."""

    def __init__(self, judge: RemoteJudge, server: str, workers: int):
        super().__init__(judge, server, 16 * workers)

    def send(self, items: list[tuple[str | None, str]]) -> list[str]:
        return self.post("/answers", {"pairs": items}, GRACE_S + ANSWER_S * len(items))


def as_data(problem: Problem) -> dict[str, Any]:
    """The problem as JSON data: Python values in its tests are tagged, and what judging does not need stays here."""
    try:
        tests = [
            replace(t, input=wire.encode(t.input, escape=False), output=wire.encode(t.output, escape=False))
            for t in problem.tests
        ]
    except (TypeError, RecursionError) as error:
        raise UserError(f"problem {problem.id!r}: a test is not JSON data ({error})") from None
    return asdict(replace(problem, tests=tests, golden=None))
