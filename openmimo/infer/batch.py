"""A step's tokens laid end to end: what the model computes, where keys and values go, who attends to what.

Shapes: N tokens of the step, K key-value heads, S positions, n sequences of a group, T tokens of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from openmimo.infer.schedule import Chunk
from openmimo.model.config import ModelConfig

ROWS = 8  # N is a multiple of it: then every row of a matrix product comes out the same whatever N is
HEAD_ROWS = 4  # the same for queries x head groups in attention
SCORES = 4_000_000  # attention scores that one group may hold at once
GATHERED = 1 << 19  # elements of keys and values that one group of single tokens may gather, so that they stay at hand


@dataclass
class Group:
    """Sequences that attend together. index: (n T,) their tokens among the N, None for n in a row from `first` on; real:
    which of the n T are tokens and not padding, None for all; blocks (n blocks,); mask (n, M or 1, S), added to the scores."""

    n: int
    T: int
    first: int
    index: Tensor | None
    real: Tensor | None
    blocks: Tensor
    mask: Tensor


@dataclass
class Batch:
    """ids, positions (N,); slots (tokens,): places in the cache of the keys and values, padding has none; copies: blocks
    (to, from) that are copied then; wanted: tokens whose logits are asked for, `samples` for each chunk in order."""

    chunks: list[Chunk]
    ids: Tensor
    positions: Tensor
    slots: Tensor
    copies: tuple[Tensor, Tensor] | None
    groups: list[Group]
    wanted: Tensor
    samples: list[int]


def padded(count: int, to: int) -> int:
    return -(-count // to) * to


@dataclass(frozen=True)
class Layout:
    """Of the cache that the step reads: positions a block, heads, key-value heads, elements a head, where it is."""

    size: int
    heads: int
    kv_heads: int
    head_dim: int
    device: torch.device

    @classmethod
    def of(cls, config: ModelConfig, size: int, device: torch.device) -> Layout:
        return cls(size, config.heads, config.kv_heads, config.head_dim, device)


def build(chunks: list[Chunk], tables: np.ndarray, layout: Layout) -> Batch:
    """Lays out the chunks of a step. tables: block numbers by row."""
    ids: list[int] = []
    for c in chunks:
        s = c.sequence
        if c.count == 1 and not s.draft:
            ids.append(s.tokens[c.start])
        else:
            ids += (s.tokens + s.draft if s.draft else s.tokens)[c.start : c.start + c.count]
    samples = [c.samples for c in chunks]
    rows = np.array([c.sequence.row for c in chunks])
    starts, counts = np.array([c.start for c in chunks]), np.array([c.count for c in chunks])
    first = np.cumsum(counts) - counts
    positions = np.arange(len(ids)) + np.repeat(starts - first, counts)
    slots = place(tables, np.repeat(rows, counts), positions, layout.size)
    groups = []
    for members in grouped(counts, starts + counts, layout):
        groups.append(group(rows[members], starts[members], counts[members], first[members], tables, layout))
    wanted = np.repeat(first + counts - np.cumsum(samples), samples) + np.arange(sum(samples))
    fill = padded(len(ids), ROWS) - len(ids)
    device = layout.device
    return Batch(
        chunks,
        torch.tensor(ids + [0] * fill, device=device),
        torch.from_numpy(np.pad(positions, (0, fill))).to(device),
        torch.from_numpy(slots).to(device),
        copied(chunks, tables, layout),
        groups,
        torch.from_numpy(np.pad(wanted, (0, padded(len(wanted), ROWS) - len(wanted)))).to(device),
        samples,
    )


def place(tables: np.ndarray, rows: np.ndarray, positions: np.ndarray, size: int) -> np.ndarray:
    """Where in the cache a row's position lies."""
    return tables[rows, positions // size] * size + positions % size


def copied(chunks: list[Chunk], tables: np.ndarray, layout: Layout) -> tuple[Tensor, Tensor] | None:
    """The blocks that sequences copy from an equal prompt."""
    pairs = [(c.sequence.row, c.source.sequence.row, c.copies) for c in chunks if c.source]
    if not pairs:
        return None
    to = [tables[row, begin:end] for row, _, (begin, end) in pairs]
    of = [tables[row, begin:end] for _, row, (begin, end) in pairs]
    return tuple(torch.from_numpy(np.concatenate(side)).to(layout.device) for side in (to, of))


def grouped(counts: np.ndarray, ends: np.ndarray, layout: Layout) -> list[np.ndarray]:
    """Sequences with one token each go together, longer chunks by similar length; both in the order of their ends, and
    no more of them than fit the limits of scores and of gathered keys and values."""
    groups = []
    classes = np.where(counts == 1, 0, np.ceil(np.log2(counts)).astype(int))
    for c in np.unique(classes):
        members = np.flatnonzero(classes == c)
        members = members[np.argsort(ends[members], kind="stable")]
        spans = -(-ends[members] // layout.size) * layout.size
        share = layout.heads * int(counts[members].max()) / SCORES
        if not c:
            share = max(share, 2 * layout.kv_heads * layout.head_dim / GATHERED)
        at = 0
        while at < len(members):
            fitting = np.searchsorted(np.arange(1, len(members) - at + 1) * spans[at:] * share, 1.0, side="right")
            n = max(1, int(fitting))
            groups.append(members[at : at + n])
            at += n
    return groups


def group(rows, starts, counts, first, tables, layout: Layout) -> Group:
    """The group of these sequences: queries padded to the longest chunk, keys to the longest table."""
    n, T, device = len(rows), int(counts.max()), layout.device
    blocks = tables[rows, : padded(int((starts + counts).max()), layout.size) // layout.size]
    steps = np.arange(T)
    real = steps < counts[:, None]
    positions = np.where(real, starts[:, None] + steps, 0)
    allowed = np.arange(blocks.shape[1] * layout.size) <= positions[..., None]  # (n, T, S)
    mask = np.where(allowed, np.float32(0), np.float32("-inf"))
    if T > 1:
        share = layout.heads // layout.kv_heads
        mask = mask.repeat(share, axis=1)
        mask = np.pad(mask, ((0, 0), (0, padded(T * share, HEAD_ROWS) - T * share), (0, 0)))
    index = None
    if T > 1 or (first != first[0] + np.arange(n)).any():
        index = torch.from_numpy(np.where(real, first[:, None] + steps, 0).ravel()).to(device)
    return Group(
        n,
        T,
        int(first[0]),
        index,
        None if real.all() else torch.from_numpy(np.flatnonzero(real)).to(device),
        torch.from_numpy(blocks.ravel()).to(device),
        torch.from_numpy(mask).to(device),
    )
