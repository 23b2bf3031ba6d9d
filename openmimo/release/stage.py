"""The run's stage `release`: the four checkpoints in both profiles, each with a model card [R 2.4].

Writes `mimo/NAME` (all tensors, as the released model's) and `qwen2/NAME` (any engine reads it) for Base, SFT, RL-Zero, RL.
"""

from __future__ import annotations

import json

from openmimo.eval.results import collect
from openmimo.release.card import write_card
from openmimo.release.conform import check_layout
from openmimo.release.export import export
from openmimo.runs import Context, write_atomic
from openmimo.stages import CHECKPOINTS


def run(context: Context) -> None:
    """Writes results.json too, since the cards quote it."""
    recipe = context.recipe
    results = collect(context.run) | {"recipe": recipe.name, "note": recipe.note, "seed": recipe.seed}
    write_atomic(context.folder / "results.json", json.dumps(results, indent=1) + "\n")
    for number, name in enumerate(CHECKPOINTS, 1):
        for profile in ("mimo", "qwen2"):
            folder = export(context.inputs[name], context.folder / profile / name, profile)
            check_layout(recipe.model, folder, profile, "float32")
            write_card(
                folder, f"{recipe.name}-{name}", recipe, tokens_seen=recipe.pretrain.tokens, results=results,
                model=name, commit=context.facts["commit"],
            )  # fmt: skip
        context.log.row({"step": number, "total": len(CHECKPOINTS)})
