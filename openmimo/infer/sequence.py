"""A request inside the engine: its tokens so far and how many of them have keys and values in the cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from openmimo.infer.request import Request


@dataclass(eq=False)
class Sequence:
    """tokens: prompt and response; computed: how many have keys and values; blocks: where those lie, in order.

    draft: guesses of the tokens that follow, scored together with the last token in the next step. row: its line in
    the scheduler's block tables, while it runs. chain and indexed: see blocks.py.
    """

    id: int
    request: Request
    stream: int
    tokens: list[int]
    logprobs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)
    draft: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    row: int = -1
    chain: int = 0
    indexed: int = 0
    sent: int = 0

    @property
    def count(self) -> int:
        """Tokens of the response so far."""
        return len(self.tokens) - len(self.request.prompt)

    @property
    def todo(self) -> int:
        """Tokens to compute before the next can be sampled, guesses included."""
        return len(self.tokens) + len(self.draft) - self.computed
