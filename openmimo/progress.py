"""Progress of stages: live bars on a terminal, plain lines in a log. Rows come from the stages' own logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from openmimo.rows import read_jsonl

SHOWN = {  # key -> (label, format)
    "loss": ("loss", "{:.3f}"),
    "mtp_loss": ("mtp", "{:.3f}"),
    "lr": ("lr", "{:.2g}"),
    "reward": ("reward", "{:.3f}"),
    "kept": ("kept", "{:.0%}"),
    "response_length": ("length", "{:.0f}"),
    "pool": ("pool", "{:.0f}"),
    "tokens_per_s": ("tok/s", "{:,.0f}"),
}
PLAIN_EVERY_S = 10.0


def describe(row: dict[str, Any]) -> str:
    """The row's main numbers as text."""
    parts = [row["stage"]] if row.get("stage") else []
    for key, (label, form) in SHOWN.items():
        if row.get(key) is not None:
            parts.append(f"{label} {form.format(row[key])}")
    return "  ".join(parts)


@contextmanager
def counting(title: str, total: int | None, console: Console) -> Iterator[Callable[[int], None]]:
    """A bar; the function that is given advances it. Plain text from time to time where there is no terminal."""
    columns = [TextColumn("{task.description:<28}"), BarColumn(bar_width=24), TextColumn("{task.completed:,}"), TimeRemainingColumn(compact=True)]  # fmt: skip
    bars, began, at = (
        Bars(*columns, console=console, disable=not console.is_terminal),
        time.monotonic(),
        [0, time.monotonic()],
    )
    task = bars.add_task(escape(title), total=total)

    def done(count: int) -> None:
        at[0] += count
        bars.advance(task, count)
        now = time.monotonic()
        if not console.is_terminal and now - at[1] >= PLAIN_EVERY_S:
            at[1] = now
            left = f"  ETA {(now - began) / at[0] * (total - at[0]):.0f} s" if total and at[0] else ""
            console.print(
                f"{title}: {at[0]:,}" + (f" of {total:,}" if total else "") + left, highlight=False, markup=False
            )

    with bars:
        yield done


@contextmanager
def reading(path: Path, console: Console) -> Iterator[Iterator[tuple[str, Any]]]:
    """The values of a JSONL file (as `rows.read_jsonl`), with a bar of the rows read."""
    with counting(f"{path.name}: rows", None, console) as done:

        def counted() -> Iterator[tuple[str, Any]]:
            for value in read_jsonl(path):
                done(1)
                yield value

        yield counted()


class Progress:
    """One line a stage. Stages are anything with `name` and `title`."""

    def __init__(self, console: Console):
        self.console = console
        self.live = console.is_terminal
        self.bars = Bars(
            TextColumn("{task.fields[title]:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[text]}"),
            console=console,
        )
        self.tasks: dict[str, Any] = {}
        self.started: dict[str, tuple[float, int]] = {}
        self.shown: dict[str, float] = {}

    def __enter__(self) -> Progress:
        if self.live:
            self.bars.start()
        return self

    def __exit__(self, *_) -> None:
        if self.live:
            self.bars.stop()

    def skip(self, stage) -> None:
        self.console.print(f"[dim]done before   {stage.title}[/]")

    def begin(self, stage) -> None:
        self.started[stage.name] = (time.monotonic(), -1)
        self.shown[stage.name] = time.monotonic()
        if self.live:
            self.tasks[stage.name] = self.bars.add_task("", total=None, title=stage.title, text="starting")
        else:
            self.console.print(f"begins        {stage.title}")

    def row(self, stage, row: dict[str, Any]) -> None:
        if "text" in row:
            self.console.print(f"              [dim]{stage.title}:[/] {escape(row['text'])}", highlight=False)
        if "step" not in row:
            return
        if self.live:
            self.bars.update(self.tasks[stage.name], completed=row["step"], total=row.get("total"), text=describe(row))
            return
        now = time.monotonic()
        began, first = self.started[stage.name]
        if first < 0:
            self.started[stage.name] = began, first = now, row["step"]
        if now - self.shown[stage.name] >= PLAIN_EVERY_S:
            self.shown[stage.name] = now
            left = (now - began) / max(1, row["step"] - first) * (row.get("total", 0) - row["step"])
            self.console.print(
                f"              {stage.title}  step {row['step']}/{row.get('total', '?')}  {describe(row)}  "
                f"ETA {max(0, left):.0f} s",
                highlight=False,
            )

    def end(self, stage, seconds: float) -> None:
        if self.live:
            self.bars.update(self.tasks.pop(stage.name), visible=False)
        self.console.print(f"[green]done[/] {seconds:6.1f} s  {stage.title}", highlight=False)
