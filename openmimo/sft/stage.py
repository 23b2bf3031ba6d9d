"""Supervised fine-tuning on verified worked solutions [R 3.1]: loss on the answers only, packed, constant learning rate.

    openmimo sft --from FOLDER --data FILE.jsonl --out FOLDER

A row is `{"messages": [..., {"role": "assistant", ...}]}`; further keys are left alone. Loss falls on the last message
and on the end token.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from openmimo.data.clean import clean
from openmimo.data.pack import PackedBatches, TokenStore
from openmimo.errors import UserError
from openmimo.model.hub import load_checkpoint, save_into
from openmimo.model.tokenizer import Tokenizer
from openmimo.recipe import Sft
from openmimo.rows import is_chat, read_jsonl
from openmimo.runs import Context
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.loop import fit
from openmimo.train.parallel import Parallel
from openmimo.train.schedule import Schedule, constant_rate


def run(context: Context) -> None:
    """The run's stage `sft`."""
    recipe = context.recipe
    checkpointer = Checkpointer(context.folder, recipe.checkpoint.every_s)
    rows = read_conversations(context.inputs["problems"] / "sft.jsonl")
    finetune(context.inputs["base"], rows, recipe.sft, recipe.seed, context.folder, checkpointer, context.log)


def finetune(
    source: Path, rows: list[dict[str, Any]], sft: Sft, seed: int, folder: Path, checkpointer: Checkpointer, log: Log
) -> None:
    """Trains `source` on `rows` and writes the checkpoint into `folder`."""
    tokenizer, model = Tokenizer.load(source), load_checkpoint(source)
    if sft.length > model.config.max_length:
        raise UserError(
            f"sft.length: {sft.length} exceeds the {model.config.max_length} positions of {source}; lower it (--set sft.length=...)"
        )
    kept, dropped = clean(rows, sft.responses_per_query)
    log.say(f"{len(rows):,} responses: " + "; ".join(f"{n:,} {why}" for why, n in dropped.items()))
    documents, too_long = encode_conversations(kept, tokenizer, sft.length)
    if too_long:
        log.say(f"{too_long} responses longer than {sft.length} tokens dropped")
    if not documents:
        raise UserError("sft: no response is left to train on; see the counts above, or raise sft.length")
    random.Random(seed).shuffle(documents)
    store = TokenStore.of({"sft": documents})
    tokens = store.tokens("sft")
    total = max(1, round(tokens * sft.epochs))
    pretrain = constant_rate("sft", total, sft, sft.length, model.config.rope_base, sft.mtp_weight)
    batches = PackedBatches(store, seed)
    fit(model, batches, Schedule(pretrain), sft.optim, sft.micro_batch, checkpointer, log)
    if Parallel.started().rank == 0:
        save_into(folder, model, source)


def read_conversations(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a JSONL file whose `messages` end with the assistant's. A bad row is a UserError with its line."""
    rows = []
    for where, row in read_jsonl(path):
        messages = row.get("messages") if isinstance(row, dict) else None
        if not is_chat(messages) or messages[-1]["role"] != "assistant":
            raise UserError(
                f"{where}: `messages` must be a list of {{role, content}} that ends with the assistant's message"
            )
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: the file is empty; give at least one conversation")
    return rows


def encode_conversations(
    rows: list[dict[str, Any]], tokenizer: Tokenizer, length: int
) -> tuple[list[tuple[list[int], int]], int]:
    """[(ids, index of the first target)] of the conversations that fit, and how many did not."""
    documents, too_long = [], 0
    prompts = tokenizer.encode_batch([tokenizer.render_chat(row["messages"][:-1]) for row in rows])
    answers = tokenizer.encode_batch([row["messages"][-1]["content"] for row in rows])
    for prompt, answer in zip(prompts, answers, strict=True):
        if len(prompt) + len(answer) + 1 > length:
            too_long += 1
            continue
        documents.append(([*prompt, *answer, tokenizer.eos_id], len(prompt)))
    return documents, too_long
