"""How many groups to start, and which of them form the batch [R 3.4]: pure functions, no clock, no model.

The batch is the first B valid groups in start order. This is the naive schedule, in whole rounds; the later ones start
groups one by one from the same two rules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SAFETY = 1.1  # groups started for each group that the forecast asks for: a second round costs more than a few extra


@dataclass
class KeepRates:
    """Running share of groups that had a gradient: one for the main set, one for the easy pool."""

    main: float = 0.6
    pool: float = 0.3
    decay: float = 0.9

    def update(self, from_pool: Sequence[bool], valid: Sequence[bool]) -> None:
        """Moves both rates towards what a step's groups showed."""
        for name, side in (("main", False), ("pool", True)):
            seen = [v for v, p in zip(valid, from_pool, strict=True) if p is side]
            if seen:
                share = max(0.05, sum(seen) / len(seen))
                setattr(self, name, self.decay * getattr(self, name) + (1 - self.decay) * share)


def groups_to_start(missing: int, rates: KeepRates, alpha: float) -> int:
    """Groups of the next round: as many as should give `missing` valid ones at the forecast keep-rate."""
    rate = (1 - alpha) * rates.main + alpha * rates.pool
    return max(1, math.ceil(SAFETY * missing / max(rate, 0.05)))


def first_valid(valid: Sequence[bool], wanted: int) -> tuple[list[int], int]:
    """Indices of the first `wanted` valid groups in start order, and how many groups count as used: those up to the
    last selected one, or all where there are not enough."""
    chosen = [i for i, v in enumerate(valid) if v][:wanted]
    return chosen, chosen[-1] + 1 if len(chosen) == wanted else len(valid)
