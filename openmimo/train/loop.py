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
from openmimo.train.parallel import Parallel
from openmimo.train.schedule import Point, Schedule


@dataclass
class Losses:
    """Means over a step's valid labels: negative log-likelihood of the main head and of the MTP head, MTP hits."""

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


def train_step(
    model: Transformer,
    batch: Batch,
    point: Point,
    optim: Optimisers,
    micro_batch: int,
    parallel: Parallel = Parallel(),  # noqa: B008 - it is frozen
) -> dict:
    """One optimiser step; returns the row to log. Ranks take the rows of `batch` in turn."""
    mtp = len(model.model.mtp_layers) > 0 and point.mtp_weight > 0
    counts, losses = counts_of(batch, mtp), torch.zeros(3)
    model.rope_base = point.rope_base
    if not counts[0]:
        return {"loss": None, "grad_norm": 0.0}
    mine = parallel.mine(len(batch.ids))
    rows = range(len(batch.ids))[mine]
    for start in range(0, len(rows), micro_batch):
        part = rows[start : start + micro_batch]
        share = backward(model, batch, slice(part.start, part.stop, part.step), counts, point.mtp_weight)
        losses += torch.tensor([share.main, share.mtp, share.accepted])
    if parallel.world > 1:
        for parameter in optim.parameters:
            if parameter.grad is None:  # no row of this rank, or a part that no row used
                parameter.grad = torch.zeros_like(parameter)
        parallel.sum([*(p.grad for p in optim.parameters), losses])
    row = {"loss": losses[0].item(), "grad_norm": optim.step(point.lr)}
    return row | ({"mtp_loss": losses[1].item(), "mtp_accept": losses[2].item()} if mtp else {})


def fit(
    model: Transformer,
    batches: PackedBatches,
    schedule: Schedule,
    optim_config: Optim,
    micro_batch: int,
    checkpointer: Checkpointer,
    log: Log,
) -> None:
    """Trains `model` in place to the schedule's end, resuming from the checkpointer's last state. Under a process
    group every rank calls it; rank 0 alone writes log and checkpoints."""
    parallel = Parallel.started()
    optim, tokens, step = Optimisers(model, optim_config, parallel), 0.0, 0
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
        row = train_step(model, batch, point, optim, micro_batch, parallel)
        step, tokens = step + 1, tokens + point.batch * point.length
        head = {"step": step, "total": total, "tokens": tokens, "stage": point.stage, "lr": point.lr}
        head |= {"batch": point.batch, "length": point.length, "rope_base": point.rope_base}
        rate = point.batch * point.length / (time.perf_counter() - began)
        log.row(head | {"mtp_weight": point.mtp_weight} | row | {"tokens_per_s": rate})
        if parallel.rank == 0 and checkpointer.due():
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
