"""The decoder: pre-RMSNorm, grouped-query attention, SwiGLU, RoPE, MTP blocks [R 2.2]. One definition for all rooms.

Module names are those of the HF checkpoints (Qwen2, Llama, MiMo), so `state_dict()` is a checkpoint.
Shapes: B rows, T positions, D hidden, H heads, K key-value heads, E head_dim, S cached positions, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from openmimo.model.config import ModelConfig
from openmimo.model.layers import Block, RMSNorm, additive, rope_tables
from openmimo.model.mtp import MTPBlock


class Decoder(nn.Module):
    """Embedding, blocks and final norm; holds the MTP blocks too, as the released checkpoint does."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mtp_layers = nn.ModuleList(MTPBlock(config) for _ in range(config.mtp_layers))


class Transformer(nn.Module):
    """The language model. Build it with `Transformer(config)`; `reset_parameters` draws its initial weights."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.rope_base = config.rope_base
        self.model = Decoder(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tied:
            self.lm_head.weight = self.model.embed_tokens.weight

    def reset_parameters(self, seed: int) -> None:
        """Normal weights of std `init_std` (residual outputs scaled by 1/sqrt(2 layers)), biases 0, norms 1."""
        generator = torch.Generator().manual_seed(seed)
        residual = self.config.init_std / (2 * self.config.layers) ** 0.5
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim < 2:
                    weight.fill_(0.0 if name.endswith("bias") else 1.0)
                else:
                    std = residual if name.endswith(("o_proj.weight", "down_proj.weight")) else self.config.init_std
                    weight.normal_(0.0, std, generator=generator)

    def forward(self, ids: Tensor, positions: Tensor, mask: Tensor | None = None, cache=None, rope=None) -> Tensor:
        """ids, positions (B, T) int; mask (B, 1, T, T), added to the scores (None: plain causal); cache: attends
        instead, over what it holds (infer/cache.py); rope: the tables of these positions, where they are at hand.
        Returns the hidden states before the final norm (B, T, D)."""
        hidden = self.model.embed_tokens(ids)
        rope = rope or rope_tables(positions, self.config.head_dim, self.rope_base)
        for index, block in enumerate(self.model.layers):
            hidden = block(hidden, rope, mask, cache, index)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states before the final norm (..., D) -> logits (..., V)."""
        return self.lm_head(self.model.norm(hidden))

    def mtp_tap(self, hidden: Tensor) -> Tensor:
        """Hidden states before the final norm (B, T, D) -> what the MTP blocks read of them."""
        return self.model.norm(hidden) if self.config.mtp_hidden == "post_norm" else hidden

    def mtp(
        self, depth: int, hidden: Tensor, later_ids: Tensor, positions: Tensor, mask=None, cache=None, rope=None
    ) -> Tensor:
        """Output (B, T, D) of MTP block `depth` (0-based), for `lm_head`. hidden: `mtp_tap` of the main model's, or in
        `chained` mode the output of the block before; later_ids (B, T): at t the token at t + depth + 1; mask, cache
        and rope as in `forward` (a cache of the MTP blocks alone)."""
        token = self.model.embed_tokens(later_ids)
        if self.config.mtp_first == "masked":
            token = token.masked_fill((positions == 0)[..., None], 0.0)
        rope = rope or rope_tables(positions, self.config.head_dim, self.rope_base)
        return self.model.mtp_layers[depth](hidden, token, rope, mask, cache, depth)

    def mtp_logits(self, hidden: Tensor, ids: Tensor, positions: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Logits (B, T, V) of every MTP block over whole rows `ids`, the true tokens given [R 2.2]: block i at t
        predicts the token at t + i + 2. hidden: the main model's, before the final norm. The last i + 1 slots of a
        document see a later document's token; they have no label, and none that has one attends to them."""
        state, found = self.mtp_tap(hidden), []
        for depth in range(len(self.model.mtp_layers)):
            out = self.mtp(depth, state, ids.roll(-depth - 1, dims=1), positions, mask)
            found.append(self.lm_head(out))
            state = out if self.config.mtp_mode == "chained" else state
        return found


def segment_mask(segments: Tensor) -> Tensor:
    """(B, T) document numbers of packed rows -> (B, 1, T, T): 0 where a position may attend, -inf elsewhere: causal,
    and never across documents."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return additive((segments[:, :, None] == segments[:, None, :]) & causal)[:, None]


def token_logprobs(logits: Tensor, ids: Tensor) -> Tensor:
    """Natural-log probability of `ids` (...) under `logits` (..., V) at temperature 1; the one place that computes it."""
    logits = logits.float()
    return logits.gather(-1, ids.unsqueeze(-1)).squeeze(-1) - torch.logsumexp(logits, dim=-1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum of the negative log-likelihood (natural log) over labels (...) that are not -100."""
    return F.cross_entropy(logits.flatten(0, -2).float(), labels.flatten(), ignore_index=-100, reduction="sum")
