"""Data parallelism: every rank draws the same batch, computes its rows, and the sums meet before the one division.

    torch.distributed must have been started (by torchrun, or by openmimo.execute); `Parallel.started()` picks it up.

Ranks hold whole copies of the model (FSDP is not there yet). Sums of gradients do not depend on who holds which row but
for the order of addition, so one rank and two give the same loss to rounding, and a run resumed with as many ranks is
bit-equal. On two CPU cores two ranks of one thread are about twice as fast as one rank of two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Parallel:
    """rank of world; the default is a process alone."""

    rank: int = 0
    world: int = 1

    @staticmethod
    def started() -> Parallel:
        """The ranks of the process group, if one was started."""
        if dist.is_available() and dist.is_initialized():
            return Parallel(dist.get_rank(), dist.get_world_size())
        return Parallel()

    def sum(self, tensors: list[Tensor]) -> None:
        """Adds each tensor over all ranks, in place; one message for all of them. All have one dtype."""
        if self.world == 1:
            return
        flat = torch.cat([t.reshape(-1) for t in tensors])
        dist.all_reduce(flat)
        for t, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            t.copy_(part.view_as(t))

    def mine(self, rows: int) -> slice:
        """This rank's rows of a batch."""
        return slice(self.rank, rows, self.world)
