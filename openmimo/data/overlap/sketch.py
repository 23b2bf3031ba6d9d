"""What deduplication keeps of a document: keys that duplicates share, and columns that say which copy stays.

    python -c "from openmimo.data.overlap.sketch import near_sketch; from openmimo.data.document import Document as D; print(near_sketch([D('1', '', '', 'a b', '')]))"

A Sketch describes one shard of documents. It is a dict of arrays, in memory or memory-mapped from a folder of .npy files;
its rows are the shard's documents in order. `join` finds the clusters over any number of sketches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rensa import RMinHash

from openmimo.data.document import Document
from openmimo.data.overlap.hashes import mixed
from openmimo.data.overlap.shingles import NGRAM, gram_hashes

BANDS, ROWS = 20, 6  # a pair of similarity s shares a band with probability 1 - (1 - s^6)^20: .998 at .8, .27 at .5
_BATCH = 512  # documents

Sketch = dict[str, np.ndarray]
"""keys: uint64 (keys, documents), each line ascending; rows: uint32, whose document each key is (absent documents have no
key: a line ends at `sizes[line]`). quality, length, tie, copies: a column each, see `preference`.
Near sketches have also: exact uint64 (documents, 2); signatures uint32 (documents, BANDS * ROWS); grams uint32, each
document's distinct n-grams ascending, and offsets int64 (documents + 1)."""


def key_sketch(documents: list[Document], keys: list[bytes | None]) -> Sketch:
    """One key of 16 bytes a document; documents that share it are duplicates, one without a key has none."""
    there = [i for i, key in enumerate(keys) if key is not None]
    exact = np.zeros((len(documents), 2), np.uint64)
    exact[there] = np.frombuffer(b"".join(keys[i] for i in there), "<u8").reshape(-1, 2)
    return {**_sorted_keys([exact[there, 0]], [np.array(there, np.int64)]), "exact": exact, **_columns(documents)}


def near_sketch(documents: Iterable[Document], seed: int = 1) -> Sketch:
    """Keys of a document: its bands, then the hash of its set of n-grams, then the hash of its text (blanks apart)."""
    documents = list(documents)
    parts = [_near_batch(documents[i : i + _BATCH], seed) for i in range(0, max(1, len(documents)), _BATCH)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["offsets"] = np.concatenate(([0], np.cumsum(columns.pop("counts"))))
    worded = np.flatnonzero(np.diff(columns["offsets"]))  # a text without words has no bands
    lines = [line[worded] for line in columns.pop("bands").T]
    all_rows = np.arange(len(columns["tie"]))
    keys = [*lines, columns["set"], columns["exact"][:, 0]]
    return {**_sorted_keys(keys, [*[worded] * BANDS, all_rows, all_rows]), **columns}


def signatures(texts: list[str], seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(uint32 (texts, BANDS * ROWS), gram hashes, offsets): MinHash of the sets of word 5-grams."""
    grams, offsets = gram_hashes(texts, NGRAM)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams, offsets.astype(np.uint64), BANDS * ROWS, seed)
    return np.array(matrix.to_rows(), dtype=np.uint32).reshape(len(texts), BANDS * ROWS), grams, offsets


def text_key(text: str) -> bytes:
    """Equal for texts that differ in blanks only."""
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def preference(sketch: Sketch) -> tuple[np.ndarray, ...]:
    """Sort keys, the last one first: of a cluster the copy of the highest quality tag stays, then the longest, then the one
    whose id, URL and text have the smallest hash."""
    return sketch["tie"], -sketch["length"].astype(np.int64), -sketch["quality"]


def save_sketch(folder: Path, sketch: Sketch) -> None:
    """Writes a file for each array; `load_sketch` maps them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in sketch.items():
        np.save(folder / f"{name}.npy", array)


def load_sketch(folder: Path) -> Sketch:
    return {p.stem: np.load(p, mmap_mode="r") if p.stat().st_size > 256 else np.load(p) for p in folder.glob("*.npy")}


def _near_batch(documents: list[Document], seed: int) -> dict[str, np.ndarray]:
    texts = [document.text for document in documents]
    matrix, grams, offsets = signatures(texts, seed)
    exact = np.frombuffer(b"".join(map(text_key, texts)), "<u8").reshape(-1, 2)
    row = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(offsets))
    pairs = np.unique(row << np.uint64(32) | grams >> np.uint64(32))
    owner, distinct = (pairs >> np.uint64(32)).astype(np.int64), pairs.astype(np.uint32)
    sets = np.zeros(len(texts), np.uint64)
    np.add.at(sets, owner, mixed(distinct.astype(np.uint64) + np.uint64(1)))
    counts = np.bincount(owner, minlength=len(texts))
    sets = np.where(counts > 0, sets, exact[:, 1])  # texts without words are duplicates where they are equal
    return {
        "signatures": matrix,
        "bands": _band_keys(matrix),
        "set": sets,
        "exact": exact,
        "grams": distinct,
        "counts": counts,
        **_columns(documents),
    }


def _band_keys(matrix: np.ndarray) -> np.ndarray:
    """(documents, BANDS) of uint64: a hash of each band's rows."""
    rows = matrix.reshape(-1, BANDS, ROWS).astype(np.uint64)
    keys = np.zeros(rows.shape[:2], np.uint64)
    for r in range(ROWS):
        keys = mixed(keys + rows[:, :, r])
    return keys


def _columns(documents: list[Document]) -> dict[str, np.ndarray]:
    """quality (the tag, -1 where there is none), length (characters), tie, copies (of an earlier pass)."""
    ties = [f"{d.id}\0{d.url}\0{d.text}".encode("utf-8", "surrogatepass") for d in documents]
    return {
        "quality": np.array([_number(_tags(d).get("quality"), -1) for d in documents], np.float32),
        "length": np.array([len(d.text) for d in documents], np.uint32),
        "tie": np.frombuffer(b"".join(hashlib.blake2b(t, digest_size=8).digest() for t in ties), "<u8"),
        "copies": np.array([max(1, int(_number(d.meta.get("cluster_size"), 1))) for d in documents], np.uint32),
    }


def _tags(document: Document) -> dict:
    tags = document.meta.get("tags")
    return tags if isinstance(tags, dict) else {}  # other people's `tags` may be anything


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else default


def _sorted_keys(lines: list[np.ndarray], rows: list[np.ndarray]) -> dict[str, np.ndarray]:
    sizes = np.array([len(line) for line in lines], np.int64)
    keys = np.zeros((len(lines), sizes.max(initial=0)), np.uint64)
    owners = np.zeros(keys.shape, np.uint32)
    for i, (line, row) in enumerate(zip(lines, rows, strict=True)):
        order = np.argsort(line, kind="stable")
        keys[i, : sizes[i]], owners[i, : sizes[i]] = line[order], row[order]
    return {"keys": keys, "rows": owners, "sizes": sizes}
