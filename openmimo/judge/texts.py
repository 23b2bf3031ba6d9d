"""Tests' data as the JSON text that a child reads and writes: made once for all programs of a problem, not for each."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from typing import Any

from openmimo.rows import Test

LARGEST = 1 << 16  # bytes of a text that is kept
ENCODER = json.JSONEncoder(separators=(",", ":"))  # as the child's


class Texts:
    """Texts by (test, side), for as long as the test lives. Usable from any thread."""

    def __init__(self):
        self.kept: dict[tuple[int, str], tuple[weakref.ref, bytes]] = {}

    def of(self, test: Test, side: str, data: Callable[[], Any]) -> bytes:
        """The text of one side of a test; `data` gives it as tagged JSON data, where it is not known."""
        key = id(test), side
        if found := self.kept.get(key):
            return found[1]
        text = ENCODER.encode(data()).encode()
        if len(text) <= LARGEST:
            self.kept[key] = weakref.ref(test, lambda _: self.kept.pop(key, None)), text
        return text


TEXTS = Texts()
