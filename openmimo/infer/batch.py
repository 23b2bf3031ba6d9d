"""A step's tokens laid end to end: what the model computes, where keys and values go, who attends to what.

Shapes: N tokens of the step, K key-value heads, S positions, n sequences of a group, T tokens of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openmimo.infer.schedule import Chunk

ROWS = 8  # N is a multiple of it: then every row of a matrix product comes out the same whatever N is
HEAD_ROWS = 4  # the same for queries x head groups in attention
SCORES = 4_000_000  # attention scores that one group may hold at once


@dataclass
class Group:
    """Sequences that attend together. index: (n T,) their tokens among the N, None for the first n; real: which of the
    n T are tokens and not padding, None for all; blocks (n blocks,); mask (K n, M or 1, S), added to the scores."""

    n: int
    T: int
    index: Tensor | None
    real: Tensor | None
    blocks: Tensor
    mask: Tensor


@dataclass
class Batch:
    """ids, positions (N,); slots (written,): places in the cache of the keys and values of tokens `sources` (None: the
    first `written` ones in order); wanted: tokens whose logits are asked for, `samples` for each chunk in order."""

    chunks: list[Chunk]
    ids: Tensor
    positions: Tensor
    slots: Tensor
    sources: Tensor | None
    groups: list[Group]
    wanted: Tensor
    samples: list[int]


def padded(count: int, to: int) -> int:
    return -(-count // to) * to


def build(chunks: list[Chunk], tables: np.ndarray, size: int, heads: int, kv_heads: int, device) -> Batch:
    """Lays out the chunks of a step. tables: block numbers by row; size: positions a block."""
    ids: list[int] = []
    for c in chunks:
        s = c.sequence
        ids += (s.tokens + s.draft if s.draft else s.tokens)[c.start : c.start + c.count]
    rows = np.array([c.sequence.row for c in chunks])
    starts, counts = np.array([c.start for c in chunks]), np.array([c.count for c in chunks])
    first = np.cumsum(counts) - counts
    positions = np.arange(len(ids)) + np.repeat(starts - first, counts)
    slots = place(tables, np.repeat(rows, counts), positions, size)
    sources = None
    if any(c.source for c in chunks):
        slots, sources = with_copies(chunks, slots, first, tables, size)
    groups = []
    for members in grouped(counts, starts + counts, heads):
        groups.append(
            group(
                rows[members], starts[members], counts[members], first[members], tables, size, heads, kv_heads, device
            )
        )
    if len(groups) == 1 and (counts == 1).all():
        groups[0].index = None
    samples = [c.samples for c in chunks]
    wanted = [int(f) + c.count - k + i for f, c, k in zip(first, chunks, samples, strict=True) for i in range(k)]
    fill = padded(len(ids), ROWS) - len(ids)
    return Batch(
        chunks,
        torch.tensor(ids + [0] * fill, device=device),
        torch.from_numpy(np.pad(positions, (0, fill))).to(device),
        torch.from_numpy(slots).to(device),
        None if sources is None else torch.from_numpy(sources).to(device),
        groups,
        torch.tensor(wanted + [0] * (padded(len(wanted), ROWS) - len(wanted)), dtype=torch.long, device=device),
        samples,
    )


def place(tables: np.ndarray, rows: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Where in the cache a row's position lies."""
    return tables[rows, positions // size] * size + positions % size


def with_copies(chunks, slots, first, tables, size) -> tuple[np.ndarray, np.ndarray]:
    """Slots and sources of the step's own tokens, then of what sequences copy from an equal prompt."""
    all_slots, sources = [slots], [np.arange(len(slots))]
    begin = {id(c): int(f) for c, f in zip(chunks, first, strict=True)}
    for c in chunks:
        if c.source:
            span = np.arange(*c.copies)
            all_slots.append(place(tables, np.full(len(span), c.sequence.row), span, size))
            sources.append(begin[id(c.source)] + span - c.source.start)
    return np.concatenate(all_slots), np.concatenate(sources)


def grouped(counts: np.ndarray, ends: np.ndarray, heads: int) -> list[np.ndarray]:
    """Sequences with one token each are one group; longer chunks go by similar length, within the score limit."""
    groups = []
    classes = np.where(counts == 1, 0, np.ceil(np.log2(counts)).astype(int))
    for c in np.unique(classes):
        members = np.flatnonzero(classes == c)
        most = max(1, SCORES // int(counts[members].max() * ends[members].max() * heads))
        groups += [members[i : i + most] for i in range(0, len(members), most)]
    return groups


def group(rows, starts, counts, first, tables, size, heads, kv_heads, device) -> Group:
    """The group of these sequences: queries padded to the longest chunk, keys to the longest table."""
    n, T = len(rows), int(counts.max())
    blocks = tables[rows, : padded(int((starts + counts).max()), size) // size]
    steps = np.arange(T)
    real = steps < counts[:, None]
    positions = np.where(real, starts[:, None] + steps, 0)
    index = np.where(real, first[:, None] + steps, 0)
    allowed = torch.from_numpy(np.arange(blocks.shape[1] * size) <= positions[..., None])  # (n, T, S)
    mask = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
    if T > 1:
        share = heads // kv_heads
        mask = mask.repeat_interleave(share, dim=1)
        mask = torch.nn.functional.pad(mask, (0, 0, 0, padded(T * share, HEAD_ROWS) - T * share))
    mask = mask.expand(kv_heads, *mask.shape).reshape(kv_heads * n, *mask.shape[1:])
    return Group(
        n,
        T,
        torch.from_numpy(index.ravel()).to(device),
        None if real.all() else torch.from_numpy(np.flatnonzero(real)).to(device),
        torch.from_numpy(blocks.ravel()).to(device),
        mask.to(device),
    )
