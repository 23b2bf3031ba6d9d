"""Any OpenAI-compatible server as an Oracle: chats in, text out, many at a time. For synthesis.

    with OpenAIServer("http://127.0.0.1:8000", "rl") as oracle: oracle.answer([Ask(({"role": "user", ...},), 256)])

Needs httpx (the extra `openmimo[serve]`). What a server refuses is an error with its reason; what may pass (a full
queue, a restart) is asked again, after longer and longer waits.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from openmimo.errors import UserError
from openmimo.infer.oracle import Answer, Ask
from openmimo.infer.speech import split_reasoning

WAITS_S = (0.5, 2.0, 8.0)  # before each further try
PASSING = (408, 409, 429, 500, 502, 503, 504)


class Server:
    """JSON to a URL. key: of the API [default: OPENAI_API_KEY]."""

    def __init__(
        self, url: str, key: str | None = None, timeout_s: float = 600.0, waits_s: tuple[float, ...] = WAITS_S
    ):
        try:
            import httpx
        except ImportError:
            raise UserError("an OpenAI-compatible server needs httpx; run `pip install 'openmimo[serve]'`") from None
        key = key or os.environ.get("OPENAI_API_KEY")
        self.url, self.waits_s, self.failed = url.rstrip("/").removesuffix("/v1"), waits_s, httpx.HTTPError
        limits = httpx.Limits(max_connections=None)
        self.client = httpx.Client(timeout=timeout_s, limits=limits, headers={"Authorization": f"Bearer {key}"} if key else {})  # fmt: skip

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer's JSON (None where it is empty). Raises UserError with the server's reason."""
        for wait in (*self.waits_s, None):
            try:
                found = self.client.post(self.url + path, json=body)
                reason = found.text[:300]
            except self.failed as error:
                found, reason = None, f"{type(error).__name__}: {error}"
            if found is not None and found.is_success:
                return found.json() if found.content else None
            if wait is None or (found is not None and found.status_code not in PASSING):
                status = "no answer" if found is None else f"status {found.status_code}"
                raise UserError(f"{self.url}{path}: {status} ({reason}); check the server and the request")
            time.sleep(wait)

    def close(self) -> None:
        self.client.close()


class OpenAIServer:
    """An Oracle. workers: chats under way at a time; reasoning is taken from `reasoning_content` or `reasoning` where
    the server tells it apart, else from the text's <think> tags."""

    def __init__(self, url: str, model: str, key: str | None = None, workers: int = 16, **more: Any):
        self.server, self.model, self.workers = Server(url, key, **more), model, workers

    def __enter__(self) -> OpenAIServer:
        return self

    def __exit__(self, *_) -> None:
        self.server.close()

    def answer(self, asks: list[Ask]) -> list[Answer]:
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self.ask, asks))

    def ask(self, ask: Ask) -> Answer:
        """One chat; threads may call it side by side."""
        body = {"model": self.model, "messages": list(ask.messages), "max_tokens": ask.max_tokens}
        body |= {"temperature": ask.temperature, "top_p": ask.top_p, "seed": ask.seed}
        found = self.server.post("/v1/chat/completions", body)
        (choice,) = found["choices"]
        message, text = choice["message"], choice["message"].get("content") or ""
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        if not reasoning:
            reasoning, text = split_reasoning(text, opened=False)
        usage = found["usage"]
        return Answer(
            reasoning, text, choice["finish_reason"], usage["completion_tokens"], usage.get("prompt_tokens", 0)
        )
