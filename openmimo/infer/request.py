"""What goes into the engine and what comes out: Request and Event. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from openmimo.errors import UserError


@dataclass(frozen=True)
class Request:
    """One response to sample.

    prompt: token ids; key: names the random stream, e.g. (step, task, sample); temperature 0 is greedy; top_k 0 and
    top_p 1 keep every token; stop_ids end the response like the engine's own; stop: strings that end it as soon as the
    text holds one; stream: an event for every token; top_logprobs: so many most likely tokens with each token.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    key: tuple = ()
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0
    stream: bool = False
    top_k: int = 0
    stop_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()
    top_logprobs: int = 0


@dataclass(frozen=True)
class Event:
    """What a request got: new token ids with their log-probabilities (natural log, unfiltered, temperature 1), the
    version of the weights that made each, and why it ended: `stop`, `length`, or None while it runs. Without `stream`
    there is one event, at the end. stopped_by: the stop string that the text now holds, or the stop id; the token
    that completed it is among the ids. top_logprobs: for each token its alternatives as (id, log-probability)."""

    id: int
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str | None
    versions: list[int] = field(default_factory=list)
    stopped_by: str | int | None = None
    top_logprobs: list[list[tuple[int, float]]] = field(default_factory=list)

    @property
    def version(self) -> int:
        """Of the last token."""
        return self.versions[-1]


def check_length(prompt: tuple[int, ...], max_tokens: int, max_length: int, where: str, key: str) -> None:
    """Raises UserError where a prompt and its response cannot fit the model's positions. key: what to lower."""
    if not prompt or max_tokens < 1:
        raise UserError(f"{where}: the prompt and {key} must not be empty; give at least one token each")
    if len(prompt) + max_tokens > max_length:
        raise UserError(
            f"{where}: prompt ({len(prompt)} tokens) + {key} ({max_tokens}) exceeds the model's {max_length} positions; "
            f"{key} may be at most {max(0, max_length - len(prompt))}"
        )


def check_request(request: Request, vocab_size: int, max_length: int) -> None:
    """Raises UserError for what no engine can serve."""
    check_length(request.prompt, request.max_tokens, max_length, "request", "max_tokens")
    if min(request.prompt) < 0 or max(request.prompt) >= vocab_size:
        raise UserError(f"request: the prompt holds ids outside 0..{vocab_size - 1}; is it this model's tokenizer?")
    if not request.temperature >= 0 or not 0 < request.top_p <= 1 or request.top_k < 0:
        raise UserError(
            f"request: temperature {request.temperature}, top_p {request.top_p}, top_k {request.top_k}; "
            "give temperature >= 0, 0 < top_p <= 1 and top_k >= 0"
        )
