"""A task's responses with their rewards, the filter of dynamic sampling, and the hash by which batches are compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np

from openmimo.infer.engine import Event
from openmimo.rl.grpo import has_signal
from openmimo.rl.score import Scored
from openmimo.rows import Problem


@dataclass(frozen=True)
class Group:
    """G responses to one problem. task: its number in start order."""

    task: int
    problem: Problem
    from_pool: bool
    prompt: tuple[int, ...]
    events: list[Event]
    scored: list[Scored]

    @property
    def rewards(self):
        return [s.reward for s in self.scored]

    @property
    def length(self) -> int:
        """Tokens of its longest response."""
        return max(len(e.token_ids) for e in self.events)


@dataclass
class Rollouts:
    """A step's result. batch: the groups to train on; used: tasks 0..k, which are committed; started: tasks started;
    surplus: valid groups that were generated beyond the batch; times in seconds."""

    batch: list[Group]
    used: list[Group]
    started: int
    surplus: int
    rollout_s: float
    reward_s: float
    facts: dict = field(default_factory=dict)


def is_valid(scored: list[Scored], rule: str) -> bool:
    """The filter of dynamic sampling [R 3.3]. `unequal_rewards`: the exact rewards are not all equal, so that there is
    a gradient; `mixed_passes`: some responses pass whole and some do not (for code it drops what partial points alone
    tell apart)."""
    if rule == "unequal_rewards":
        return has_signal([s.reward for s in scored])
    return 0 < sum(s.passed for s in scored) < len(scored)


def batch_hash(groups: list[Group]) -> str:
    """Of everything that training reads: problems, tokens, the engine's log-probabilities, exact rewards."""
    digest = hashlib.blake2b(digest_size=8)
    for group in groups:
        digest.update(f"{group.task} {group.problem.id} {[str(r) for r in group.rewards]}".encode())
        for event in group.events:
            digest.update(np.array(event.token_ids, np.int32).tobytes())
            digest.update(np.array(event.logprobs, np.float32).tobytes())
    return digest.hexdigest()
