"""What the command's verbs share: options that several take, their order, and where they print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from typer.core import TyperGroup

RecipePath = Annotated[Path, typer.Argument(help="A recipe, for example recipes/tiny.toml", show_default=False)]
Overrides = Annotated[
    Optional[list[str]], typer.Option("--set", help="Override a key: --set rl.steps=20 (repeatable)")  # noqa: UP045
]
Source = Annotated[Path, typer.Option("--from", help="A checkpoint folder in the HF layout (Qwen2, Llama or MiMo)")]
Out = Annotated[Path, typer.Option("--out", help="The folder to write; it appears when it is whole")]


class InOrder(TyperGroup):
    """Lists verbs in the order in which the recipe uses them; typer's own puts the groups last."""

    ORDER = "plan run data sft rl mtp eval export report generate chat serve judge simulate trace".split()

    def list_commands(self, context) -> list[str]:
        known = super().list_commands(context)
        return sorted(known, key=lambda name: self.ORDER.index(name) if name in self.ORDER else len(self.ORDER))


def console():
    from rich.console import Console

    return Console()
