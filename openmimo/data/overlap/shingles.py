"""Word n-grams of many documents at once, as 64-bit hashes, with numpy: 5x what building them as Python strings takes.

    python -c "from openmimo.data.overlap.shingles import gram_hashes; print(gram_hashes(['a b c d e f', 'one']))"

`word_ngrams` is the definition, `gram_hashes` the speed: two n-grams have equal hashes if and only if they are equal
(but for chance, 2^-64 a pair). A word is a run of letters, digits and underscores in lower case; a sign of Chinese,
Japanese or Korean is a word of its own. Hashes depend on the text alone: not on the machine, process or batch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from openmimo.data.overlap.hashes import mixed

NGRAM = 5
_CJK = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")
_BASE, _STEP = 0x9E3779B97F4A7C13, 0xD1342543DE82EF95  # odd; the base is 3 modulo 8: powers differ in their low bits
_BATCH = 1 << 17  # characters hashed at a time: the arrays stay in the second-level cache


class Grams(NamedTuple):
    """hashes: uint64, all documents' n-grams one after the other, repeats too. offsets: int64 (documents + 1)."""

    hashes: np.ndarray
    offsets: np.ndarray


def word_ngrams(text: str, n: int = NGRAM) -> set[str]:
    """The text's n-grams of lower-case words; a text of fewer words is one gram, one without words has none."""
    words = _WORD.findall(text.lower())
    return {" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def gram_hashes(texts: Iterable[str], n: int = NGRAM) -> Grams:
    """The n-grams of each text as hashes, equal where those of `word_ngrams` are."""
    found = [_hash_batch(batch, n) for batch in _batches(texts)]
    if not found:
        return Grams(np.zeros(0, np.uint64), np.zeros(1, np.int64))
    counts = np.concatenate([counts for _, counts in found])
    return Grams(np.concatenate([hashes for hashes, _ in found]), np.concatenate(([0], np.cumsum(counts))))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        text = text.lower()
        batch.append(text)
        size += len(text) + 1
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _hash_batch(texts: list[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """(gram hashes, grams of each text) of lower-case texts."""
    joined = "\n".join(texts) + "\n"  # no word crosses the break
    if joined.isascii():
        points = np.frombuffer(joined.encode("ascii"), np.uint8)
    else:
        points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    begins, ends = _word_spans(points)
    last = np.cumsum(np.fromiter((len(t) + 1 for t in texts), np.int64, len(texts)))  # one past each text's break
    first_word = np.searchsorted(begins, np.concatenate(([0], last)))
    words = _hash_spans(points, begins, ends)
    return _hash_windows(words, np.diff(first_word), n)


def _word_spans(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where words begin and end; the last character is none of a word."""
    kinds = _kinds()[points]
    inside = kinds == 1
    if (kinds == 2).any():
        alone = kinds == 2
        begin, end = inside.copy(), inside.copy()
        begin[1:] &= ~inside[:-1]
        end[:-1] &= ~inside[1:]
        return np.flatnonzero(begin | alone), np.flatnonzero(end | alone) + 1
    edges = np.flatnonzero(inside[1:] != inside[:-1]) + 1
    edges = np.concatenate(([0], edges)) if inside[0] else edges
    return edges[0::2], edges[1::2]


def _hash_spans(points: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A polynomial over each span's characters, from one running sum: (sum to its end - sum to its begin) / base^begin."""
    powers, inverses = _powers(max(_BATCH, 1 << len(points).bit_length()))
    sums = np.zeros(len(points) + 1, np.uint64)
    np.cumsum(_codes()[points] * powers[: len(points)], out=sums[1:])
    return mixed((sums[ends] - sums[begins]) * inverses[begins])


def _hash_windows(words: np.ndarray, counts: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of the windows of n words inside each document, or of all its words where there are fewer."""
    first = np.concatenate(([0], np.cumsum(counts)))
    grams = np.where(counts > 0, np.maximum(counts - n + 1, 1), 0)
    place = np.concatenate(([0], np.cumsum(grams)))
    out = np.empty(place[-1], np.uint64)
    steps = [np.uint64(pow(_STEP, k, 1 << 64)) for k in range(n + 1)]
    if len(words) >= n:
        windows = words[n - 1 :].copy()
        for k in range(1, n):
            windows += words[n - 1 - k : len(words) - k] * steps[k]
        long = counts >= n
        within = np.ones(
            len(words), bool
        )  # not a window's begin: the last n - 1 words of a long document, all of a short one
        back = first[1:][long][:, None] - np.arange(1, n)
        within[back.ravel()] = False
        within[np.repeat(~long, counts)] = False
        out_long = np.repeat(long, grams)
        out[out_long] = windows[within[: len(windows)]]
    for size in range(1, n):
        short = np.flatnonzero(counts == size)
        value = np.full(len(short), size, np.uint64)  # never equal to the window of a longer text
        for k in range(size):
            value = value * np.uint64(_STEP) + words[first[short] + k]
        out[place[short]] = mixed(value)
    return mixed(out), grams


@functools.cache
def _kinds() -> np.ndarray:
    """For each code point: 0 no part of a word, 1 part of one, 2 a word by itself."""
    kinds = np.zeros(0x110000, np.uint8)
    everything = "".join(map(chr, range(0x110000)))
    for match in _WORD.finditer(everything):
        kinds[match.start() : match.end()] = 1
    for low, high in re.findall(r"\\u(....)-\\u(....)", _CJK):
        kinds[int(low, 16) : int(high, 16) + 1] = 2
    return kinds


@functools.cache
def _codes() -> np.ndarray:
    """A fixed random number for each code point."""
    return mixed(np.arange(1, 0x110001, dtype=np.uint64) * np.uint64(_BASE))


@functools.lru_cache(maxsize=2)
def _powers(length: int) -> tuple[np.ndarray, np.ndarray]:
    """base^i and base^-i modulo 2^64 for i < length, a power of two."""
    return _powers_of(_BASE, length), _powers_of(pow(_BASE, -1, 1 << 64), length)


def _powers_of(base: int, length: int) -> np.ndarray:
    powers = np.ones(1, np.uint64)
    while len(powers) < length:  # the second half is the first times base^half
        powers = np.concatenate((powers, powers * np.uint64(pow(base, len(powers), 1 << 64))))
    return powers
