"""Whoever generates text, behind one protocol: our engine, vLLM, or any OpenAI-compatible server.

    backend = Ours(engine); events = backend.generate(requests); backend.update_weights(state, version)

A Backend takes token ids and gives tokens with their log-probabilities, and takes new weights: what RL needs. An Oracle
(oracle.py) takes chats and gives text: what synthesis needs. vLLM's are in vllm_backend.py, the servers' in openai_backend.py.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from openmimo.infer.engine import Engine, Event, Request, generate
from openmimo.infer.oracle import Answer, Ask
from openmimo.infer.speech import split_reasoning
from openmimo.model.tokenizer import Tokenizer


class Backend(Protocol):
    """`generate` returns the final events in the order of the requests; log-probabilities are natural, unfiltered, at
    temperature 1. The same requests give the same text again; two backends need not give the same text."""

    def generate(self, requests: list[Request]) -> list[Event]: ...

    def update_weights(self, state: dict[str, Tensor], version: int) -> None: ...

    def close(self) -> None: ...


class Ours:
    """The engine of this package."""

    def __init__(self, engine: Engine):
        self.engine = engine

    def generate(self, requests: list[Request]) -> list[Event]:
        return generate(self.engine, requests)

    def update_weights(self, state: dict[str, Tensor], version: int) -> None:
        self.engine.update_weights(state, version)

    def close(self) -> None:
        """Nothing is held that Python does not free."""


class Chats:
    """An Oracle over a Backend and the tokenizer of its checkpoint."""

    def __init__(self, backend: Backend, tokenizer: Tokenizer):
        self.backend, self.tokenizer = backend, tokenizer

    def answer(self, asks: list[Ask]) -> list[Answer]:
        requests = [
            Request(tuple(self.tokenizer.encode_chat(list(a.messages))), a.max_tokens, ("ask",), a.temperature, a.top_p, a.seed)
            for a in asks
        ]  # fmt: skip
        found = []
        for event in self.backend.generate(requests):
            ids = event.token_ids[:-1] if event.finish_reason == "stop" else event.token_ids
            reasoning, text = split_reasoning(self.tokenizer.decode(ids), opened=False)
            found.append(Answer(reasoning, text, event.finish_reason, len(event.token_ids)))
        return found
