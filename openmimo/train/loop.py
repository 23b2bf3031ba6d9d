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
from openmimo.model.mtp import accepted_prefixes, shift_labels
from openmimo.model.transformer import Transformer, cross_entropy, segment_mask
from openmimo.recipe import Optim
from openmimo.train.checkpoint import Checkpointer
from openmimo.train.log import Log
from openmimo.train.optim import Optimisers
from openmimo.train.parallel import Parallel
from openmimo.train.schedule import Point, Schedule


@dataclass
class Losses:
    """Means over a step's valid labels: negative log-likelihood of the main head; by MTP depth the same, and the share
    accepted (see `accepted_prefixes`)."""

    main: float
    mtp: list[float]
    accepted: list[float]


def counts_of(batch: Batch, depths: int) -> list[int]:
    """Valid labels of the main head and of each MTP depth."""
    labels, segments = torch.from_numpy(batch.labels), torch.from_numpy(batch.segments)
    shifted = [labels, *(shift_labels(labels, segments, depth) for depth in range(1, depths + 1))]
    return [int((each != -100).sum()) for each in shifted]


def backward(model: Transformer, batch: Batch, rows: slice, counts: list[int], mtp_weight: float) -> Losses:
    """Adds the gradients of one micro-batch: sum of losses / counts of the whole step. Returns its share of them. The
    MTP loss is the mean over the depths, times its weight; where the main model is frozen only that is left."""
    device = next(model.parameters()).device
    ids, labels, segments, positions = (
        torch.from_numpy(a[rows]).to(device) for a in (batch.ids, batch.labels, batch.segments, batch.positions)
    )
    mask = segment_mask(segments)
    hidden = model(ids, positions, mask)
    total = cross_entropy(model.logits(hidden), labels) / counts[0]
    losses = Losses(total.item(), [], [])
    if depths := len(counts) - 1:
        mtp_logits = model.mtp_logits(hidden, ids, positions, mask)
        mtp_labels = [shift_labels(labels, segments, depth + 1) for depth in range(depths)]
        accepted = accepted_prefixes([each.argmax(-1) for each in mtp_logits], mtp_labels)
        for logits, shifted, hits, count in zip(mtp_logits, mtp_labels, accepted, counts[1:], strict=True):
            mtp = cross_entropy(logits, shifted) / max(1, count)
            losses.mtp.append(mtp.item())
            losses.accepted.append(float(hits.sum()) / max(1, count))
            total = total + mtp_weight / depths * mtp
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
    depths = len(model.model.mtp_layers) if point.mtp_weight > 0 else 0
    counts, losses = counts_of(batch, depths), torch.zeros(1 + 2 * depths)
    model.rope_base = point.rope_base
    if not counts[0]:
        return {"loss": None, "grad_norm": 0.0}
    mine = parallel.mine(len(batch.ids))
    rows = range(len(batch.ids))[mine]
    for start in range(0, len(rows), micro_batch):
        part = rows[start : start + micro_batch]
        share = backward(model, batch, slice(part.start, part.stop, part.step), counts, point.mtp_weight)
        losses += torch.tensor([share.main, *share.mtp, *share.accepted])
    if parallel.world > 1:
        for parameter in optim.parameters:
            if parameter.grad is None:  # no row of this rank, or a part that no row used
                parameter.grad = torch.zeros_like(parameter)
        parallel.sum([*(p.grad for p in optim.parameters), losses])
    main, *rest = losses.tolist()
    row = {"loss": main, "grad_norm": optim.step(point.lr)}
    return row | _by_depth("mtp_loss", rest[:depths]) | _by_depth("mtp_accept", rest[depths:])


def _by_depth(name: str, values: list[float]) -> dict[str, float]:
    """NAME, NAME_2, NAME_3, ... as the log and the report know them."""
    return {name if depth == 1 else f"{name}_{depth}": value for depth, value in enumerate(values, 1)}


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
