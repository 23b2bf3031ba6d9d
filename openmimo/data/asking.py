"""Asks an OpenAI-compatible server: many at a time, at a limited rate, each request once; counts tokens and cost.

    asking = Asking("http://127.0.0.1:8000", "rl", cache=Path("asked.jsonl")); answer = asking(Ask(({"role": ...},), 256))

Every answer goes into the cache, a JSONL file, under the hash of its request's content (model, messages, sampling, seed)
as soon as it is there. So whoever was interrupted asks only what is missing, and gets the same rows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from openmimo.errors import UserError
from openmimo.infer.openai_backend import OpenAIServer
from openmimo.infer.oracle import Answer, Ask

Item, Result = TypeVar("Item"), TypeVar("Result")


class Asking:
    """per_minute: requests begun in a minute (None: any number). price_in, price_out: of a million tokens."""

    def __init__(
        self, url: str, model: str, cache: Path, workers: int = 16, per_minute: float | None = None, price_in: float = 0.0,
        price_out: float = 0.0, key: str | None = None, **more: Any,
    ):  # fmt: skip
        if workers < 1 or (per_minute is not None and per_minute <= 0):
            raise UserError(f"asking: {workers} workers, {per_minute} requests a minute; give 1 or more of each")
        self.server, self.model, self.workers = OpenAIServer(url, model, key, workers, **more), model, workers
        self.gap_s = 60 / per_minute if per_minute else 0.0
        self.prices = price_in, price_out
        self.asked = self.cached = self.tokens_in = self.tokens_out = 0
        self.lock, self.next_start = threading.Lock(), 0.0
        self.known = read_cache(cache)
        cache.parent.mkdir(parents=True, exist_ok=True)
        _mend(cache)
        self.file = cache.open("a", encoding="utf-8")

    def __enter__(self) -> Asking:
        return self

    def __exit__(self, *_) -> None:
        self.file.close()
        self.server.server.close()

    def __call__(self, ask: Ask) -> Answer:
        """The answer, from the cache or the server. Threads may call it side by side."""
        key = key_of(self.model, ask)
        with self.lock:
            if key in self.known:
                self.cached += 1
                return self.known[key]
        self._wait()
        answer = self.server.ask(ask)
        with self.lock:
            self.asked += 1
            self.tokens_in += answer.prompt_tokens
            self.tokens_out += answer.tokens
            self.known[key] = answer
            self.file.write(json.dumps({"key": key, **dataclasses.asdict(answer)}, ensure_ascii=False) + "\n")
            self.file.flush()
        return answer

    def each(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """work(item) for every item, `workers` at a time, in order. What has not begun when one fails never begins."""
        pool = ThreadPoolExecutor(self.workers)
        try:
            yield from pool.map(work, items)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    @property
    def cost(self) -> float:
        """Of what was asked in this run, not of what the cache knew."""
        return (self.tokens_in * self.prices[0] + self.tokens_out * self.prices[1]) / 1e6

    def counts(self) -> dict[str, Any]:
        """What this run asked."""
        return {"requests": self.asked, "from the cache": self.cached, "prompt tokens": self.tokens_in,
                "response tokens": self.tokens_out, "cost": round(self.cost, 6)}  # fmt: skip

    def _wait(self) -> None:
        """Until this request may begin."""
        with self.lock:
            now = time.monotonic()
            start = max(now, self.next_start)
            self.next_start = start + self.gap_s
        time.sleep(start - now)


def key_of(model: str, ask: Ask) -> str:
    """32 hex digits of a request's content."""
    content = {"model": model, **dataclasses.asdict(ask)}
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def read_cache(path: Path) -> dict[str, Answer]:
    """Key -> answer; a last line that was cut when its writer was stopped is left out."""
    if not path.exists():
        return {}
    known: dict[str, Answer] = {}
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
            key = row.pop("key")
            known[key] = Answer(**row)
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{path}:{number}: not a line of a cache of answers; name another file") from None
    return known


def _mend(path: Path) -> None:
    """Cuts off what a stopped writer left of a line."""
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole != len(data):
        os.truncate(path, whole)
