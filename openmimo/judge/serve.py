"""`openmimo judge serve`: the judge over HTTP, for workers on other machines (`remote.RemoteJudge` is its client).

    POST /judge    {"problems": [Problem, ...], "programs": [[0, "text"], ...], "stop_on_failure": false}
                   -> {"verdicts": [[{"test_id", "verdict", "cpu_s", "wall_s", "memory_mb", "rung"}, ...], ...]}
    POST /answers  {"pairs": [[answer, gold], ...]}  ->  {"verdicts": ["right", ...]}
    GET /health    -> {"status": "ok", "rung", "workers", "waiting"}
    GET /metrics   Prometheus' text format

A program names its problem by number, so that many programs of one problem send it once. 429 with Retry-After: the queue
is full, nothing of the request was taken. 503: the server is going. 400: one line that says what is wrong. 413: the body
is larger than the limit. Whoever can reach the port can have programs run in the sandbox, and there is no password: bind
it where only your own workers are. Needs the extra `serve`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import socket
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from rich.console import Console
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from openmimo.errors import UserError
from openmimo.judge.service import Answers, Closed, Full, Program, Service
from openmimo.rows import Problem, from_dict

LOOK_S = 0.5  # between two looks at whether the asker is still there
ANSWERS_A_JOB = 16


class Metrics:
    """What Prometheus reads."""

    def __init__(self, service: Service):
        self.registry = CollectorRegistry()
        name, of = "openmimo_judge_", {"registry": self.registry}
        self.tests = Counter(f"{name}tests", "Tests judged", ["verdict"], **of)
        self.answers = Counter(f"{name}answers", "Math answers judged", ["verdict"], **of)
        self.programs = Counter(f"{name}programs", "Programs judged", **of)
        self.refused = Counter(f"{name}refused", "Requests refused", ["status"], **of)
        self.seconds = Histogram(f"{name}request_seconds", "Seconds from request to answer", ["path"], **of)
        Gauge(f"{name}workers", "Workers", **of).set(len(service.judges))
        Gauge(f"{name}busy_workers", "Workers with a job", **of).set_function(lambda: service.busy)
        Gauge(f"{name}waiting_jobs", "Jobs in the queue", **of).set_function(lambda: len(service.waiting))


class BadRequest(Exception):
    """`status` and one line for the asker."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.headers = status, headers


def make_app(service: Service, largest: int) -> Starlette:
    """largest: bytes of a request's body."""
    metrics = Metrics(service)

    async def judge(request: Request) -> Response:
        return await answer(request, service, metrics, largest, programs_of)

    async def answers(request: Request) -> Response:
        return await answer(request, service, metrics, largest, answers_of)

    async def health(_: Request) -> Response:
        state = {"rung": service.rung, "workers": len(service.judges), "waiting": len(service.waiting)}
        return JSONResponse({"status": "closing" if service.closed else "ok"} | state, 503 if service.closed else 200)

    async def metrics_page(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/judge", judge, methods=["POST"]),
            Route("/answers", answers, methods=["POST"]),
            Route("/health", health),
            Route("/metrics", metrics_page),
        ]
    )


async def answer(request: Request, service: Service, metrics: Metrics, largest: int, jobs_of) -> Response:
    """Reads the request, queues its jobs, waits for them. Jobs of an asker who has gone are dropped."""
    began = time.perf_counter()
    try:
        jobs = await asyncio.to_thread(jobs_of, await body(request, largest))
        try:
            service.add(jobs)
        except Full as full:
            raise BadRequest(429, str(full), {"Retry-After": str(full.retry_after)}) from None
        results = await finished(request, [job.future for job in jobs])
    except (Closed, asyncio.CancelledError):
        metrics.refused.labels("503").inc()
        return JSONResponse({"error": "the server is going"}, 503, {"Retry-After": "1"})
    except UserError as error:
        metrics.refused.labels("400").inc()
        return JSONResponse({"error": str(error)}, 400)
    except BadRequest as error:
        metrics.refused.labels(str(error.status)).inc()
        return JSONResponse({"error": str(error)}, error.status, error.headers)
    if jobs and isinstance(jobs[0], Answers):
        verdicts = [verdict for result in results for verdict in result]
        count = metrics.answers
        kinds = verdicts
    else:
        verdicts = [[dataclasses.asdict(verdict) for verdict in result] for result in results]
        count, kinds = metrics.tests, [verdict.verdict for result in results for verdict in result]
        metrics.programs.inc(len(results))
    for kind in kinds:
        count.labels(kind).inc()
    metrics.seconds.labels(request.url.path).observe(time.perf_counter() - began)
    return Response(json.dumps({"verdicts": verdicts}), media_type="application/json")


async def body(request: Request, largest: int) -> Any:
    """The request's JSON."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > largest:
            raise BadRequest(413, f"the request is larger than {largest >> 20} MB; send fewer programs at once")
    try:
        return await asyncio.to_thread(json.loads, bytes(data))
    except ValueError as error:
        raise BadRequest(400, f"the request is not JSON ({error})") from None


def programs_of(data: Any) -> list[Program]:
    """The jobs of a /judge request."""
    try:
        rows, programs, stop = data["problems"], data["programs"], bool(data.get("stop_on_failure", False))
        problems = [from_dict(row, Problem, f"problems[{n}]") for n, row in enumerate(rows)]
        jobs = [Program(problems[number], text, stop) for number, text in programs if number >= 0]
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise BadRequest(400, f"not a request for /judge ({error!r}); see openmimo/judge/serve.py") from None
    if len(jobs) != len(programs) or not all(isinstance(job.program, str) for job in jobs):
        raise BadRequest(400, "a program is [number of its problem, text]")
    return jobs


def answers_of(data: Any) -> list[Answers]:
    """The jobs of an /answers request, so many answers each that every worker has some."""
    try:
        pairs = [(answer, gold) for answer, gold in data["pairs"]]
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequest(400, f"not a request for /answers ({error!r}); see openmimo/judge/serve.py") from None
    if not all(isinstance(gold, str) and isinstance(answer, str | None) for answer, gold in pairs):
        raise BadRequest(400, "a pair is [answer or null, gold answer], both text")
    return [Answers(pairs[start : start + ANSWERS_A_JOB]) for start in range(0, len(pairs), ANSWERS_A_JOB)]


async def finished(request: Request, futures: list) -> list:
    """The futures' results; when the asker has gone, those that have not begun are cancelled."""
    waiting = asyncio.gather(*map(asyncio.wrap_future, futures))
    try:
        while True:
            done, _ = await asyncio.wait([waiting], timeout=LOOK_S)
            if done:
                return waiting.result()
            if await request.is_disconnected():
                raise BadRequest(499, "the asker has gone")
    finally:
        for future in futures:
            future.cancel()
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError, UserError):
            await waiting


def serve(host: str, port: int, workers: int, queue: int, largest_mb: int, unsafe: bool, console: Console) -> None:
    """Serves until it is told to stop (SIGTERM, Ctrl-C). port 0: any that is free; it is printed. unsafe: see `Judge`."""
    import uvicorn

    try:
        listener = socket.create_server((host, port), backlog=512)
    except OSError as error:
        raise UserError(f"judge serve: {host}:{port} cannot be used ({error.strerror}); give another --port") from None
    service = Service(workers, queue, unsafe)
    try:
        server = uvicorn.Server(
            uvicorn.Config(make_app(service, largest_mb << 20), log_level="warning", timeout_graceful_shutdown=10)
        )
        place = "http://{}:{}".format(*listener.getsockname()[:2])
        console.print(f"judging on {place} ({workers} workers, rung {service.rung}); Ctrl-C ends it", highlight=False)
        server.run(sockets=[listener])
    finally:
        service.close()
        listener.close()
