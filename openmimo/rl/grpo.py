"""GRPO as in the report [R 3.3]: group advantages, clip-higher, token-level mean, no KL term.

Shapes: N tokens of the responses of a mini-batch, laid end to end.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

STD_EPSILON = 1e-6


def group_advantages(rewards: Sequence[Fraction]) -> list[float]:
    """(reward - mean) / (population standard deviation + 1e-6) within one group; exact until the last division."""
    mean = sum(rewards, Fraction(0)) / len(rewards)
    variance = sum(((r - mean) ** 2 for r in rewards), Fraction(0)) / len(rewards)
    std = float(variance) ** 0.5
    return [float(r - mean) / (std + STD_EPSILON) for r in rewards]


def has_signal(rewards: Sequence[Fraction]) -> bool:
    """Whether a group has a gradient: its exact rewards are not all equal [dynamic sampling]."""
    return len(set(rewards)) > 1


def token_weights(lengths: Sequence[int], groups: Sequence[int], norm: str) -> list[float]:
    """Weight of each token of each response of a mini-batch. `tokens`: 1 / all response tokens; `group`: 1 / (tokens
    of its group x groups) (the report's equation 1). The weights of all tokens sum to 1."""
    if norm == "tokens":
        return [1 / sum(lengths)] * len(lengths)
    totals: dict[int, int] = {}
    for length, group in zip(lengths, groups, strict=True):
        totals[group] = totals.get(group, 0) + length
    return [1 / (totals[group] * len(totals)) for group in groups]


def policy_loss(
    logprobs: Tensor, old: Tensor, advantages: Tensor, weights: Tensor, eps_low: float, eps_high: float
) -> tuple[Tensor, Tensor]:
    """All inputs (N,). Returns the clipped surrogate loss (to minimise) and the weighted share of clipped tokens.
    ratio = exp(logprobs - old), clipped to [1 - eps_low, 1 + eps_high]."""
    ratio = (logprobs - old).exp()
    clipped = ratio.clamp(1 - eps_low, 1 + eps_high)
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    was_clipped = (clipped * advantages < ratio * advantages).float()
    return -(surrogate * weights).sum(), (was_clipped * weights).sum().detach()
