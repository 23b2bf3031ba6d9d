"""Exact and near duplicates by MinHash-LSH over the whole corpus; how many copies there were is kept [R 2.1].

    python -c "from openmimo.data.overlap.dedup import dedup; from openmimo.data.document import read_documents as r; print(dedup(r('d.jsonl'))[1])"

Signatures over word 5-grams (`shingles`, `sketch`), 20 bands of 6 rows to find candidates, each candidate pair compared
exactly, clusters closed under union (`join`). The result is a function of the set of documents, not of their order. Here
it is in memory; `openmimo data run` does the same out of core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from openmimo.data.document import Document
from openmimo.data.overlap.join import Clusters, key_clusters, near_clusters
from openmimo.data.overlap.sketch import key_sketch, near_sketch, text_key
from openmimo.errors import UserError

KEPT, EXACT, NEAR = "kept", "dropped, exact copy", "dropped, near copy"


def dedup(documents: Iterable[Document], threshold: float = 0.8, seed: int = 1) -> tuple[list[Document], Counter]:
    """One document of each cluster of duplicates, in the order of the input, with meta `cluster_size`.

    Of a cluster the copy with the highest quality tag stays, then the longest text, see `sketch.preference`.
    `cluster_size` counts the copies (of copies, where an earlier pass had counted them). Counts `kept`, `dropped, exact
    copy` (the same text, blanks apart), `dropped, near copy`.
    """
    check_threshold(threshold)
    documents = list(documents)
    return apply(documents, near_clusters([near_sketch(documents, seed)], threshold))


def dedup_exact(documents: Iterable[Document]) -> tuple[list[Document], Counter]:
    """One document of each text, blanks apart; otherwise as `dedup`."""
    documents = list(documents)
    return apply(documents, key_clusters([key_sketch(documents, [text_key(d.text) for d in documents])]))


def apply(documents: Iterable[Document], clusters: Clusters) -> tuple[list[Document], Counter]:
    """The documents that stay, told their cluster's size, and the counts."""
    kept, counts = [], Counter({KEPT: 0, EXACT: 0, NEAR: 0})
    for i, document in enumerate(documents):
        if clusters.stays[i]:
            kept.append(document.with_meta(cluster_size=int(clusters.copies[i])))
        counts[KEPT if clusters.stays[i] else EXACT if clusters.repeat[i] else NEAR] += 1
    return kept, counts


def check_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise UserError(f"dedup: threshold {threshold} is not a similarity; give one above 0 and at most 1")
