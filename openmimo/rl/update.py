"""One policy update from groups of responses: the trainer's log-probabilities, pi_old, GRPO steps [R 3.3]."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from openmimo.model.transformer import Transformer, token_logprobs
from openmimo.recipe import Rl
from openmimo.rl.grpo import group_advantages, policy_loss, token_weights
from openmimo.rl.rollout.group import Group
from openmimo.train.optim import Optimisers


@dataclass
class Sequence:
    """A prompt and its response with what the loss needs. weight: of each of its tokens in its mini-batch."""

    prompt: tuple[int, ...]
    response: list[int]
    engine_logprobs: list[float]
    advantage: float
    group: int
    weight: float = 0.0
    old: Tensor | None = None

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.response)


def sequences_of(groups: list[Group]) -> list[Sequence]:
    """All responses of the groups, with their advantages."""
    sequences = []
    for group in groups:
        for event, advantage in zip(group.events, group_advantages(group.rewards), strict=True):
            sequences.append(Sequence(group.prompt, event.token_ids, event.logprobs, advantage, group.task))
    return sequences


def micro_batches(sequences: list[Sequence], size: int) -> list[list[Sequence]]:
    """Sequences of similar length together, so that little is padded."""
    ordered = sorted(sequences, key=lambda s: s.length)
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def response_logprobs(model: Transformer, batch: list[Sequence]) -> Tensor:
    """Log-probabilities (N,) of all response tokens of `batch`, laid end to end."""
    device = model.lm_head.weight.device
    width = max(s.length for s in batch) - 1
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    rows, columns, targets = [], [], []
    for row, s in enumerate(batch):
        tokens = [*s.prompt, *s.response]
        ids[row, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        rows += [row] * len(s.response)
        columns += range(len(s.prompt) - 1, len(tokens) - 1)
        targets += s.response
    positions = torch.arange(width, device=device).expand(len(batch), width)
    hidden = model(ids.to(device), positions)
    picked = hidden[torch.tensor(rows, device=device), torch.tensor(columns, device=device)]
    return token_logprobs(model.logits(picked), torch.tensor(targets, device=device))


def spread(values: list[float], batch: list[Sequence], device) -> Tensor:
    """One value a sequence -> one a response token (N,)."""
    counts = torch.tensor([len(s.response) for s in batch])
    return torch.repeat_interleave(torch.tensor(values, dtype=torch.float32), counts).to(device)


@torch.no_grad()
def recompute_old(model: Transformer, sequences: list[Sequence], size: int) -> None:
    """pi_old by the trainer, before the first update of an iteration."""
    for batch in micro_batches(sequences, size):
        logprobs = response_logprobs(model, batch)
        for s, old in zip(batch, logprobs.split([len(s.response) for s in batch]), strict=True):
            s.old = old


def update(model: Transformer, groups: list[Group], optim: Optimisers, lr: float, rl: Rl) -> dict[str, float]:
    """All GRPO updates of a step (batch / minibatch of them); returns what is logged. The gap, KL and entropy compare
    the engine's log-probabilities with the trainer's before the first update. KL is the k3 estimate of
    KL(engine || trainer); entropy is estimated by the mean of -log p of the sampled tokens."""
    minibatches = [sequences_of(groups[i : i + rl.minibatch]) for i in range(0, len(groups), rl.minibatch)]
    if len(minibatches) > 1:
        for sequences in minibatches:
            recompute_old(model, sequences, rl.micro_batch)
    gaps: list[Tensor] = []
    totals = {"loss": 0.0, "clip_fraction": 0.0, "grad_norm": 0.0}
    model.train()
    for sequences in minibatches:
        weights = token_weights([len(s.response) for s in sequences], [s.group for s in sequences], rl.loss_norm)
        for s, weight in zip(sequences, weights, strict=True):
            s.weight = weight
        for batch in micro_batches(sequences, rl.micro_batch):
            logprobs = response_logprobs(model, batch)
            old = logprobs.detach() if batch[0].old is None else torch.cat([s.old for s in batch])
            device = logprobs.device
            engine = torch.tensor([p for s in batch for p in s.engine_logprobs], device=device)
            gaps.append(torch.stack((old, engine)))
            advantages = spread([s.advantage for s in batch], batch, device)
            weight = spread([s.weight for s in batch], batch, device)
            if rl.truncated_is:  # the engine sampled by its own probabilities, and the trainer's old ones differ
                weight = weight * (old - engine).exp().clamp(max=rl.truncated_is)
            loss, clipped = policy_loss(logprobs, old, advantages, weight, rl.eps_low, rl.eps_high)
            loss.backward()
            totals["loss"] += loss.item() / len(minibatches)
            totals["clip_fraction"] += clipped.item() / len(minibatches)
        totals["grad_norm"] += optim.step(lr) / len(minibatches)
    trainer, engine = torch.cat(gaps, dim=1)
    difference = trainer - engine
    return totals | {
        "logprob_gap_mean": difference.abs().mean().item(),
        "logprob_gap_max": difference.abs().max().item(),
        "kl": (difference.exp() - 1 - difference).mean().item(),
        "entropy": -engine.mean().item(),
    }
