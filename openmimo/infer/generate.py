"""Generation from a file of prompts: JSONL in, JSONL out in the same order.

    openmimo generate runs/smoke/rl --prompts prompts.jsonl --max-tokens 64 --temperature 0 > answers.jsonl

A row is `{"prompt": text}`, `{"messages": [...]}` or `{"token_ids": [...]}`; all of them are checked before anything is
generated. Row n draws its random numbers from (seed, ("generate", n)), whatever else is in the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TextIO

from openmimo.errors import UserError
from openmimo.infer.count import Count
from openmimo.infer.engine import Event, Request, check_length
from openmimo.infer.load import load_engine
from openmimo.model.tokenizer import Tokenizer
from openmimo.rows import is_chat, read_jsonl

KINDS = ("prompt", "messages", "token_ids")
SLOTS = 256


def generate_file(
    checkpoint: Path, prompts: Path, max_tokens: int, temperature: float, top_p: float, seed: int, mtp: int, out: TextIO
) -> dict[str, Any]:
    """Writes a line for each row of `prompts` to `out`; returns the summary: rows, tokens, and the drafts by position."""
    rows = list(read_jsonl(prompts))
    if not rows:
        raise UserError(f"{prompts}: no rows in it; give at least one prompt")
    checked = [check_row(row, where) for where, row in rows]
    engine, tokenizer = load_engine(checkpoint, min(SLOTS, len(rows)), mtp)
    requests = []
    for number, ((where, _), (kind, value)) in enumerate(zip(rows, checked, strict=True)):
        ids = encode_row(kind, value, tokenizer, engine.model.config.vocab_size, where)
        check_length(ids, max_tokens, engine.model.config.max_length, where, "--max-tokens")
        requests.append(Request(ids, max_tokens, ("generate", number), temperature, top_p, seed))
    place = {engine.add(request): number for number, request in enumerate(requests)}
    done: dict[int, Event] = {}
    written = tokens = 0
    with Count(len(requests), "generated") as count:
        while written < len(requests):
            done |= {place[event.id]: event for event in engine.step() if event.finish_reason}
            while written in done:  # in the order of the file
                event = done.pop(written)
                out.write(json.dumps(answer_row(event, tokenizer), ensure_ascii=False) + "\n")
                written, tokens = written + 1, tokens + len(event.token_ids)
            count.show(written + len(done))
    out.flush()
    counts = engine.drafter.counts if engine.drafter else {"drafted": [], "accepted": []}
    return {"rows": len(requests), "tokens": tokens} | counts


def check_row(row: Any, where: str) -> tuple[str, Any]:
    """(kind, value) of a row. Raises UserError that names the line."""
    if not isinstance(row, dict) or len(given := [kind for kind in KINDS if kind in row]) != 1:
        raise UserError(f"{where}: a row is an object with one of {', '.join(KINDS)}")
    if unknown := sorted(row.keys() - set(KINDS)):
        raise UserError(f"{where}: unknown key {unknown[0]!r}; a row has one of {', '.join(KINDS)}")
    kind, value = given[0], row[given[0]]
    if kind == "prompt" and not isinstance(value, str):
        raise UserError(f"{where}: `prompt` must be text")
    if kind == "messages" and not is_chat(value):
        raise UserError(f"{where}: `messages` must be a non-empty list of {{role, content}}")
    whole = isinstance(value, list) and all(isinstance(i, int) and not isinstance(i, bool) for i in value)
    if kind == "token_ids" and not whole:
        raise UserError(f"{where}: `token_ids` must be a list of whole numbers")
    return kind, value


def encode_row(kind: str, value: Any, tokenizer: Tokenizer | None, vocab_size: int, where: str) -> tuple[int, ...]:
    """The ids of a checked row."""
    if kind == "token_ids":
        if wrong := [i for i in value if not 0 <= i < vocab_size]:
            raise UserError(f"{where}: token id {wrong[0]} is not in the model's vocabulary of {vocab_size}")
        return tuple(value)
    if tokenizer is None:
        raise UserError(f"{where}: the checkpoint has no tokenizer; give `token_ids`, or add tokenizer.json to it")
    return tuple(tokenizer.encode_chat(value) if kind == "messages" else tokenizer.encode(value))


def answer_row(event: Event, tokenizer: Tokenizer | None) -> dict[str, Any]:
    """A line of the output. `token_ids` include the stop token, `text` does not; without a tokenizer it is null."""
    ids = event.token_ids
    spoken = ids[:-1] if event.finish_reason == "stop" else ids
    text = None if tokenizer is None else tokenizer.decode(spoken)
    return {"text": text, "token_ids": ids, "logprobs": event.logprobs, "finish_reason": event.finish_reason}
