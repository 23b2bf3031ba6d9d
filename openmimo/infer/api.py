"""The bodies of OpenAI's chat and completions endpoints: what they may hold, and the engine's requests for them.

What the engine does not do (penalties, logit_bias, tools) is refused with a reason, never ignored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from openmimo.errors import UserError
from openmimo.infer.request import Request, check_length
from openmimo.model.tokenizer import REASONING_TAGS, Tokenizer

MAX_CHOICES, MAX_STOPS, MAX_TOP_LOGPROBS = 128, 4, 20


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False


class Body(BaseModel):
    """What both endpoints take. seed None: another one for each request; user is accepted and not used."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())
    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=100)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    presence_penalty: float | None = Field(None, ge=0, le=0)
    frequency_penalty: float | None = Field(None, ge=0, le=0)
    user: str | None = None


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["text"]
    text: str


class Message(BaseModel):
    """reasoning_content of earlier answers is accepted and left out, as reasoning models are asked without it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    role: str
    content: str | list[Part]
    reasoning_content: str | None = None


class ChatBody(Body):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=MAX_TOP_LOGPROBS)


class CompletionBody(Body):
    prompt: str | list[str] | list[int] | list[list[int]]
    logprobs: int | None = Field(None, ge=0, le=5)


@dataclass(frozen=True)
class Ask:
    """A body as the engine sees it: a request for each choice, in order. top: alternatives a token; opened: for each
    choice, whether its prompt has opened the reasoning."""

    chat: bool
    requests: list[Request]
    stop: tuple[str, ...]
    stream: bool
    usage: bool
    logprobs: bool
    top: int
    opened: bool
    prompt_tokens: int


def parse(data: object, chat: bool, tokenizer: Tokenizer, vocab_size: int, max_length: int) -> Ask:
    """An Ask of a JSON body. Raises UserError that names the field."""
    try:
        body = (ChatBody if chat else CompletionBody).model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if not isinstance(part, type)) or "body"
        reason = "is not supported here" if first["type"] == "extra_forbidden" else first["msg"]
        raise UserError(f"{place}: {reason}") from None
    stop = tuple([body.stop] if isinstance(body.stop, str) else body.stop or [])
    if len(stop) > MAX_STOPS or not all(stop):
        raise UserError(f"stop: at most {MAX_STOPS} strings, none of them empty")
    opened = False
    if chat:
        if body.top_logprobs and not body.logprobs:
            raise UserError("top_logprobs: set logprobs to true with it")
        text = tokenizer.render_chat([{"role": m.role, "content": content_of(m)} for m in body.messages])
        opened, prompts = text.rstrip().endswith(REASONING_TAGS[0]), [tokenizer.encode(text)]
        limit, top, logprobs = body.max_completion_tokens or body.max_tokens, body.top_logprobs, body.logprobs
    else:
        prompts, limit = prompts_of(body.prompt, tokenizer), body.max_tokens or 16
        top, logprobs = body.logprobs or 0, body.logprobs is not None
    seed = body.seed if body.seed is not None else int.from_bytes(os.urandom(7), "little")
    requests = []
    for prompt in prompts:
        if wrong := [i for i in prompt if not 0 <= i < vocab_size]:
            raise UserError(f"prompt: token id {wrong[0]} is not in the model's vocabulary of {vocab_size}")
        room = limit or max(1, max_length - len(prompt))
        check_length(tuple(prompt), room, max_length, "messages" if chat else "prompt", "max_tokens")
        for _ in range(body.n):
            key = ("serve", len(requests))
            requests.append(
                Request(tuple(prompt), room, key, body.temperature, body.top_p, seed, True, body.top_k, stop=stop,
                        top_logprobs=top)
            )  # fmt: skip
    usage = body.stream_options is not None and body.stream_options.include_usage
    if body.stream_options is not None and not body.stream:
        raise UserError("stream_options: set stream to true with it")
    return Ask(chat, requests, stop, body.stream, usage, logprobs, top, opened, sum(map(len, prompts)))


def content_of(message: Message) -> str:
    return message.content if isinstance(message.content, str) else "".join(part.text for part in message.content)


def prompts_of(prompt, tokenizer: Tokenizer) -> list[list[int]]:
    """Token ids of each prompt of a completion."""
    if isinstance(prompt, str):
        return [tokenizer.encode(prompt)]
    if not prompt:
        raise UserError("prompt: it is empty; give text or token ids")
    if isinstance(prompt[0], int):
        return [list(prompt)]
    return [tokenizer.encode(each) if isinstance(each, str) else list(each) for each in prompt]
