"""How guesses are made and judged. Two methods, both exact:

coupled (the default, always in RL): the token at a place is the one that the main model samples there, with the noise
of (seed, key, place), and a guess is right if it is that token. Tokens and log-probabilities are those of decoding
without guesses, bit for bit. Guesses are sampled with the same noise from the MTP layer's distribution, so that close
distributions mostly pick the same token.

rejection: a guess x drawn from q is taken with probability min(1, p(x) / q(x)), else replaced by a draw from
max(0, p - q) / sum: the distribution of the text is the main model's [Leviathan et al. 2023; Chen et al. 2023], the text
itself is another one. Its own noise draws guesses, decisions and replacements. With `argmax` q has all its mass on the
most likely token. At temperature 0 both methods are one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from openmimo.infer.sampling import exponentials, filtered, sample, uniforms
from openmimo.infer.sequence import Sequence

Method = Literal["coupled", "rejection"]
GUESS, DECIDE = 0x6775657373, 0x646563696465  # streams of their own beside the sampler's


@dataclass(frozen=True)
class Settings:
    """How the places of some sequences are sampled: one row a place. vocab_size: ids that may be sampled."""

    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    streams: np.ndarray
    places: np.ndarray
    vocab_size: int

    def at(self, further: int) -> Settings:
        """The same, so many places further on."""
        return replace(self, places=self.places + further)

    def noise(self, salt: int = 0) -> Tensor | None:
        """Exponential noise (N, V), None where all is greedy. salt: another stream."""
        if not bool((self.temperature > 0).any()):
            return None
        return exponentials(self.streams ^ np.uint64(salt), self.places, self.vocab_size)


def settings_of(engine, sequences: list[Sequence], places: list[int]) -> Settings:
    """The settings of one place of each sequence."""
    requests, device = [s.request for s in sequences], engine.device
    return Settings(
        torch.tensor([float(r.temperature) for r in requests], device=device),
        torch.tensor([r.top_k for r in requests], device=device),
        torch.tensor([float(r.top_p) for r in requests], device=device),
        np.array([s.stream for s in sequences], dtype=np.uint64),
        np.array(places),
        engine.vocab_size,
    )


def normalised(logits: Tensor, settings: Settings) -> Tensor:
    """What is sampled from: probabilities (N, V) after temperature, top-k and top-p, summing to 1."""
    greedy = settings.temperature == 0
    probs = filtered(logits, torch.where(greedy, 1.0, settings.temperature), settings.top_k, settings.top_p)
    return probs / probs.sum(dim=-1, keepdim=True)


def guess(logits: Tensor, settings: Settings, method: Method, argmax: bool) -> tuple[Tensor, Tensor | None]:
    """Guesses (N,) from the draft's logits (N, V), and for rejection the distribution (N, V) that each is drawn from."""
    if method == "coupled":
        if argmax:
            return logits.argmax(dim=-1), None
        return sample(logits, settings.noise(), settings.temperature, settings.top_k, settings.top_p), None
    if argmax:
        tokens = logits.argmax(dim=-1)
        return tokens, torch.zeros_like(logits).scatter_(1, tokens[:, None], 1.0)
    tokens = sample(logits, settings.noise(GUESS), settings.temperature, settings.top_k, settings.top_p)
    return tokens, normalised(logits, settings)


def verify(logits: Tensor, settings: Settings, tokens: Tensor, drafts: Tensor, q: Tensor) -> Tensor:
    """Tokens (N,) by rejection sampling. logits (N, V): the main model's; tokens: what it samples, taken where there is
    no guess (drafts -1) or no choice (temperature 0); q (N, V): what each guess was drawn from."""
    chooses = (drafts >= 0) & (settings.temperature > 0)
    if not bool(chooses.any()):
        return tokens
    p, noise = normalised(logits, settings), settings.noise()
    at = drafts.clamp(min=0)[:, None]
    ratio = p.gather(1, at)[:, 0] / q.gather(1, at)[:, 0].clamp(min=1e-38)
    u = torch.from_numpy(uniforms(settings.streams ^ np.uint64(DECIDE), settings.places)).to(ratio)
    replaced = ((p - q).clamp(min=0) / noise.to(p.device)).argmax(dim=-1)
    return torch.where(chooses, torch.where(u < ratio, drafts, replaced), tokens)
