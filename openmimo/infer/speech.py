"""The text of a response while it grows: whole characters, cut at stop strings, the reasoning apart from the answer."""

from __future__ import annotations

from openmimo.infer.request import Event
from openmimo.model.tokenizer import REASONING_TAGS, Tokenizer

OPEN, CLOSE = REASONING_TAGS


def split_reasoning(text: str, opened: bool) -> tuple[str, str]:
    """(reasoning, answer). opened: the prompt has opened the reasoning already. Without a leading <think> all is the
    answer; with one that is not closed, all is reasoning."""
    if not opened:
        if not text.lstrip().startswith(OPEN):
            return "", text
        text = text.lstrip().removeprefix(OPEN)
    reasoning, _, answer = text.partition(CLOSE)
    return reasoning, answer


class Speech:
    """`push` takes an event and returns what may be said of it: (reasoning, answer), new text only. What could still
    become a stop string or a tag, and half a character, waits. split: whether reasoning is told apart at all."""

    def __init__(self, tokenizer: Tokenizer, stop: tuple[str, ...], split: bool, opened: bool = False):
        self.tokenizer, self.stop, self.split, self.opened = tokenizer, stop, split, opened
        self.ids: list[int] = []
        self.text, self.decoded, self.window = "", 0, 0  # text of ids[:decoded]; ids[window:decoded] end it
        self.said = ("", "")

    def push(self, event: Event) -> tuple[str, str]:
        self.ids += event.token_ids
        ended = event.finish_reason is not None
        if event.finish_reason == "stop" and not isinstance(event.stopped_by, str):
            self.ids.pop()  # the end token is no text
        self._decode(ended)
        text, cut = self.text, [at for stop in self.stop if (at := self.text.find(stop)) >= 0]
        if cut:
            text = text[: min(cut)]
        elif not ended:
            text = self._settled(text)
        parts = split_reasoning(text, self.opened) if self.split else ("", text)
        new = tuple(part[len(old) :] for part, old in zip(parts, self.said, strict=True))
        self.said = parts
        return new

    def _decode(self, ended: bool) -> None:
        """Decodes what is new, together with the ids just before it, as spaces depend on them."""
        before = self.tokenizer.decode(self.ids[self.window : self.decoded])
        now = self.tokenizer.decode(self.ids[self.window :])
        if len(now) > len(before) and (ended or not now.endswith("\ufffd")):
            self.text += now[len(before) :]
            self.window, self.decoded = self.decoded, len(self.ids)

    def _settled(self, text: str) -> str:
        """`text` without an end that a further token could turn into a stop string or a tag."""
        if self.split and not self.opened and OPEN.startswith(text.strip()):
            return ""
        marks = (*self.stop, CLOSE) if self.split else self.stop
        held = max((n for mark in marks for n in range(len(mark)) if text.endswith(mark[:n])), default=0)
        return text[: len(text) - held]
