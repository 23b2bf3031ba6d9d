"""Multi-token prediction block [R 2.2, 2.3]: 16 tensors a layer, sharing embedding and output head with the main model.

`concat(RMSNorm(hidden), RMSNorm(embedding of the next token)) -> linear -> one transformer block -> RMSNorm`; the
caller applies the main output head. Position t keeps its own rotary position; the hidden state is taken before the
main model's final norm unless the config says `post_norm`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from openmimo.model.config import ModelConfig
from openmimo.model.layers import Block, RMSNorm


class MTPBlock(Block):
    """One MTP layer; a transformer block with its own input projection and final norm."""

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.token_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.hidden_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.input_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.final_layernorm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(self, hidden: Tensor, token: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """hidden, token embedding (B, T, D) -> normed hidden states (B, T, D) for the main output head."""
        x = self.input_proj(torch.cat((self.hidden_layernorm(hidden), self.token_layernorm(token)), dim=-1))
        return self.final_layernorm(super().forward(x, rope, mask))


def shift_labels(labels: Tensor, segments: Tensor, by: int) -> Tensor:
    """Labels (B, T) moved `by` positions to the left inside each document; -100 where the document ends first."""
    shifted = torch.full_like(labels, -100)
    if by < labels.shape[1]:
        same = segments[:, by:] == segments[:, :-by]
        shifted[:, :-by] = torch.where(same, labels[:, by:], -100)
    return shifted
