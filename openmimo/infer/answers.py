"""The bodies that the server sends: OpenAI's chat and completion objects, whole or in pieces; and the metrics text."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from openmimo.infer.loop import EngineLoop
from openmimo.infer.request import Event
from openmimo.model.tokenizer import Tokenizer


@dataclass
class Choice:
    """What a choice has come to so far."""

    reasoning: str = ""
    answer: str = ""
    events: list[Event] = field(default_factory=list)

    def add(self, reasoning: str, answer: str, event: Event) -> None:
        self.reasoning += reasoning
        self.answer += answer
        self.events.append(event)


class Shape:
    """The objects of one response. logprobs: whether they were asked for."""

    def __init__(self, chat: bool, model: str, tokenizer: Tokenizer, logprobs: bool):
        self.chat, self.tokenizer, self.logprobs = chat, tokenizer, logprobs
        self.head = {"id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}  # fmt: skip
        self.offsets: dict[int, int] = {}

    def whole(self, choices: list[Choice], usage: dict[str, int]) -> dict:
        found = []
        for index, choice in enumerate(choices):
            body = {"index": index, "finish_reason": choice.events[-1].finish_reason}
            body["logprobs"] = self._logprobs(index, choice.events)
            if self.chat:
                body["message"] = {"role": "assistant", "content": choice.answer}
                body["message"]["reasoning_content"] = choice.reasoning or None
            else:
                body["text"] = choice.answer
            found.append(body)
        return self.head | {"object": self._object(""), "choices": found, "usage": usage}

    def first(self, index: int) -> dict:
        """The piece that opens a chat choice."""
        return self._piece({"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None})

    def piece(self, index: int, reasoning: str, answer: str, event: Event) -> dict:
        body = {"index": index, "finish_reason": event.finish_reason, "logprobs": self._logprobs(index, [event])}
        if self.chat:
            body["delta"] = {"content": answer} if answer or not reasoning else {}
            body["delta"] |= {"reasoning_content": reasoning} if reasoning else {}
        else:
            body["text"] = answer
        return self._piece(body)

    def last(self, usage: dict[str, int]) -> dict:
        """The piece without a choice that tells the usage."""
        return self.head | {"object": self._object(".chunk"), "choices": [], "usage": usage}

    def _piece(self, choice: dict) -> dict:
        return self.head | {"object": self._object(".chunk"), "choices": [choice]}

    def _object(self, end: str) -> str:
        return "chat.completion" + end if self.chat else "text_completion"

    def _logprobs(self, index: int, events: list[Event]) -> dict | None:
        """Every token of the events, the end token too: natural log, unfiltered, at temperature 1."""
        if not self.logprobs:
            return None
        ids = [i for e in events for i in e.token_ids]
        values = [p for e in events for p in e.logprobs]
        tops = [t for e in events for t in e.top_logprobs] or [[]] * len(ids)
        if self.chat:
            rows = [
                self._token(i, p) | {"top_logprobs": [self._token(*pair) for pair in top]}
                for i, p, top in zip(ids, values, tops, strict=True)
            ]
            return {"content": rows, "refusal": None}
        texts, offsets = [self._text(i) for i in ids], []
        for text in texts:
            offsets.append(self.offsets.setdefault(index, 0))
            self.offsets[index] += len(text)
        return {
            "tokens": texts,
            "token_logprobs": values,
            "top_logprobs": [{self._text(i): p for i, p in top} for top in tops],
            "text_offset": offsets,
        }

    def _token(self, token: int, logprob: float) -> dict:
        text = self._text(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}

    def _text(self, token: int) -> str:
        """A token's own text, special tokens by their name."""
        return self.tokenizer.core.decode([token], skip_special_tokens=False)


def metrics(loop: EngineLoop, refused: int) -> str:
    """In Prometheus' text format."""
    counts = loop.counts
    lines = ["# TYPE openmimo_requests_total counter"]
    lines += [f'openmimo_requests_total{{end="{end}"}} {counts[end]}' for end in ("stop", "length", "abort")]
    lines.append(f'openmimo_requests_total{{end="refused"}} {refused}')
    lines += ["# TYPE openmimo_requests_active gauge", f"openmimo_requests_active {len(loop.tickets)}"]
    for name in ("prompt_tokens", "tokens"):
        lines += [f"# TYPE openmimo_{name}_total counter", f"openmimo_{name}_total {counts[name]}"]
    return "\n".join(lines) + "\n"
