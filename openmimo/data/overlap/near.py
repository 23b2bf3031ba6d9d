"""Near-duplicates among a few thousand texts in memory: sets of word 5-grams, compared where they share a rare one.

    python -c "from openmimo.data.overlap.near import Seen; print(Seen(0.8).add('one text'))"

For what is made one by one and must be dropped at once (synthetic responses); a corpus goes through dedup.py.
"""

from __future__ import annotations

import numpy as np

from openmimo.data.overlap.hashes import ngrams
from openmimo.data.overlap.words import words_of

SKETCH = 16  # smallest hashes of a text; two texts are compared if they share one


class Seen:
    """Texts kept so far. Two are near-duplicates from a Jaccard similarity of `threshold` on; of texts of fewer than
    five words only equal ones are."""

    def __init__(self, threshold: float = 0.8):
        self.threshold = threshold
        self.sets: list[np.ndarray] = []
        self.places: dict[int, list[int]] = {}

    def add(self, text: str) -> bool:
        """Whether it is new; if so it is kept."""
        hashes = words_of([text]).hash
        grams = np.unique(ngrams(hashes, min(5, len(hashes)))) if len(hashes) else np.zeros(1, np.uint64)
        rivals = {place for h in grams[:SKETCH].tolist() for place in self.places.get(h, ())}
        if any(self._similarity(grams, self.sets[place]) >= self.threshold for place in rivals):
            return False
        for h in grams[:SKETCH].tolist():
            self.places.setdefault(h, []).append(len(self.sets))
        self.sets.append(grams)
        return True

    @staticmethod
    def _similarity(one: np.ndarray, other: np.ndarray) -> float:
        shared = len(np.intersect1d(one, other, assume_unique=True))
        return shared / max(1, len(one) + len(other) - shared)
