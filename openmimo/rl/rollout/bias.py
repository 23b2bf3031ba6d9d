"""The bias meter: does a stopping rule prefer short responses? Kolmogorov-Smirnov distance, 0 for an unbiased rule.

    bias(trained, valid)    # lengths of the groups trained; of all valid groups among the same numbers, run to the end

"The same numbers" are 0..m, with m the highest number trained. For the rule of `policy` the two lists are the same
groups, so the distance is 0; a rule that takes what finishes first leaves out the long ones that began before.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def ks_distance(one: Sequence[float], two: Sequence[float]) -> float:
    """Largest difference of the two empirical distribution functions, in [0, 1]. Both must hold something."""
    one, two = sorted(one), sorted(two)
    assert one and two, "ks_distance of an empty sample"
    points = {*one, *two}
    return max(abs(bisect_right(one, x) / len(one) - bisect_right(two, x) / len(two)) for x in points)


def bias(batch: Sequence[int], valid: Sequence[bool], lengths: Sequence[float]) -> float:
    """Of a batch of task numbers, given for tasks 0..max(batch), all run to completion, whether they are valid and how
    long their longest response is."""
    same = range(max(batch) + 1)
    return ks_distance([lengths[n] for n in batch], [lengths[n] for n in same if valid[n]])
