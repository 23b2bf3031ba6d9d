"""Pass-rate bands, and when to stop sampling: as soon as no further rollout can change the verdict [R 3.2].

    python -c "from openmimo.data.synthesis.band import Band; print(Band(16, most=0.9).settled(right=0, done=2))"

"Of `rollouts` responses more than 90 % right: dropped" is a rule about all 16; two wrong ones already decide it. The
verdict of the stopped test is that of the full one, always: nothing is estimated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from openmimo.errors import UserError


@dataclass(frozen=True)
class Band:
    """A problem is kept if of `rollouts` responses at least `least` (a count) and at most the share `most` are right."""

    rollouts: int
    most: float = 1.0
    least: int = 0

    def __post_init__(self):
        if self.rollouts < 1 or not 0 <= self.most <= 1 or not 0 <= self.least <= self.rollouts:
            raise UserError(f"{self}: give 1 rollout or more, a share `most` in [0, 1] and `least` of the rollouts")

    @property
    def ceiling(self) -> int:
        """The largest number of right responses that is kept; 0.9 of 10 is 9, whatever floats say."""
        return math.floor(Fraction(str(self.most)) * self.rollouts + Fraction(1, 10**9))

    def settled(self, right: int, done: int) -> bool | None:
        """True: kept, False: dropped, whatever the responses to come; None: they decide."""
        least, most = right, right + self.rollouts - done
        if self.least <= least and most <= self.ceiling:
            return True
        if most < self.least or least > self.ceiling or self.least > self.ceiling:
            return False
        return None

    def next_round(self, right: int, done: int) -> int:
        """How many responses to sample at once: the fewest that can settle it, so none is sampled for nothing; 0 once
        it is settled."""
        return next((n for n in range(self.rollouts - done + 1) if any(
            self.settled(right + more, done + n) is not None for more in (range(n + 1) if n < 2 else (0, n, *range(1, n)))
        )), 0)  # fmt: skip
