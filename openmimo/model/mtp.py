"""Multi-token prediction [R 2.2, 2.3]: 16 tensors a block, sharing embedding and output head with the main model.

`concat(RMSNorm(hidden), RMSNorm(embedding of a later token)) -> linear -> one transformer block -> RMSNorm`; the
caller applies the main output head. Block i (from 0) at position t reads the token at t + i + 1 and predicts the one at
t + i + 2. What the report leaves open is an option of the config (defaults: the authors' vLLM port, and Figure 2):

    mtp_order   hidden_embedding | embedding_hidden: the halves of the concatenation
    mtp_hidden  pre_norm | post_norm: the main model's hidden state before or behind its final norm
    mtp_first   masked | kept: whether the embedding at position 0 of a document is zeroed
    mtp_mode    parallel | chained: block i > 0 reads the main model's hidden state, or the output of block i - 1
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
        self.hidden_first = config.mtp_order == "hidden_embedding"
        self.token_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.hidden_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.input_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.final_layernorm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(
        self, hidden: Tensor, token: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor | None, cache=None, layer=0
    ) -> Tensor:
        """hidden, token embedding (B, T, D) -> normed hidden states (B, T, D) for the main output head."""
        pair = (self.hidden_layernorm(hidden), self.token_layernorm(token))
        x = self.input_proj(torch.cat(pair if self.hidden_first else pair[::-1], dim=-1))
        return self.final_layernorm(super().forward(x, rope, mask, cache, layer))


def shift_labels(labels: Tensor, segments: Tensor, by: int) -> Tensor:
    """Labels (B, T) moved `by` positions to the left inside each document; -100 where the document ends first."""
    shifted = torch.full_like(labels, -100)
    if by < labels.shape[1]:
        same = segments[:, by:] == segments[:, :-by]
        shifted[:, :-by] = torch.where(same, labels[:, by:], -100)
    return shifted


def accepted_prefixes(guesses: list[Tensor], labels: list[Tensor]) -> list[Tensor]:
    """Teacher-forced acceptance by position: for each depth, (B, T) bool of the places where the guesses of this depth
    and of all before it are the labels', as a verifier that stops at the first wrong draft would count them."""
    found, so_far = [], None
    for guess, label in zip(guesses, labels, strict=True):
        hit = (guess == label) & (label != -100)
        so_far = hit if so_far is None else so_far & hit
        found.append(so_far)
    return found
