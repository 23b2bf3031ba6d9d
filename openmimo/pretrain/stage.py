"""Pre-training in three stages from one table, with one MTP layer [R 2.3]; ends as an HF folder."""

from __future__ import annotations

import json
from pathlib import Path

from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError
from openmimo.model.hub import save_into
from openmimo.model.transformer import Transformer
from openmimo.recipe import Pretrain
from openmimo.runs import Context
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.ledger import ledger_of
from openmimo.train.loop import fit
from openmimo.train.schedule import Schedule


def run(context: Context) -> None:
    """The run's stage `base`."""
    recipe, tokens = context.recipe, context.inputs["tokens"]
    check_mix(recipe.pretrain, tokens / "shards")
    config = recipe.model.model_copy(update={"rope_base": recipe.pretrain.stages[-1].rope_base})
    model = Transformer(config)
    model.reset_parameters(recipe.seed)
    batches = PackedBatches(TokenStore(tokens / "shards"), recipe.seed)
    checkpointer = Checkpointer(context.folder, recipe.checkpoint.every_s)
    schedule = Schedule(recipe.pretrain)
    context.log.say(
        f"{config.parameters():,} parameters, {schedule.total:,.0f} tokens in {schedule.count_steps()} steps"
    )
    fit(model, batches, schedule, recipe.pretrain.optim, recipe.pretrain.micro_batch, checkpointer, context.log)
    if context.rank == 0:
        save_into(context.folder, model, tokens / "tokenizer")
        (context.folder / "ledger.json").write_text(json.dumps(ledger_of(batches), indent=1) + "\n")


def check_mix(pretrain: Pretrain, shards: Path) -> None:
    """Every source that a stage's mix names must exist."""
    there = TokenStore(shards).ids
    for stage in pretrain.stages:
        for name, share in stage.mix.items():
            if share > 0 and name not in there:
                raise UserError(
                    f"pretrain.stages.{stage.name}.mix: source {name!r} has no documents; there are {', '.join(there)}"
                )
