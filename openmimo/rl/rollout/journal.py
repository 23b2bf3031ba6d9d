"""What a step has so far, on disk: each group as it completes and each verdict as it comes; resuming is replay.

    journal = Journal(folder / "journal.jsonl"); journal.write_events(step, n, events); journal.events(step, n)

A step is a function of its state, so a repeated step asks for the same tasks: those in the journal are not generated or
judged again. A run killed while it writes leaves half a line, which is dropped. After a checkpoint the journal is empty.
Tokens and log-probabilities are kept bit for bit.
"""

from __future__ import annotations

import base64
import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from openmimo.infer.engine import Event
from openmimo.rl.score import Scored

FILE = "journal.jsonl"


class Journal:
    """One file; path None: nothing is kept."""

    def __init__(self, path: Path | None):
        self.path = path
        self.known: dict[tuple[str, int, int], list] = {}
        if path is None:
            return
        whole = 0
        if path.exists():
            with path.open("rb") as lines:
                for line in lines:
                    if not line.endswith(b"\n"):
                        break
                    row = json.loads(line)
                    self.known[row["what"], row["step"], row["n"]] = row["rows"]
                    whole += len(line)
        self.file = path.open("ab")
        self.file.truncate(whole)

    def events(self, step: int, n: int) -> list[Event] | None:
        """The responses of task n of a step, if they were complete."""
        rows = self.known.get(("events", step, n))
        return rows and [
            Event(0, unpacked(tokens, np.int32), unpacked(logprobs, np.float32), reason)
            for tokens, logprobs, reason in rows
        ]

    def scored(self, step: int, n: int) -> list[Scored] | None:
        """The rewards of task n, if they were known: reward and passed, without the verdicts."""
        rows = self.known.get(("scored", step, n))
        return rows and [Scored(Fraction(reward), passed) for reward, passed in rows]

    def write_events(self, step: int, n: int, events: list[Event]) -> None:
        rows = [[packed(e.token_ids, np.int32), packed(e.logprobs, np.float32), e.finish_reason] for e in events]
        self._write("events", step, n, rows)

    def write_scored(self, step: int, n: int, scored: list[Scored]) -> None:
        self._write("scored", step, n, [[str(s.reward), s.passed] for s in scored])

    def _write(self, what: str, step: int, n: int, rows: list) -> None:
        if self.path is not None and (what, step, n) not in self.known:
            self.file.write(json.dumps({"what": what, "step": step, "n": n, "rows": rows}).encode() + b"\n")
            self.file.flush()

    def clear(self) -> None:
        """After a checkpoint: nothing before it is asked for again."""
        self.known = {}
        if self.path is not None:
            self.file.truncate(0)

    def close(self) -> None:
        if self.path is not None:
            self.file.close()


def packed(values: list, dtype) -> str:
    return base64.b64encode(np.array(values, dtype).tobytes()).decode()


def unpacked(text: str, dtype) -> list:
    return np.frombuffer(base64.b64decode(text), dtype).tolist()
