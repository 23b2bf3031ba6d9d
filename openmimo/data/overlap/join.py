"""Clusters of duplicates over any number of sketches, out of core: sorted keys are merged a range at a time.

    python -c "from openmimo.data.overlap import join, sketch; from openmimo.data.document import Document as D
    print(join.near_clusters([sketch.near_sketch([D('1', '', '', 'a b', ''), D('2', '', '', 'A  b', '')])]))"

A document is its number over all sketches in turn. Two documents that share a key are candidates; a candidate pair of the
near sketches is joined only if the Jaccard similarity of its sets of n-grams, counted and not estimated, reaches the
threshold. Clusters are closed under union. So the clusters are a function of the set of documents: not of their order,
their spread over sketches, or who joined which keys. In memory are about 100 bytes a document and one
range of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from openmimo.data.overlap.sketch import BANDS, Sketch, preference

_RANGE = 1 << 22  # keys sorted at a time
_ALL_PAIRS = 32  # in a larger bucket each document is compared with the bucket's leaders only
_MARGIN = 0.2  # a signature's estimate this far below the threshold (over 5 standard deviations) settles it
_GRAMS = 1 << 22  # n-grams compared at a time


@dataclass(frozen=True)
class Clusters:
    """For each document: whether it stays, the copies in its cluster, and whether it is not the best of its equal texts
    (`repeat`: dropped as an exact copy); `name`: the same in each document of a cluster, in every run."""

    stays: np.ndarray
    copies: np.ndarray
    repeat: np.ndarray
    name: np.ndarray


class Sketches:
    """Several sketches as one; `old` of them, the first, belong to an index: what is in it stays."""

    def __init__(self, sketches: list[Sketch], old: int = 0):
        self.sketches = sketches
        self.starts = np.concatenate(([0], np.cumsum([len(s["tie"]) for s in sketches], dtype=np.int64)))
        self.total, self.old = int(self.starts[-1]), int(self.starts[old])

    def column(self, name: str) -> np.ndarray:
        return np.concatenate([s[name] for s in self.sketches])

    def take(self, name: str, documents: np.ndarray) -> np.ndarray:
        """Rows of a column, for documents in any order."""
        out = np.empty((len(documents), *self.sketches[0][name].shape[1:]), self.sketches[0][name].dtype)
        for here, rows, sketch in self._spread(documents):
            out[here] = sketch[name][rows]
        return out

    def gram_counts(self, documents: np.ndarray) -> np.ndarray:
        counts = np.zeros(len(documents), np.int64)
        for here, rows, sketch in self._spread(documents):
            counts[here] = sketch["offsets"][rows + 1] - sketch["offsets"][rows]
        return counts

    def grams(self, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(all n-grams, number of each document's) of ascending documents."""
        pieces, counts = [], np.zeros(len(documents), np.int64)
        for here, rows, sketch in self._spread(documents):
            begin, end = sketch["offsets"][rows], sketch["offsets"][rows + 1]
            counts[here] = end - begin
            pieces.append(sketch["grams"][_ranges(begin, end)])
        return np.concatenate(pieces) if pieces else np.zeros(0, np.uint32), counts

    def _spread(self, documents: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, Sketch]]:
        where = np.searchsorted(self.starts, documents, side="right") - 1
        for number in np.unique(where):
            here = np.flatnonzero(where == number)
            yield here, documents[here] - self.starts[number], self.sketches[number]

    def buckets(self, line: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(documents, bucket of each, ascending): those that share their key of this line with another document."""
        parts = -(-sum(int(s["sizes"][line]) for s in self.sketches) // _RANGE)
        for part in range(parts):
            keys, documents = [], []
            for start, sketch in zip(self.starts, self.sketches, strict=False):
                size = int(sketch["sizes"][line])
                all_keys = sketch["keys"][line, :size]
                begin, end = (_first(all_keys, (part + i << 64) // parts) for i in (0, 1))
                keys.append(all_keys[begin:end])
                documents.append(start + sketch["rows"][line, begin:end].astype(np.int64))
            keys, documents = np.concatenate(keys), np.concatenate(documents)
            order = np.argsort(keys, kind="stable")
            keys, documents = keys[order], documents[order]
            yield _shared(documents, np.cumsum(np.diff(keys, prepend=keys[:1]) != 0))


def key_clusters(sketches: list[Sketch], old: int = 0) -> Clusters:
    """Clusters of documents with equal keys, of `key_sketch`."""
    whole = Sketches(sketches, old)
    parent = np.arange(whole.total)
    connect(parent, equal_pairs(whole, 0))
    return choose(whole, parent, np.ones(whole.total, bool))


def near_clusters(sketches: list[Sketch], threshold: float = 0.8, old: int = 0) -> Clusters:
    """Clusters of near duplicates, of `near_sketch`. Sketches of an index have a column `name`, their clusters'."""
    whole = Sketches(sketches, old)
    parent = old_clusters(whole)
    for line in range(BANDS):
        connect(parent, near_pairs(whole, line, threshold, parent))
    return finish(whole, parent)


def old_clusters(whole: Sketches) -> np.ndarray:
    """Each document its own cluster, those of an index as they were found."""
    parent = np.arange(whole.total)
    if whole.old:
        names = np.concatenate([s["name"] for s in whole.sketches if "name" in s])[: whole.old]
        _, first, number = np.unique(names, return_index=True, return_inverse=True)
        parent[: whole.old] = first[number]
    return parent


def finish(whole: Sketches, parent: np.ndarray) -> Clusters:
    """Joins equal sets of n-grams and equal texts to the pairs in `parent`; chooses who stays."""
    connect(parent, equal_pairs(whole, BANDS))
    exact = np.arange(whole.total)
    connect(exact, equal_pairs(whole, BANDS + 1))
    connect(parent, np.stack((np.arange(whole.total), exact), axis=1))
    best = choose(whole, roots(exact, np.arange(whole.total)), np.zeros(whole.total, bool)).stays
    return choose(whole, parent, ~best)


def near_pairs(whole: Sketches, line: int, threshold: float, parent: np.ndarray | None = None) -> np.ndarray:
    """Pairs (n, 2) of this band whose similarity reaches the threshold, without those that `parent` has joined."""
    found = [np.zeros((0, 2), np.int64)]
    for documents, bucket in whole.buckets(line):
        sets = whole.take("set", documents)
        order = np.lexsort((sets, bucket))  # the order in a bucket depends on content alone
        documents, bucket, sets = documents[order], bucket[order], sets[order]
        new = (np.diff(bucket, prepend=-1) != 0) | np.concatenate(([True], sets[1:] != sets[:-1]))
        documents, bucket = _shared(documents[new], bucket[new])  # equal sets are joined elsewhere
        sizes = np.bincount(bucket)[bucket] if len(bucket) else bucket
        for size in np.unique(sizes[sizes <= _ALL_PAIRS]):
            square = documents[sizes == size].reshape(-1, size)
            for some in np.array_split(square, -(-len(square) * size * size // (1 << 20))):
                left, right = np.triu_indices(size, 1)
                found.append(_similar(whole, some[:, left].ravel(), some[:, right].ravel(), threshold, parent))
        for large in np.unique(bucket[sizes > _ALL_PAIRS]):
            begin, end = np.searchsorted(bucket, (large, large + 1))
            found += _by_leaders(whole, documents[begin:end], threshold)
    return np.concatenate(found)


def equal_pairs(whole: Sketches, line: int) -> np.ndarray:
    """Pairs of neighbours in each bucket of a line of which equal keys are enough; texts by their whole key."""
    found = [np.zeros((0, 2), np.int64)]
    by_text = line != BANDS
    for documents, bucket in whole.buckets(line):
        if by_text:
            second = whole.take("exact", documents)[:, 1]
            order = np.lexsort((second, bucket))
            documents, bucket, second = documents[order], bucket[order], second[order]
        same = bucket[1:] == bucket[:-1]
        same &= (second[1:] == second[:-1]) if by_text else True
        found.append(np.stack((documents[:-1][same], documents[1:][same]), axis=1))
    return np.concatenate(found)


def choose(whole: Sketches, parent: np.ndarray, repeat: np.ndarray) -> Clusters:
    """Of each cluster what is in the index stays, else the preferred document."""
    label = roots(parent, np.arange(whole.total))
    columns = {name: whole.column(name) for name in ("tie", "length", "quality", "copies")}
    new = np.arange(whole.total) >= whole.old
    order = np.lexsort((*preference(columns), new, label))
    best = np.zeros(whole.total, bool)
    best[order] = np.diff(label[order], prepend=-1) != 0
    has_old = np.zeros(whole.total, bool)
    has_old[label[: whole.old]] = True
    copies = np.bincount(label, weights=columns["copies"], minlength=whole.total).astype(np.int64)
    name = np.full(whole.total, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(name, label, columns["tie"])
    return Clusters(np.where(new, best & ~has_old[label], True), copies[label], repeat, name[label])


def connect(parent: np.ndarray, *pairs: np.ndarray) -> None:
    """Union of the pairs, in place; a cluster's root is its smallest document."""
    for some in pairs:
        low, high = some[:, 0], some[:, 1]
        while len(low):
            low, high = roots(parent, low), roots(parent, high)
            apart = low != high
            low, high = np.minimum(low, high)[apart], np.maximum(low, high)[apart]
            np.minimum.at(parent, high, low)


def roots(parent: np.ndarray, documents: np.ndarray) -> np.ndarray:
    while True:
        up = parent[documents]
        over = parent[up]
        if (up == over).all():
            return up
        parent[documents] = over
        documents = over


def _similar(
    whole: Sketches, left: np.ndarray, right: np.ndarray, threshold: float, parent: np.ndarray | None = None
) -> np.ndarray:
    """Those of the pairs whose similarity reaches the threshold; pairs inside the index were compared before."""
    fresh = np.maximum(left, right) >= whole.old
    if parent is not None:
        fresh &= roots(parent, left) != roots(parent, right)
    left, right = left[fresh], right[fresh]
    agree = np.zeros(len(left))
    for i in range(0, len(left), 1 << 15):
        here = slice(i, i + (1 << 15))
        agree[here] = (whole.take("signatures", left[here]) == whole.take("signatures", right[here])).mean(axis=1)
    near = agree >= threshold - _MARGIN
    left, right = left[near], right[near]
    keep = np.zeros(len(left), bool)
    for some in _chunks(whole.gram_counts(left) + whole.gram_counts(right)):
        keep[some] = jaccard(whole, left[some], right[some]) >= threshold
    return np.stack((left[keep], right[keep]), axis=1)


def jaccard(whole: Sketches, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Exact similarity of the sets of n-grams (their 32-bit hashes) of each pair."""
    documents, place = np.unique(np.concatenate((left, right)), return_inverse=True)
    grams, counts = whole.grams(documents)
    ends = np.cumsum(counts)
    a, b = place[: len(left)], place[len(left) :]
    ones, others = (_of_pairs(grams, ends[side] - counts[side], ends[side]) for side in (a, b))
    at = np.minimum(np.searchsorted(others, ones), max(0, len(others) - 1))
    both = ones[others[at] == ones] if len(others) else ones[:0]
    common = np.bincount((both >> np.uint64(32)).astype(np.int64), minlength=len(left))
    return common / np.maximum(1, counts[a] + counts[b] - common)


def _of_pairs(grams: np.ndarray, begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(pair, n-gram) as ascending uint64."""
    pair = np.repeat(np.arange(len(begin), dtype=np.uint64), end - begin)
    return pair << np.uint64(32) | grams[_ranges(begin, end)]


def _by_leaders(whole: Sketches, documents: np.ndarray, threshold: float) -> list[np.ndarray]:
    """The first leads; those similar to it are joined to it; of the others the first leads, and so on."""
    found = []
    while len(documents) > 1:
        rest = documents[1:]
        pairs = _similar(whole, np.full(len(rest), documents[0]), rest, threshold)
        found.append(pairs)
        documents = rest[~np.isin(rest, pairs[:, 1])]
    return found


def _chunks(sizes: np.ndarray) -> list[slice]:
    """Slices whose sizes sum to about _GRAMS each."""
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // _GRAMS)) + 1
    return [slice(*ends) for ends in pairwise((0, *cuts.tolist(), len(sizes)))]


def _shared(documents: np.ndarray, bucket: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the documents that are alone in their bucket; buckets numbered anew."""
    if not len(bucket):
        return documents, bucket
    _, number, sizes = np.unique(bucket, return_inverse=True, return_counts=True)
    keep = sizes[number] > 1
    return documents[keep], number[keep]


def _ranges(begin: np.ndarray, end: np.ndarray) -> np.ndarray:
    """begin[0]..end[0]-1, begin[1]..end[1]-1, ..."""
    sizes = end - begin
    skip = begin - np.concatenate(([0], np.cumsum(sizes)[:-1])) if len(begin) else begin
    return np.repeat(skip, sizes) + np.arange(sizes.sum())


def _first(keys: np.ndarray, least: int) -> int:
    """The place of the first key that is not below `least` (up to 2^64)."""
    return len(keys) if least >> 64 else int(np.searchsorted(keys, np.uint64(least)))
