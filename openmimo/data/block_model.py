"""The classifier of text blocks: gradient-boosted trees and word weights, kept as plain data in block_model.json [R 2.1].

    python -c "from openmimo.data.block_model import model; print(len(model().words), [len(r.roots) for r in model().rounds])"

Trained by bench/train_blocks.py on public gold pages; nothing but numpy is needed to read it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from openmimo.data.block_features import context_features, features
from openmimo.data.text_blocks import Blocks

MAX_BLOCKS = 3_000


@dataclass(frozen=True)
class Trees:
    """features, thresholds, left, right, values: of all nodes, a leaf its own child; roots: where each tree begins."""

    features: np.ndarray
    thresholds: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    base: float
    depth: int
    roots: np.ndarray

    def predict(self, x: np.ndarray) -> np.ndarray:
        """(blocks, n) -> (blocks,) probability that a block is content."""
        at = np.broadcast_to(self.roots, (len(x), len(self.roots)))
        flat, rows = x.ravel(), (np.arange(len(x)) * x.shape[1])[:, None]
        for _ in range(self.depth):
            at = np.where(flat[rows + self.features[at]] <= self.thresholds[at], self.left[at], self.right[at])
        return 1 / (1 + np.exp(-(self.base + self.values[at].sum(axis=1))))


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
        x = np.hstack([x, context_features(blocks, first)])
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
    starts = np.cumsum([0, *(len(tree["feature"]) for tree in trees)])[:-1]

    def joined(name: str, kind: type) -> np.ndarray:
        return np.array([v for tree in trees for v in tree[name]], dtype=kind)

    shift = np.repeat(starts, [len(tree["feature"]) for tree in trees])
    return Trees(
        joined("feature", np.intp), joined("threshold", np.float32), joined("left", np.intp) + shift, joined("right", np.intp) + shift,
        joined("value", np.float32), data["base"], data["depth"], starts,
    )  # fmt: skip
