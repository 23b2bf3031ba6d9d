"""An OpenAI-compatible server over the engine: chat and completions, streamed or whole; health and metrics.

    openmimo serve runs/smoke/rl --port 8000      # needs the extra: pip install 'openmimo[serve]'

A client that hangs up frees its slot: its requests are aborted as soon as the connection is seen to be closed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from openmimo.errors import UserError
from openmimo.infer import answers
from openmimo.infer.api import Ask, parse
from openmimo.infer.engine import Engine
from openmimo.infer.loop import EngineLoop
from openmimo.infer.request import Event
from openmimo.infer.speech import Speech
from openmimo.model.tokenizer import Tokenizer

MAX_BODY = 16_000_000


def app_of(engine: Engine, tokenizer: Tokenizer, name: str) -> Starlette:
    """The ASGI app. The engine belongs to it from now on; it runs in a thread while the app does."""
    service = Service(EngineLoop(engine), tokenizer, name)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with service.loop:
            yield

    routes = [
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/v1/completions", service.completions, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/health", service.health),
        Route("/metrics", service.metrics),
    ]
    handlers = {404: not_found, 405: not_found, Exception: failed}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.state.service = service
    return app


class Service:
    """What the routes share."""

    def __init__(self, loop: EngineLoop, tokenizer: Tokenizer, name: str):
        self.loop, self.tokenizer, self.name = loop, tokenizer, name
        self.config, self.began = loop.engine.model.config, int(time.time())
        self.refused = 0

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, chat=True)

    async def completions(self, request: Request) -> Response:
        return await self._answer(request, chat=False)

    async def models(self, _: Request) -> Response:
        model = {"id": self.name, "object": "model", "created": self.began, "owned_by": "openmimo"}
        return JSONResponse({"object": "list", "data": [model | {"max_model_len": self.config.max_length}]})

    async def health(self, _: Request) -> Response:
        if self.loop.error is not None:
            return JSONResponse({"status": "failed", "reason": repr(self.loop.error)}, 503)
        return JSONResponse({"status": "ok"})

    async def metrics(self, _: Request) -> Response:
        return PlainTextResponse(answers.metrics(self.loop, self.refused))

    async def _answer(self, request: Request, chat: bool) -> Response:
        try:
            data = await body_of(request)
            ask = parse(data, chat, self.tokenizer, self.config.vocab_size, self.config.max_length)
            if data["model"] != self.name:
                return self._refuse(f"model: {data['model']!r} is not served here; this is {self.name!r}", 404)
        except UserError as error:
            return self._refuse(str(error), 400)
        except ClientDisconnect:
            return Response(status_code=499)
        run = Run(self.loop, self.tokenizer, ask)
        shape = answers.Shape(chat, self.name, self.tokenizer, ask.logprobs)
        if ask.stream:
            return StreamingResponse(streamed(run, shape), media_type="text/event-stream")
        try:
            return JSONResponse(await whole(run, shape, request))
        except ClientDisconnect:
            return Response(status_code=499)
        except UserError as error:
            return self._refuse(str(error), 400)

    def _refuse(self, message: str, status: int) -> Response:
        self.refused += 1
        return error_of(message, status)


class Run:
    """The engine's requests of one HTTP request; `events` gives (choice, reasoning, answer, event) as they come."""

    def __init__(self, loop: EngineLoop, tokenizer: Tokenizer, ask: Ask):
        self.loop, self.ask = loop, ask
        self.queue: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue()
        self.speeches = [Speech(tokenizer, ask.stop, ask.chat, ask.opened) for _ in ask.requests]
        here = asyncio.get_running_loop()

        def deliver_to(choice: int):
            return lambda item: here.call_soon_threadsafe(self.queue.put_nowait, (choice, item))

        self.tickets = [loop.submit(request, deliver_to(n)) for n, request in enumerate(ask.requests)]
        self.left, self.tokens = len(ask.requests), 0

    async def events(self) -> AsyncIterator[tuple[int, str, str, Event]]:
        """Until every choice has ended. Whoever stops listening aborts what still runs."""
        try:
            while self.left:
                choice, item = await self.queue.get()
                if isinstance(item, Exception):
                    raise item
                self.left -= item.finish_reason is not None
                self.tokens += len(item.token_ids)
                yield choice, *self.speeches[choice].push(item), item
        finally:
            if self.left:
                for ticket in self.tickets:
                    self.loop.abort(ticket)

    @property
    def usage(self) -> dict[str, int]:
        prompt = self.ask.prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": self.tokens, "total_tokens": prompt + self.tokens}


async def whole(run: Run, shape: answers.Shape, request: Request) -> dict:
    """The response body; raises ClientDisconnect, and frees the slots, where nobody waits for it any more."""
    choices = [answers.Choice() for _ in run.ask.requests]

    async def collect() -> None:
        async for choice, reasoning, answer, event in run.events():
            choices[choice].add(reasoning, answer, event)

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.create_task(collect()), asyncio.create_task(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnect
        await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return shape.whole(choices, run.usage)


async def streamed(run: Run, shape: answers.Shape) -> AsyncIterator[str]:
    """Server-sent events. An error after the first byte is an event too."""
    try:
        if run.ask.chat:
            for choice in range(len(run.ask.requests)):
                yield event_of(shape.first(choice))
        async for choice, reasoning, answer, event in run.events():
            yield event_of(shape.piece(choice, reasoning, answer, event))
        if run.ask.usage:
            yield event_of(shape.last(run.usage))
        yield "data: [DONE]\n\n"
    except UserError as error:
        yield event_of(error_body(str(error), 400))
    except Exception as error:  # the engine's: the connection is open, so it is said there; /health says it too
        yield event_of(error_body(repr(error), 500))


async def body_of(request: Request) -> object:
    """The JSON of a body. Raises UserError where it is none, or too large."""
    data = b""
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise UserError(f"body: more than {MAX_BODY:,} bytes")
    try:
        return json.loads(data)
    except ValueError:
        raise UserError("body: it is not JSON") from None


def event_of(body: dict) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def error_body(message: str, status: int) -> dict:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": message.split(":")[0], "code": status}}


def error_of(message: str, status: int) -> Response:
    return JSONResponse(error_body(message, status), status)


async def not_found(request: Request, error: Exception) -> Response:
    return error_of(f"{request.method} {request.url.path}: there is no such endpoint", error.status_code)


async def failed(_: Request, error: Exception) -> Response:
    return error_of(repr(error), 500)
