"""Exact and near duplicates by MinHash-LSH over the whole corpus; how many copies there were is kept [R 2.1].

    python -c "from openmimo.data.dedup import dedup; from openmimo.data.document import read_documents as r; print(dedup(r('d.jsonl'))[1])"

Signatures are rensa's over word 5-grams; 14 bands of 8 rows find the candidates (similarity s is found with probability
1 - (1 - s^8)^14: .92 at s = .8), and a pair is joined only where its whole signatures agree in `threshold` of the rows.
Clusters are closed under union. The result is a function of the set of documents, not of their order.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

import numpy as np
from rensa import RMinHash

from openmimo.data.document import Document
from openmimo.errors import UserError

BANDS, ROWS = 14, 8
NGRAM = 5
_BATCH = 2_000  # documents hashed at a time
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)  # a CJK sign is a word


def dedup(documents: Iterable[Document], threshold: float = 0.8, seed: int = 1) -> tuple[list[Document], Counter]:
    """One document of each cluster of duplicates, in the order of the input, with meta `cluster_size`.

    Of a cluster the longest text stays, then the smallest URL, then the smallest id. `cluster_size` counts the copies
    (of copies, where an earlier pass had counted them). Counts `kept`, `dropped, exact copy`, `dropped, near copy`.
    """
    if not 0 < threshold <= 1:
        raise UserError(f"dedup: threshold {threshold} is not a similarity; give one above 0 and at most 1")
    documents = list(documents)
    order = sorted(range(len(documents)), key=lambda i: _preference(documents[i]))
    first_of: dict[bytes, int] = {}  # text -> the preferred document with it
    copies: dict[int, list[int]] = defaultdict(list)
    for i in order:
        copies[first_of.setdefault(_fingerprint(documents[i].text), i)].append(i)
    distinct = [i for i in order if i in copies]
    clusters = near_clusters([documents[i].text for i in distinct], threshold, seed)
    kept: dict[int, int] = {}  # document -> copies, near and exact
    for members in clusters:
        everyone = [i for m in members for i in copies[distinct[m]]]
        kept[distinct[members[0]]] = sum(documents[i].meta.get("cluster_size", 1) for i in everyone)
    counts = Counter({"kept": len(kept)})
    counts["dropped, exact copy"] = len(documents) - len(distinct)
    counts["dropped, near copy"] = len(distinct) - len(kept)
    return [documents[i].with_meta(cluster_size=kept[i]) for i in sorted(kept)], counts


def near_clusters(texts: list[str], threshold: float = 0.8, seed: int = 1) -> list[list[int]]:
    """Indices of the texts in clusters of near duplicates, each ascending; a text without words is alone."""
    hashed = [i for i, text in enumerate(texts) if _WORD.search(text)]
    parent = list(range(len(texts)))
    if hashed:
        signatures = np.concatenate(
            [_signatures([texts[i] for i in hashed[b : b + _BATCH]], seed) for b in range(0, len(hashed), _BATCH)]
        )
        for band in range(BANDS):
            for rows in _buckets(signatures[:, band * ROWS : (band + 1) * ROWS]):
                _join_similar(rows, signatures, threshold, hashed, parent)
    clusters: dict[int, list[int]] = {}
    for i in range(len(texts)):
        clusters.setdefault(_root(parent, i), []).append(i)
    return list(clusters.values())


def word_ngrams(text: str, n: int = NGRAM) -> set[str]:
    """The text's n-grams of lower-case words; a text of fewer words is one gram."""
    words = _WORD.findall(text.lower())
    return {" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def _signatures(texts: list[str], seed: int) -> np.ndarray:
    """(texts, BANDS * ROWS) of uint32."""
    grams = [sorted(word_ngrams(text)) for text in texts]
    return np.array(RMinHash.digest_matrix_from_token_sets(grams, BANDS * ROWS, seed).to_rows(), dtype=np.uint32)


def _buckets(band: np.ndarray) -> Iterable[np.ndarray]:
    """Groups of two rows or more whose values in this band are equal, each ascending."""
    keys = np.ascontiguousarray(band).view(np.dtype((np.void, band.shape[1] * band.itemsize))).ravel()
    _, inverse = np.unique(keys, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    starts = np.flatnonzero(np.diff(inverse[order])) + 1
    return (group for group in np.split(order, starts) if len(group) > 1)


def _join_similar(
    rows: np.ndarray, signatures: np.ndarray, threshold: float, hashed: list[int], parent: list[int]
) -> None:
    """Joins each row of a bucket with the first of the bucket's leaders it is similar to; else it leads."""
    leaders = [rows[0]]
    for row in rows[1:]:
        similarity = (signatures[leaders] == signatures[row]).mean(axis=1)
        found = np.flatnonzero(similarity >= threshold)
        if len(found):
            _union(parent, hashed[leaders[found[0]]], hashed[row])
        else:
            leaders.append(row)


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _union(parent: list[int], a: int, b: int) -> None:
    """The smaller root stays root: a cluster is listed under its preferred document."""
    a, b = sorted((_root(parent, a), _root(parent, b)))
    parent[b] = a


def _fingerprint(text: str) -> bytes:
    """Equal for texts that differ in blanks only."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _preference(document: Document) -> tuple:
    return (-len(document.text), document.url, document.id, document.text)
