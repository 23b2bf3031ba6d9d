"""The verbs of `openmimo data` that work on rows and documents: look, tag, decontaminate, synth, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from openmimo.options import console


def add_verbs(data_app: typer.Typer) -> None:
    """Puts them into the group."""
    data_app.command("decontaminate")(decontaminate)


def decontaminate(
    rows: Annotated[Path, typer.Argument(help="JSONL with problem, question, prompt, query, text or messages")],
    against: Annotated[list[str], typer.Option(help="A benchmark: NAME=FILE, JSONL or a JSON list; may come again")],
    out: Annotated[Path, typer.Option(help="The clean rows; the others go to OUT.removed, the report to OUT.json")],
    n: Annotated[int, typer.Option(min=4, help="Words in a row that may not be shared; the report's is 16")] = 16,
    similarity: Annotated[float, typer.Option(help="Share of an item's 3-grams that makes a row a copy")] = 0.75,
    field: Annotated[Optional[str], typer.Option(help="The rows' field that is compared")] = None,  # noqa: UP045
):
    """Drop rows that overlap with benchmarks, short items and reworded copies too; say what no rule can see."""
    from openmimo.data.decontaminate import decontaminate_file

    report = decontaminate_file(rows, against, out, n, similarity, field, console())
    console().print(str(report), highlight=False, markup=False)
