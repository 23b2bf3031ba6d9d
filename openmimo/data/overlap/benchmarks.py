"""Where texts overlap with benchmark items: n-grams, whole items, and items by their word 3-grams [R 3.1].

    python -c "from openmimo.data.overlap.benchmarks import Index; print(Index({'b': ['What is 2 + 3?']}).find(['so, what is 2+3'])[0].rule)"

Three rules, in this order; a text is found by the first that matches:

- `n-gram`: n words in a row (operators do not count) that stand in an item. 13 words in a row that `template` items or
  more of one benchmark share are a template phrase ("where m and n are relatively prime positive integers ..."), so are
  those of a stop list's phrases: an n-gram that holds one shows nothing.
- `whole`: the same words throughout.
- `similar`: some words in a row, as many as the item has, hold at least the share `similarity` of its word 3-grams (those
  that cross no end of a sentence: sentences may change places) and of those that are no template, all that are numbers,
  operators and letters alone, and the same numbers and operators. For items of fewer than n words this is the only rule
  that sees them inside a longer text. An item of fewer than five words counts only if it has a number or an operator.

How words are read, and which spellings are the same: openmimo/data/overlap/words.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

from openmimo.data.overlap.hashes import (
    NUMBER,
    OPERATOR,
    HashSet,
    ngrams,
    pair_hashes,
    ranges,
    row_hashes,
    row_sums,
    span_sums,
)
from openmimo.data.overlap.words import Words, batches, words_of
from openmimo.errors import UserError

NEEDED_HITS = 3  # rare 3-grams of an item that a text must hold before it is looked at closely
CORE = 13  # words in a row that make a template phrase
LEAST_WORDS = 5  # of an item that is plain text, to be found inside a text by its 3-grams
RULES = ("n-gram", "whole", "similar")


@dataclass(frozen=True)
class Hit:
    """Why a text is contaminated. item: the number of the item in its benchmark; shared: the n-gram, if that is it."""

    rule: str
    benchmark: str
    item: int
    shared: str = ""


@dataclass
class Coverage:
    """Of a benchmark: its items, those of fewer than n words (no n-gram of theirs exists), those all of whose n-grams
    are template phrases, and those that no rule sees but as a whole text (`whole_only`) or at all (`empty`)."""

    items: int = 0
    short: int = 0
    template: int = 0
    whole_only: int = 0
    empty: int = 0
    phrases: Counter = field(default_factory=Counter)  # template phrases, and how many items have them

    @property
    def uncovered(self) -> float:
        """The share of the items that the n-gram rule cannot find."""
        return (self.short + self.template) / self.items if self.items else 0.0

    @property
    def unseen(self) -> float:
        """The share that no rule can find inside a longer text."""
        return (self.whole_only + self.empty) / self.items if self.items else 0.0


def stop_phrases() -> list[str]:
    """The phrases that come with the package, one a line of template_phrases.txt, which says where they are from."""
    text = resources.files("openmimo.data.overlap").joinpath("template_phrases.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line.strip() and not line.startswith("#")]


class Index:
    """Benchmarks (name -> texts of their items) to look for in any number of texts.

    n: words of an n-gram. similarity: the least share of 3-grams, in (0, 1]. template: how many items of a benchmark
    make a phrase of theirs a template (0: none is). phrases: more template phrases [default: those of the package].
    """

    def __init__(
        self, benchmarks: dict[str, Iterable[str]], n: int = 16, similarity: float = 0.75, template: int = 3,
        phrases: Iterable[str] | None = None,
    ):  # fmt: skip
        if n < 4:
            raise UserError(f"decontaminate: n = {n} is no n-gram length; give 4 or more (the report's is 16)")
        if not 0 < similarity <= 1:
            raise UserError(f"decontaminate: similarity = {similarity} is no share; give one above 0, up to 1")
        self.n, self.similarity, self.template = n, similarity, template
        self.texts = texts = {name: list(items) for name, items in benchmarks.items()}
        self.names = [name for name, items in texts.items() for _ in items]
        self.number = [i for items in texts.values() for i in range(len(items))]
        self.coverage = {name: Coverage(len(items)) for name, items in texts.items()}
        words = words_of([t for items in texts.values() for t in items])
        self.benchmark = np.repeat(np.arange(len(texts)), [len(items) for items in texts.values()])
        stated = words_of(list(phrases) if phrases is not None else stop_phrases())
        self._index_ngrams(words, stated)
        self._index_whole(words)
        self._index_similar(words, ngrams(stated.hash, 3))

    def find(self, texts: list[str]) -> list[Hit | None]:
        """For each text the first hit, or None."""
        return [hit for batch in batches(texts) for hit in self._find(batch)]

    def _find(self, texts: list[str]) -> list[Hit | None]:
        words = words_of(texts)
        hits: list[Hit | None] = [None] * len(texts)
        for row, item in reversed(list(zip(*self._similar(words), strict=True))):
            hits[row] = self._hit("similar", item)
        row, which = self.whole.find(row_hashes(words.hash, words.first))
        for r, w in zip(row, which, strict=True):
            hits[r] = self._hit("whole", self.whole_item[w])
        plain = np.flatnonzero(words.kind != OPERATOR)
        where, which = self.grams.find(ngrams(words.hash[plain], self.n))
        rows = words.rows(plain[where])
        inside = rows == words.rows(plain[where + self.n - 1])
        rows, first = np.unique(rows[inside], return_index=True)
        where, which = where[inside], which[inside]
        for row, i in zip(rows, first, strict=True):
            shared = words.text(plain[where[i] : where[i] + self.n])
            hits[row] = self._hit("n-gram", self.gram_item[which[i]], shared)
        return hits

    def _hit(self, rule: str, item: int, shared: str = "") -> Hit:
        return Hit(rule, self.names[item], self.number[item], shared)

    def _index_ngrams(self, words: Words, stated: Words) -> None:
        plain = words.take(words.kind != OPERATOR)
        grams = ngrams(plain.hash, self.n)
        inside = plain.inside(np.arange(len(grams)), self.n)
        rows = plain.rows(np.flatnonzero(inside))
        grams, is_stop = grams[inside], self._templates(plain, stated)[inside]
        self.grams = HashSet(grams[~is_stop])
        first = np.full(len(self.grams.keys), len(words), np.int64)
        np.minimum.at(first, np.searchsorted(self.grams.keys, grams[~is_stop]), rows[~is_stop])
        self.gram_item = first
        left = np.bincount(rows[~is_stop], minlength=len(words))
        for item, (length, useful) in enumerate(zip(np.diff(plain.first), left, strict=True)):
            coverage = self.coverage[self.names[item]]
            coverage.short += int(length < self.n)
            coverage.template += int(length >= self.n and not useful)

    def _templates(self, plain: Words, stated: Words) -> np.ndarray:
        """For each n-gram whether a template's CORE words in a row are among its own."""
        core = min(self.n, CORE)
        grams = ngrams(plain.hash, core)
        rows, inside = plain.rows(np.arange(len(grams))), plain.inside(np.arange(len(grams)), core)
        same = row_hashes(plain.hash, plain.first)[rows]  # an item that comes twice is one
        groups = np.unique(np.stack([self.benchmark[rows].astype(np.uint64), grams, same])[:, inside], axis=1)[:2]
        groups, count = np.unique(groups, axis=1, return_counts=True)
        stated = stated.take(stated.kind != OPERATOR)
        more = ngrams(stated.hash, core)
        more = more[stated.inside(np.arange(len(more)), core)]
        is_core = np.zeros(len(grams) + 1, np.int64)
        is_core[HashSet(np.concatenate([groups[1][count >= (self.template or np.inf)], more])).find(grams)[0]] = 1
        at = np.flatnonzero(is_core[:-1] * inside)
        for run in np.split(at, np.flatnonzero((np.diff(at) != 1) | (np.diff(rows[at]) != 0)) + 1) if len(at) else []:
            phrase = plain.text(np.arange(run[0], run[-1] + core))
            self.coverage[self.names[rows[run[0]]]].phrases[phrase] += 1
        sums, size = np.concatenate([[0], np.cumsum(is_core)]), max(0, len(plain.hash) - self.n + 1)
        return sums[self.n - core + 1 :][:size] > sums[:size]

    def _index_whole(self, words: Words) -> None:
        hashes = row_hashes(words.hash, words.first)
        written = np.diff(words.first) > 0
        for item in np.flatnonzero(~written):
            self.coverage[self.names[item]].empty += 1
        self.whole = HashSet(hashes[written])
        order = np.argsort(hashes, kind="stable")
        self.whole_item = order[np.searchsorted(hashes[order], self.whole.keys)]

    def _index_similar(self, words: Words, stated: np.ndarray) -> None:
        """Item -> its 3-grams, how many are needed, how many are formula; and the rare ones that it is found by."""
        grams = ngrams(words.hash, 3)
        size = len(grams)
        inside = words.inside(np.arange(size), 3)
        inside &= ~words.ends[:size] & ~words.ends[1 : size + 1] if size else inside
        rows, formula = words.rows(np.arange(size)), _formula(words)
        lengths = np.diff(words.first)
        self.length = lengths
        self.sums = row_sums(_formula_hashes(words), words.first)
        key = np.stack([rows[inside].astype(np.uint64), grams[inside], formula[inside].astype(np.uint64)])
        key = np.unique(key, axis=1)
        item, gram, in_formula = key[0].astype(np.int64), key[1], key[2].astype(np.int64)
        held = np.bincount(item, minlength=len(words))
        self.formula = np.bincount(item, weights=in_formula, minlength=len(words)).astype(np.int64)
        self.needed = np.ceil(self.similarity * held - 1e-9).astype(np.int64)
        has_formula = row_sums((words.kind != 1).astype(np.uint64), words.first) > 0
        usable = (held > 0) & ((lengths >= LEAST_WORDS) | has_formula)
        for i in np.flatnonzero(~usable & (lengths > 0)):
            self.coverage[self.names[i]].whole_only += 1
        _, inverse, often = np.unique(gram, return_inverse=True, return_counts=True)
        often = often[inverse]
        own = often < (self.template or np.inf)
        own[HashSet(stated).find(gram)[0]] = False
        self.own = np.ceil(self.similarity * np.bincount(item, weights=own, minlength=len(words)) - 1e-9).astype(
            np.int64
        )
        pairs = pair_hashes(item, gram)
        self.pairs, order = HashSet(pairs), np.argsort(pairs)
        self.pair_own, self.pair_formula = own[order], in_formula[order] > 0
        item, gram, often = item[usable[item]], gram[usable[item]], often[usable[item]]
        order = np.lexsort((gram, often, item))
        item, gram = item[order], gram[order]
        rank = np.arange(len(item)) - np.searchsorted(item, item)
        self.hits = np.minimum(self.needed, NEEDED_HITS)
        rare = rank < (held - self.needed + self.hits)[item]
        self.rare = HashSet(gram[rare])
        which = np.searchsorted(self.rare.keys, gram[rare])
        order = np.argsort(which, kind="stable")
        self.rare_items, self.rare_first = item[rare][order], np.searchsorted(which[order], np.arange(len(self.rare.keys) + 1))  # fmt: skip

    def _similar(self, words: Words) -> tuple[np.ndarray, np.ndarray]:
        """(rows, items) of the texts that hold an item by its 3-grams."""
        grams = ngrams(words.hash, 3)
        where, which = self.rare.find(grams)
        counts = self.rare_first[which + 1] - self.rare_first[which]
        place, item = np.repeat(where, counts), self.rare_items[ranges(self.rare_first[which], counts)]
        order = np.argsort(item, kind="stable")
        place, item = place[order], item[order]
        if not len(place):
            return place, item
        row = words.rows(place)
        further = np.arange(len(place)) + self.hits[item] - 1
        last = np.minimum(further, len(place) - 1)
        near = (further == last) & (item[last] == item) & (row[last] == row) & (place[last] - place < self.length[item])
        place, item, row = place[near], item[near], row[near]
        if not len(place):
            return place, item
        length = self.length[item]
        first = np.ones(len(place), bool)  # one close look for the hits that stand together
        first[1:] = (np.diff(item) != 0) | (np.diff(row) != 0) | (np.diff(place) > length[1:])
        stop = np.maximum.reduceat(place, np.flatnonzero(first)) + length[first] + 2
        item, row = item[first], row[first]
        begin = np.maximum(place[first] - length[first] + 3, words.first[row])
        good = self._look(words, grams, item, row, begin, np.minimum(stop, words.first[row + 1]))
        return row[good], item[good]

    def _look(self, words: Words, grams, item, row, begin, stop) -> np.ndarray:
        """Which candidates (item, words begin:stop of a row) hold the item in some window of its length."""
        width = np.minimum(self.length[item], stop - begin)
        flat = ranges(begin, stop - begin)
        owner = np.repeat(np.arange(len(item)), stop - begin)
        found, formula, own = np.zeros((3, len(flat)), bool)
        at = np.minimum(flat, max(0, len(grams) - 1))
        where, which = self.pairs.find(pair_hashes(item[owner], grams[at]))
        found[where], formula[where], own[where] = True, self.pair_formula[which], self.pair_own[which]
        in_row = flat + 2 < words.first[row + 1][owner]
        base = np.concatenate([[0], np.cumsum(stop - begin)])[:-1]
        local = np.arange(len(flat)) - base[owner]
        start = np.flatnonzero(local + width[owner] <= (stop - begin)[owner])
        size = width[owner[start]]
        size3 = np.maximum(size - 2, 0)
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_formula_hashes(words))])
        total = sums[flat[start] + size] - sums[flat[start]]
        mine = item[owner[start]]
        ok = total == self.sums[mine]
        for flags, least in ((found, self.needed), (formula, self.formula), (own, self.own)):
            ok &= span_sums(flags & in_row, start, size3) >= least[mine]
        first, row = flat[start], row[owner[start]]
        ok &= ~self._goes_on(words, first - 1, first - 1, row) & ~self._goes_on(
            words, first + size, first + size - 1, row
        )
        return np.unique(owner[start[ok]])

    @staticmethod
    def _goes_on(words: Words, at: np.ndarray, before: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Whether a formula goes on at a word beside a window, in the same sentence: `2 + 3` is not in `2 + 3 + 4`."""
        inside = (at >= words.first[row]) & (at < words.first[row + 1])
        at, before = (np.clip(a, 0, len(words.kind) - 1) for a in (at, before))
        return inside & (words.kind[at] == OPERATOR) & ~words.ends[before]


def _formula(words: Words) -> np.ndarray:
    """For each 3-gram whether it is numbers, operators and single letters alone."""
    single = (words.kind != 1) | (words.end - words.begin == 1)
    return single[:-2] & single[1:-1] & single[2:] if len(single) > 2 else single[:0]


def _formula_hashes(words: Words) -> np.ndarray:
    """The hash of a number or an operator, 0 for a word."""
    return np.where((words.kind == NUMBER) | (words.kind == OPERATOR), words.hash, np.uint64(0))
