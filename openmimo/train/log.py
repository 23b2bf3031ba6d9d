"""A stage's log: one JSON object a line in log.jsonl, always on; whoever shows progress listens to the same rows.

log = Log(folder, listener=print); log.row({"step": 1, "loss": 6.9}); log.say("what happened")
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openmimo.train.checkpoint import FILE


class Log:
    """Rows go to `folder/log.jsonl` and to the listener. The rows of repeated steps are dropped: by `place` and
    `rewind` where a checkpoint says how far the log had come, and all of them where there is no checkpoint."""

    def __init__(self, folder: str | Path | None, listener: Callable[[dict[str, Any]], None] | None = None):
        """folder None: the log of a rank that keeps silent."""
        self.listener = listener or (lambda row: None)
        self.began = time.monotonic()
        self.path = Path(os.devnull) if folder is None else Path(folder) / "log.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("a" if self.path.with_name(FILE).exists() else "w", encoding="utf-8")

    def close(self) -> None:
        """Ends the log; one without rows leaves no file."""
        self.file.close()
        if self.path.is_file() and not self.path.stat().st_size:
            self.path.unlink()

    def seconds(self) -> float:
        """Since the log was opened."""
        return time.monotonic() - self.began

    def row(self, row: dict[str, Any]) -> None:
        """Writes and shows a row of numbers; it should have `step` and `total`."""
        row = {k: round(v, 6) if isinstance(v, float) and abs(v) >= 1e-3 else v for k, v in row.items()}
        self.file.write(json.dumps(row | {"time": round(time.time(), 3)}) + "\n")
        self.file.flush()
        self.listener(row)

    def say(self, text: str) -> None:
        """A line for the reader; it is shown and not a row of the log."""
        self.listener({"text": text})

    def place(self) -> int:
        """Bytes written so far; goes into a checkpoint."""
        return self.file.tell()

    def rewind(self, place: int) -> None:
        """Drops what was written after a checkpoint's place."""
        if self.path.is_file():
            self.file.truncate(place)
            self.file.seek(place)
