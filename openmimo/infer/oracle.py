"""Chats in, text out: what synthesis and labelling ask, and what they are told. No torch is loaded for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Ask:
    """A chat to be answered. seed: of its own random numbers."""

    messages: tuple[dict[str, str], ...]
    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What was said: reasoning and answer apart, why it ended (`stop`, `length`), how many tokens it took, and how many
    the prompt had (0: not told)."""

    reasoning: str
    text: str
    finish_reason: str
    tokens: int
    prompt_tokens: int = 0


class Oracle(Protocol):
    """`answer` returns the answers in the order of the asks."""

    def answer(self, asks: list[Ask]) -> list[Answer]: ...
