"""Counter-based sampling: the token at a position is a function of (seed, the caller's key, position, logits) alone.

Engine ids and batch places never enter, so the same request gives the same tokens whatever else runs. The token is the
argmax of log p + Gumbel noise, written as the argmax of p / E with exponential noise E = -log(1 - u): the same thing.
Two distributions that are close mostly give the same token under the same noise, which is what drafting lives on.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import Tensor

PIECE = 1 << 15  # numbers mixed at a time, so that they stay in the processor's cache


def stream_of(seed: int, key: tuple) -> int:
    """64 bits that name a request's stream of random numbers, from the run's seed and the caller's key."""
    text = repr((seed, *key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def splitmix(streams: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """streams, positions (N,) -> 64 random bits for each (N,) uint64."""
    with np.errstate(over="ignore"):
        z = streams.astype(np.uint64) + (positions.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def uniforms(streams: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """streams, positions (N,) -> float64 (N,) in [0, 1)."""
    return (splitmix(streams, positions) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def exponentials(streams: np.ndarray, positions: np.ndarray, vocab_size: int) -> Tensor:
    """streams, positions (N,) -> fp32 (N, vocab_size): exponential noise of mean 1, one number for each token. Two
    rounds of a 32-bit mixer over the token's number, each keyed by half of the position's 64 bits."""
    bits, count = splitmix(streams, positions), len(streams)
    halves = bits.astype(np.uint32)[:, None], (bits >> np.uint64(32)).astype(np.uint32)[:, None]
    numbers = np.arange(1, vocab_size + 1, dtype=np.uint32) * np.uint32(0x9E3779B9)
    rows = max(1, PIECE // vocab_size)
    mixed, (a, b) = np.empty((count, vocab_size), np.float32), np.empty((2, rows, vocab_size), np.uint32)
    for at in range(0, count, rows):
        here = slice(at, min(at + rows, count))
        h, t = a[: here.stop - at], b[: here.stop - at]
        np.bitwise_xor(numbers, halves[0][here], out=h)
        _mix(h, t)
        h += halves[1][here]
        _mix(h, t)
        mixed[here] = h
    u = torch.from_numpy(mixed).add_(0.5).mul_(-(2.0**-32))
    return u.log1p_().neg_()


def _mix(h: np.ndarray, t: np.ndarray) -> None:
    """The 32-bit finaliser of MurmurHash3, in place; t is room for it."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h ^= np.right_shift(h, np.uint32(shift), out=t)
        h *= np.uint32(factor)
    h ^= np.right_shift(h, np.uint32(16), out=t)


def most_likely(values: Tensor) -> Tensor:
    """values (N, V) -> (N,): the place of the largest in each row, the first of equals. numpy's is ten times as fast."""
    return torch.from_numpy(values.numpy().argmax(-1)) if values.device.type == "cpu" else values.argmax(dim=-1)


def filtered(logits: Tensor, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """logits (N, V), temperature (> 0), top_k (0: all) and top_p (N,) -> probabilities (N, V), 0 for what is filtered
    out, not renormalised. top_p keeps the smallest set of most likely tokens whose probability reaches it, among the
    top_k."""
    if bool((temperature != 1).any()):
        logits = logits / temperature[:, None]
    probs = torch.softmax(logits, dim=-1)
    if bool((top_k > 0).any()) or bool((top_p < 1).any()):
        ordered, order = probs.sort(dim=-1, descending=True, stable=True)
        beyond = (torch.arange(probs.shape[1], device=probs.device) >= top_k[:, None]) & (top_k > 0)[:, None]
        ordered = ordered.masked_fill(beyond, 0.0)
        before = ordered.cumsum(dim=-1) - ordered
        aim = torch.where(top_p < 1, top_p * ordered.sum(dim=-1), torch.inf)
        ordered = ordered.masked_fill(before >= aim[:, None], 0.0)
        probs = torch.zeros_like(probs).scatter_(1, order, ordered)
    return probs


def sample(logits: Tensor, noise: Tensor | None, temperature: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """Token ids (N,). logits (N, V) fp32; noise (N, V) from `exponentials`, None where every temperature is 0: the most
    likely token."""
    greedy = temperature == 0
    if noise is None or bool(greedy.all()):
        return most_likely(logits)
    probs = filtered(logits, torch.where(greedy, 1.0, temperature), top_k, top_p)
    ids = most_likely(probs / noise.to(probs.device))
    return torch.where(greedy, most_likely(logits), ids) if bool(greedy.any()) else ids
