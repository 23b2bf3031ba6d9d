"""Paged keys and values, and attention over them in a fixed order of summation.

What a query attends to is summed in one order whatever else runs: products over the head dimension and over SPAN
positions at a time, in the order of positions; masked positions have probability 0, and adding 0 changes nothing. So
neither the batch, nor padding, nor the cut into chunks shows in a single bit (tests/infer/test_invariance.py).

Shapes: N tokens of the step, H heads, K key-value heads, G = H / K, E head_dim, S positions, n sequences, T tokens each.
"""

from __future__ import annotations

import math
import mmap

import torch
from torch import Tensor

from openmimo.infer.batch import HEAD_ROWS, Batch, Group, padded
from openmimo.model.config import ModelConfig

LANES = 8  # head_dim is padded to a multiple of it, with zeros: in narrower products the library's order varies
SPAN = 128  # longer sums are split by the matrix library where it likes; up to here it adds in order


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device) -> Tensor:
    """torch.zeros, but on the CPU its pages take no memory before something is written to them: small pages, since of
    large ones (numpy asks for them) the first request would touch all."""
    if torch.device(device).type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    pages = mmap.mmap(-1, math.prod(shape) * dtype.itemsize)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=dtype).view(shape)


class PagedCache:
    """kv: (layers, 2 K, places, E padded), keys before values, `size` places a block; block 0 is never written. Memory is
    touched on first use."""

    def __init__(self, config: ModelConfig, layers: int, blocks: int, size: int, dtype, device):
        self.size, self.heads, self.kv_heads, self.head_dim = size, config.heads, config.kv_heads, config.head_dim
        self.width = padded(config.head_dim, LANES)
        self.kv = zeros((layers, 2 * config.kv_heads, (blocks + 1) * size, self.width), dtype, device)
        self.k, self.v = self.kv.chunk(2, dim=1)  # views
        self.gathered = self.kv.new_empty(0)  # reused from group to group: it stays in the processor's cache
        self.batch: Batch | None = None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Stores the step's k and v (1, N, K, E), then lets q (1, N, H, E) attend. Returns (1, N, H, E)."""
        batch, (_, N, H, E), K = self.batch, q.shape, self.kv_heads
        for store, new in ((self.k[layer], k[0]), (self.v[layer], v[0])):
            store[..., :E].index_copy_(1, batch.slots, new[: len(batch.slots)].transpose(0, 1))
        if batch.copies:
            blocks, (to, of) = self.blocks(layer), batch.copies
            blocks.index_copy_(1, to, blocks.index_select(1, of))
        out = q.new_zeros(N, K, H // K, E)
        for g in batch.groups:
            part = self.attend_group(layer, q[0], g)
            if g.index is None:
                out[g.first : g.first + g.n] = part
            elif g.real is None:
                out[g.index] = part
            else:
                out[g.index[g.real]] = part[g.real]
        return out.view(1, N, H, E)

    def attend_group(self, layer: int, q: Tensor, g: Group) -> Tensor:
        """q (N, H, E) -> (n T, K, G, E) of the group's tokens."""
        n, T, K, E, W = g.n, g.T, self.kv_heads, self.head_dim, self.width
        G = self.heads // K
        q = q[g.first : g.first + n] if g.index is None else q[g.index]
        M = padded(T * G, HEAD_ROWS)
        rows = (q.new_empty if (M, W) == (T * G, E) else q.new_zeros)(K * n, M, W)
        rows[:, : T * G, :E].view(K, n, T, G, E).copy_(q.reshape(n, T, K, G, E).permute(2, 0, 1, 3, 4))
        k, v = self.gather(layer, g.blocks).view(2, K * n, -1, W)
        scores = q.new_empty(K, n, M, k.shape[1]).copy_(g.mask).view(K * n, M, -1)
        probs = scores.baddbmm_(rows, k.transpose(1, 2), alpha=E**-0.5).softmax(dim=-1)
        out = torch.bmm(probs[..., :SPAN], v[:, :SPAN])
        for at in range(SPAN, k.shape[1], SPAN):
            out = out.baddbmm_(probs[..., at : at + SPAN], v[:, at : at + SPAN])
        return out[:, : T * G, :E].view(K, n, T, G, E).permute(1, 2, 0, 3, 4).reshape(n * T, K, G, E)

    def blocks(self, layer: int) -> Tensor:
        """(2 K, blocks, size W)."""
        return self.kv[layer].view(2 * self.kv_heads, -1, self.size * self.width)

    def gather(self, layer: int, blocks: Tensor) -> Tensor:
        """Keys and values of these blocks (2 K, blocks, size W), until the next call."""
        store = self.blocks(layer)
        shape = (store.shape[0], len(blocks), store.shape[2])
        count = shape[0] * shape[1] * shape[2]
        if count > len(self.gathered):
            self.gathered = self.kv.new_empty(count)
        return torch.index_select(store, 1, blocks, out=self.gathered[:count].view(shape))
