"""How far a job has come, on stderr: a bar in a terminal, else a line every ten seconds."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

EVERY_S = 10.0


class Count:
    """with Count(64, "generated") as count: count.show(12)"""

    def __init__(self, total: int, word: str):
        self.total, self.word, self.shown = total, word, time.monotonic()
        self.console = Console(stderr=True)
        columns = (TextColumn(word), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal)
        self.task = self.bar.add_task("", total=total)

    def __enter__(self) -> Count:
        self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        self.bar.stop()

    def show(self, done: int) -> None:
        self.bar.update(self.task, completed=done)
        now = time.monotonic()
        if not self.console.is_terminal and now - self.shown >= EVERY_S:
            self.shown = now
            self.console.print(f"{self.word} {done}/{self.total}", highlight=False)
