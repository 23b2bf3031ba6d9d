"""Counter-based sampling: the token at a position is a function of (seed, the caller's key, position, logits) alone.

Engine ids and batch places never enter, so the same request gives the same tokens whatever else runs.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

_MASK = np.uint64(0xFFFFFFFFFFFFFFFF)


def stream_of(seed: int, key: tuple) -> int:
    """64 bits that name a request's stream of random numbers, from the run's seed and the caller's key."""
    text = repr((seed, *key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def uniforms(streams: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """streams, positions (N,) -> float64 (N,) in [0, 1): splitmix64 of stream and position."""
    with np.errstate(over="ignore"):
        z = streams.astype(np.uint64) + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9) & _MASK
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB) & _MASK
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample(logits: Tensor, uniform: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    """Inverse-CDF sampling. logits (N, V), uniform, temperature and top_p (N,) -> ids (N,). Temperature 0 is argmax;
    top_p keeps the smallest set of most likely tokens whose probability reaches it."""
    greedy = temperature == 0
    probs = torch.softmax(logits.float() / temperature.clamp(min=1e-6)[:, None], dim=-1)
    if bool((top_p < 1).any()):
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered
        ordered = ordered.masked_fill(before >= top_p[:, None], 0.0)
        probs = torch.zeros_like(probs).scatter_(1, order, ordered)
    cdf = probs.cumsum(dim=-1)
    total = cdf[:, -1:]
    aim = torch.minimum(uniform.to(cdf)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    ids = torch.searchsorted(cdf, aim, right=True).squeeze(1)
    return torch.where(greedy, logits.argmax(dim=-1), ids)
