"""Pre-training in three stages from one table, with one MTP layer [R 2.3]; ends as an HF folder."""

from __future__ import annotations

import json
import shutil

from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.model.hub import save_checkpoint
from openmimo.model.transformer import Transformer
from openmimo.runs import Context
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.loop import fit
from openmimo.train.schedule import Schedule


def run(context: Context) -> None:
    """The run's stage `base`."""
    recipe, tokens = context.recipe, context.inputs["tokens"]
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
    save_into(context.folder, model, tokens / "tokenizer")
    (context.folder / "ledger.json").write_text(json.dumps(batches.ledger, indent=1) + "\n")
    checkpointer.clear()


def save_into(folder, model: Transformer, tokenizer) -> None:
    """Writes the checkpoint's files into a stage's folder, beside its log."""
    whole = save_checkpoint(folder / "checkpoint", model, tokenizer)
    for path in whole.iterdir():
        path.replace(folder / path.name)
    shutil.rmtree(whole)
