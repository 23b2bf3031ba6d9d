"""The n-grams hashed with numpy are those of the definition, for any text and in any batch."""

import random

import numpy as np
import pytest

from openmimo.data.overlap import shingles
from openmimo.data.overlap.shingles import gram_hashes, word_ngrams

HARD = [
    "", " ", "a", "a b", "one two three four five", "one two three four five six", "_x __ y_1", "a\u00a0b\tc\nd", "word", " word ",
    "ΑΣ ΑΣΑ. Σ", "İstanbul in the rain today", "Straße STRASSE ﬁ", "日本語のテキスト test です", "我们证明。", "한국어 문장 abc",
    "²³ ½ x² ٣", "\ud800 lone\udfff", "e\u0301 combining", "\0a\0b", "🙂 a🙂b", "don't stop-me now ok", "a" * 5000, "x " * 5000,
]  # fmt: skip


def random_texts(seed):
    rng = random.Random(seed)
    alphabet = "abcAB19_ \n.-" + "éΣİ日のカ가\u00a0²"
    texts = [
        "".join(rng.choices(alphabet[: rng.choice([13, len(alphabet)])], k=rng.randrange(120))) for _ in range(300)
    ]
    return [
        *texts,
        *HARD,
        *(" ".join(rng.choices("the a of to in is".split(), k=rng.randrange(30))) for _ in range(100)),
    ]


def sets_of(texts, n=5):
    hashes, offsets = gram_hashes(texts, n)
    assert len(offsets) == len(texts) + 1 and offsets[-1] == len(hashes)
    return [set(hashes[a:b].tolist()) for a, b in zip(offsets, offsets[1:], strict=False)]


@pytest.mark.parametrize("n", [1, 3, 5])
def test_hashes_are_equal_where_the_n_grams_are(n):
    """One to one over all texts: a bijection between the n-grams met and their hashes."""
    texts, hash_of, gram_of = random_texts(n), {}, {}
    for text, hashes in zip(texts, sets_of(texts, n), strict=True):
        grams = word_ngrams(text, n)
        assert len(grams) == len(hashes), repr(text)
        if len(grams) == 1:
            (gram,), (value,) = grams, hashes
            assert hash_of.setdefault(gram, value) == value and gram_of.setdefault(value, gram) == gram
    grams, hashes = [word_ngrams(t, n) for t in texts], sets_of(texts, n)
    for i in range(len(texts)):  # sets with something in common have as many hashes in common
        for j in range(i):
            assert len(grams[i] & grams[j]) == len(hashes[i] & hashes[j])


def test_batches_change_nothing(monkeypatch):
    texts = random_texts(9)
    expected = sets_of(texts)
    assert [sets_of([text])[0] for text in texts] == expected
    monkeypatch.setattr(shingles, "_BATCH", 64)
    assert sets_of(texts) == expected
    assert sets_of([]) == []


def test_the_hashes_are_the_same_on_every_machine():
    assert [f"{h:016x}" for h in gram_hashes(["Five words are one gram"]).hashes] == ["de7f0a5adabfd447"]


def test_a_window_does_not_cross_documents():
    assert not sets_of(["a b c", "d e f g h"])[0] & sets_of(["a b c d e f g h"])[0]
    assert np.array_equal(gram_hashes(["a b c d e", "f"]).offsets, [0, 1, 2])
