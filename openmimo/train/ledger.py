"""The ledger of the mix: tokens and epochs of each source, at any point of training [R 2.1].

    openmimo data ledger runs/tiny --tokens 2e6

What a run has consumed is a function of (shards, recipe, seed, tokens seen), as is the batch itself: the sampler is walked to
that point without reading a token. Its state is in every checkpoint, so a run that resumes has the same ledger.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from openmimo.data.ledger import ledger_table
from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError
from openmimo.recipe import Pretrain
from openmimo.train.schedule import Schedule


def ledger_of(batches: PackedBatches) -> dict[str, Any]:
    """stages: stage -> source -> tokens drawn (a few of them wait for the next batch). sources: see `consumed`."""
    return {"stages": batches.ledger, "sources": batches.consumed()}


def ledger_at(store: TokenStore, seed: int, pretrain: Pretrain, tokens: float) -> dict[str, Any]:
    """The ledger after the first step that reaches `tokens` seen (0: before the first step)."""
    batches = PackedBatches(store, seed)
    for point in Schedule(pretrain).steps():
        if point.tokens >= tokens:
            break
        batches.place(point.batch, point.length, point.mix, point.stage)
    return ledger_of(batches)


def print_ledger(run: Path, tokens: float | None, console: Console) -> None:
    """The ledger of a run's pre-training as a table, at `tokens` seen or at its end."""
    if not (run / "recipe.json").is_file() or not (run / "tokens" / "shards").is_dir():
        raise UserError(f"{run}: no recipe.json and tokens/shards there; give a run's folder whose tokens are made")
    recipe = json.loads((run / "recipe.json").read_text())
    pretrain = Pretrain(**recipe["pretrain"])
    total = pretrain.tokens
    at = total if tokens is None else min(tokens, total)
    ledger = ledger_at(TokenStore(run / "tokens" / "shards"), recipe["seed"], pretrain, at)
    head, rows = ledger_table(ledger)
    table = Table(*head, title=f"{at:,.0f} of {total:,.0f} tokens seen", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    console.print(table)
