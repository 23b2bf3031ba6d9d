"""Arrays of 64-bit hashes: sets of them, n-grams, sums over spans. What compares whole batches of texts is made of these."""

from __future__ import annotations

import functools

import numpy as np

WORD, NUMBER, OPERATOR = 1, 2, 3  # kinds of words
RANDOM = np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 64, 3, np.uint64) | np.uint64(1)
_MASK = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)


class HashSet:
    """Sorted 64-bit keys, and a table of bits that turns most strangers away before the search."""

    def __init__(self, keys: np.ndarray):
        self.keys = np.unique(keys)
        bits = max(10, int(16 * max(1, len(self.keys)) - 1).bit_length())
        self.shift = np.uint64(64 - bits)
        self.table = np.zeros(1 << bits, bool)
        self.table[self.keys >> self.shift] = True

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(where, which): the places in `hashes` that hold a key, and the key's number."""
        where = np.flatnonzero(self.table[(hashes >> self.shift).view(np.int64)])
        if not len(where):
            return where, where
        found = hashes[where]
        which = np.minimum(np.searchsorted(self.keys, found), len(self.keys) - 1)
        right = self.keys[which] == found
        return where[right], which[right]


def ngrams(hashes: np.ndarray, n: int) -> np.ndarray:
    """A hash of the n words from each word on; order counts, and so may the border between two texts be inside."""
    size = len(hashes)
    if size < n:
        return np.zeros(0, np.uint64)
    total, done, piece, length = np.zeros(size - n + 1, np.uint64), 0, hashes, 1
    with np.errstate(over="ignore"):
        while done < n:
            if n & length:
                total = total * _power(length) + piece[done : done + size - n + 1]
                done += length
            if done < n:
                piece = piece[:-length] * _power(length) + piece[length:]
                length *= 2
    return mixed(total)


def row_hashes(hashes: np.ndarray, first: np.ndarray) -> np.ndarray:
    """A hash of each whole sequence hashes[first[i]:first[i + 1]] (0 where it is empty)."""
    with np.errstate(over="ignore"):
        place = np.arange(len(hashes)) - np.repeat(first[:-1], np.diff(first))
        return row_sums(mixed(hashes + place.astype(np.uint64) * RANDOM[1]), first)


def row_sums(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The sum of values[first[i]:first[i + 1]] for each i."""
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values)])
    return sums[first[1:]] - sums[first[:-1]]


def span_sums(flags: np.ndarray, start: np.ndarray, size: np.ndarray) -> np.ndarray:
    """How many of flags[start:start + size] are set."""
    sums = np.concatenate([[0], np.cumsum(flags)])
    return sums[start + size] - sums[start]


def ranges(start: np.ndarray, count: np.ndarray) -> np.ndarray:
    """start[0], start[0] + 1, ... (count[0] of them), start[1], ..."""
    total = np.cumsum(count)
    return np.arange(total[-1] if len(total) else 0) + np.repeat(start - (total - count), count)


def pair_hashes(item: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """One hash for (item, gram)."""
    with np.errstate(over="ignore"):
        return gram ^ (item.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)


@functools.cache
def _power(n: int) -> np.uint64:
    return np.uint64(pow(int(RANDOM[2]), n, 1 << 64))


def mixed(hashes: np.ndarray) -> np.ndarray:
    """A bijection of uint64 in which every output bit depends on every input bit (splitmix64's finaliser)."""
    with np.errstate(over="ignore"):
        h = hashes ^ (hashes >> np.uint64(30))
        h *= np.uint64(0xBF58476D1CE4E5B9)
        h ^= h >> np.uint64(27)
        h *= np.uint64(0x94D049BB133111EB)
        h ^= h >> np.uint64(31)
        return h


def byte_hashes(data: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """A 64-bit hash of each data[start:stop], from its first 16 bytes, its last 8 and its length."""
    eight = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    length = stops - starts
    with np.errstate(over="ignore"):
        h = mixed((eight[starts] & _MASK[np.minimum(length, 8)]) + length.astype(np.uint64) * RANDOM[0])
        long = np.flatnonzero(length > 8)
        more = eight[np.minimum(starts[long] + 8, len(eight) - 1)] & _MASK[np.minimum(length[long] - 8, 8)]
        h[long] = mixed(h[long] * RANDOM[1] + more + eight[stops[long] - 8] * RANDOM[2])
    return h


def hash_words(texts: list[str]) -> np.ndarray:
    """Hashes of single words, as they stand."""
    data = np.frombuffer(b"\0" + b"\0".join(t.encode() for t in texts) + b"\0" * 8, np.uint8)
    zeros = np.flatnonzero(data == 0)[: len(texts) + 1]
    return byte_hashes(data, zeros[:-1] + 1, zeros[1:])
