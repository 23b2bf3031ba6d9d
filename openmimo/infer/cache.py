"""The key-value cache of the engine: one dense row a running response; running rows are always the first ones.

`Transformer.forward(cache=...)` calls `update(layer, k, v)`; the cache stores what is new and returns all keys and
values to attend to. Shapes: N slots, K key-value heads, S positions, E head_dim.
"""

from __future__ import annotations

import torch
from torch import Tensor

from openmimo.model.config import ModelConfig
from openmimo.model.layers import additive


class PrefillCache:
    """Collects the keys and values of whole prompts."""

    def __init__(self):
        self.layers: list[tuple[Tensor, Tensor]] = []

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.layers.append((k, v))
        return k, v


class SlotCache:
    """Room for `slots` responses of at most `length` positions, grown on demand."""

    def __init__(self, config: ModelConfig, slots: int, length: int, dtype: torch.dtype, device: torch.device):
        self.config, self.slots, self.dtype, self.device = config, slots, dtype, device
        self.length = 0
        self.k: list[Tensor] = []
        self.v: list[Tensor] = []
        self.rows = torch.arange(slots, device=device)
        self.grow(length)

    def grow(self, length: int) -> None:
        """Makes room for `length` positions a row; what is cached stays."""
        if length <= self.length:
            return
        shape = (self.slots, self.config.kv_heads, length, self.config.head_dim)
        for side in (self.k, self.v):
            old = list(side)
            side.clear()
            for layer in range(self.config.layers):
                new = torch.zeros(shape, dtype=self.dtype, device=self.device)
                if old:
                    new[:, :, : self.length] = old[layer]
                side.append(new)
        self.length = length

    def begin(self, lengths: Tensor, longest: int) -> Tensor:
        """Prepares a decode step of the first len(lengths) rows, which hold `lengths` positions each. Returns the
        mask (n, 1, 1, longest + 1) of the positions each may attend to."""
        self.lengths, self.span = lengths, longest + 1
        return additive(torch.arange(self.span, device=self.device) <= lengths[:, None])[:, None, None]

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """k, v (n, K, 1, E) of the step -> keys and values (n, K, span, E)."""
        n = len(k)
        self.k[layer][self.rows[:n], :, self.lengths] = k[:, :, 0]
        self.v[layer][self.rows[:n], :, self.lengths] = v[:, :, 0]
        return self.k[layer][:n, :, : self.span], self.v[layer][:n, :, : self.span]

    def insert(self, prefill: PrefillCache, sources: Tensor, targets: Tensor, length: int) -> None:
        """Copies `length` positions of the prompts `sources` into the rows `targets`."""
        for layer, (k, v) in enumerate(prefill.layers):
            self.k[layer][targets, :, :length] = k[sources, :, :length]
            self.v[layer][targets, :, :length] = v[sources, :, :length]

    def move(self, sources: Tensor, targets: Tensor, length: int) -> None:
        """Moves rows; source and target rows do not overlap."""
        for side in (*self.k, *self.v):
            side[targets, :, :length] = side[sources, :, :length]
