"""The likelihood loop that pre-training and SFT share: a schedule, packed batches, next-token and MTP loss.

Every step sums the loss over its micro-batches and divides once by the number of valid tokens, so accumulation does not
change it. The step's state (weights, optimiser, data cursor, tokens) is saved every few seconds; the same command goes
on from it, and the steps repeated are bit-equal.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from openmimo.data.pack import Batch, PackedBatches
from openmimo.model.mtp import shift_labels
from openmimo.model.transformer import Transformer, cross_entropy, segment_mask
from openmimo.recipe import Optim
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.optim import Optimisers
from openmimo.train.schedule import Point, Schedule


@dataclass
class Losses:
    """Sums over a step: negative log-likelihood and count of the main head and of the MTP head, MTP hits."""

    main: float = 0.0
    mtp: float = 0.0
    accepted: float = 0.0


def counts_of(batch: Batch, mtp: bool) -> tuple[int, int]:
    """Valid labels of the main head and of the first MTP head."""
    labels, segments = torch.from_numpy(batch.labels), torch.from_numpy(batch.segments)
    main = int((labels != -100).sum())
    return main, int((shift_labels(labels, segments, 1) != -100).sum()) if mtp else 0


def backward(model: Transformer, batch: Batch, rows: slice, counts: tuple[int, int], mtp_weight: float) -> Losses:
    """Adds the gradients of one micro-batch: sum of losses / counts of the whole step. Returns its share of them."""
    device = next(model.parameters()).device
    ids, labels, segments, positions = (
        torch.from_numpy(a[rows]).to(device) for a in (batch.ids, batch.labels, batch.segments, batch.positions)
    )
    mask = segment_mask(segments)
    hidden = model(ids, positions, mask)
    main = cross_entropy(model.logits(hidden), labels) / counts[0]
    total, losses = main, Losses(main=main.item())
    if counts[1] and mtp_weight > 0:
        following = ids.roll(-1, dims=1)  # the last slot's is another document's, and has no label
        mtp_labels = shift_labels(labels, segments, 1)
        logits = model.mtp_logits(0, hidden, following, positions, mask)
        mtp = cross_entropy(logits, mtp_labels) / counts[1]
        losses.mtp = mtp.item()
        losses.accepted = float(((logits.argmax(-1) == mtp_labels) & (mtp_labels != -100)).sum()) / counts[1]
        total = total + mtp_weight * mtp
    total.backward()
    return losses


def train_step(model: Transformer, batch: Batch, point: Point, optim: Optimisers, micro_batch: int) -> dict:
    """One optimiser step; returns the row to log."""
    mtp = len(model.model.mtp_layers) > 0 and point.mtp_weight > 0
    counts, sums = counts_of(batch, mtp), Losses()
    model.rope_base = point.rope_base
    if not counts[0]:
        return {"loss": None, "grad_norm": 0.0}
    for start in range(0, len(batch.ids), micro_batch):
        part = backward(model, batch, slice(start, start + micro_batch), counts, point.mtp_weight)
        sums.main, sums.mtp, sums.accepted = (
            sums.main + part.main,
            sums.mtp + part.mtp,
            sums.accepted + part.accepted,
        )
    row = {"loss": sums.main, "grad_norm": optim.step(point.lr)}
    return row | ({"mtp_loss": sums.mtp, "mtp_accept": sums.accepted} if mtp else {})


def fit(
    model: Transformer,
    batches: PackedBatches,
    schedule: Schedule,
    optim_config: Optim,
    micro_batch: int,
    checkpointer: Checkpointer,
    log: Log,
) -> None:
    """Trains `model` in place to the schedule's end, resuming from the checkpointer's last state."""
    optim, tokens, step = Optimisers(model, optim_config), 0.0, 0
    if state := checkpointer.load():
        model.load_state_dict(state["model"])
        optim.load_state_dict(state["optim"])
        batches.restore(state["batches"])
        tokens, step = state["tokens"], state["step"]
        log.rewind(state["log"])
    total, model = schedule.count_steps(), model.train()
    for point in schedule.steps(tokens):
        began = time.perf_counter()
        batch = batches.next(point.batch, point.length, point.mix, point.stage)
        row = train_step(model, batch, point, optim, micro_batch)
        step, tokens = step + 1, tokens + point.batch * point.length
        head = {"step": step, "total": total, "tokens": tokens, "stage": point.stage, "lr": point.lr}
        head |= {"batch": point.batch, "length": point.length, "rope_base": point.rope_base}
        rate = point.batch * point.length / (time.perf_counter() - began)
        log.row(head | {"mtp_weight": point.mtp_weight} | row | {"tokens_per_s": rate})
        if checkpointer.due():
            checkpointer.save(
                {
                    "model": model.state_dict(),
                    "optim": optim.state_dict(),
                    "batches": batches.state(),
                    "tokens": tokens,
                    "step": step,
                    "log": log.place(),
                }
            )
