"""The classifier of text blocks: gradient-boosted trees and word weights, kept as plain data in block_model.json [R 2.1].

    python -c "from openmimo.data.extract.block_model import model; print(len(model().words), [len(r.values) for r in model().rounds])"

Trained by bench/train_blocks.py on public gold pages; nothing but numpy is needed to read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from openmimo.data.extract.block_features import context_features, features
from openmimo.data.extract.text_blocks import Blocks

MAX_BLOCKS = 3_000
LEAVES = 16  # of a tree, at most
_ALL = (1 << LEAVES) - 1
_LOWEST_BIT = np.array([(i & -i).bit_length() - 1 for i in range(_ALL + 1)], dtype=np.intp)


@dataclass(frozen=True)
class Trees:
    """All decisions of all trees are taken at once: each that goes right rules out the leaves on its left, one bit for each leaf.

    features, thresholds, masks: (trees * decisions,) what is compared with what, and the leaves that stay if it is greater;
    values: (trees, LEAVES).
    """

    features: np.ndarray
    thresholds: np.ndarray
    masks: np.ndarray
    values: np.ndarray
    base: float

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(blocks, n) -> (blocks,) probability that a block is content."""
        greater = x.T[self.features] > self.thresholds[:, None]
        left = np.where(greater, self.masks[:, None], np.uint16(_ALL)).reshape(len(self.values), -1, len(x))
        leaf = _LOWEST_BIT[np.bitwise_and.reduce(left, axis=1)]
        values = np.take_along_axis(self.values, leaf, axis=1)
        return 1 / (1 + np.exp(-(self.base + np.ascontiguousarray(values.T).sum(axis=1))))


@dataclass(frozen=True)
class BlockModel:
    """rounds: the second sees what the first said of the blocks around. words: log odds of class and text words."""

    rounds: tuple[Trees, Trees]
    words: dict[str, float]

    def predict(self, blocks: Blocks) -> np.ndarray:
        """(blocks,) probability that a block is content."""
        x = features(blocks, self.words)
        step = -(-len(x) // MAX_BLOCKS)  # of a page with very many blocks some speak for their neighbours
        first = np.repeat(self.rounds[0].predict(x[::step]), step)[: len(x)]
        x = np.vstack([x.T, context_features(blocks, first).T]).T
        return np.repeat(self.rounds[1].predict(x[::step]), step)[: len(x)]


@lru_cache(maxsize=1)
def model() -> BlockModel:
    """The model that the package brings."""
    return read_model(Path(__file__).with_suffix(".json"))


def read_model(path: Path) -> BlockModel:
    data = json.loads(path.read_text(encoding="utf-8"))
    return BlockModel(tuple(map(_trees, data["rounds"])), data["words"])


def _trees(data: dict) -> Trees:
    trees = data["trees"]
    width = max(len(tree["feature"]) // 2 for tree in trees)
    features = np.zeros((len(trees), width), dtype=np.intp)
    thresholds = np.full((len(trees), width), np.inf, dtype=np.float32)
    masks = np.full((len(trees), width), _ALL, dtype=np.uint16)
    values = np.zeros((len(trees), LEAVES), dtype=np.float32)
    for i, tree in enumerate(trees):
        leaves = decisions = 0
        stack: list[tuple[int, int]] = [(0, -1)]  # node, the decision whose left side ends before it
        first: dict[int, int] = {}  # decision -> its first leaf
        while stack:
            node, after = stack.pop()
            if after >= 0:
                masks[i, after] = _ALL & ~sum(1 << leaf for leaf in range(first[after], leaves))
            if tree["left"][node] == node:
                values[i, leaves] = tree["value"][node]
                leaves += 1
                continue
            features[i, decisions], thresholds[i, decisions] = tree["feature"][node], tree["threshold"][node]
            first[decisions] = leaves
            stack += [(tree["right"][node], decisions), (tree["left"][node], -1)]
            decisions += 1
    return Trees(features.ravel(), thresholds.ravel(), masks.ravel(), values, data["base"])
