"""Duplicates: exact and near ones go, different texts stay, and order does not matter."""

import random

import pytest

from openmimo.data.dedup import dedup, near_clusters, word_ngrams
from openmimo.data.document import Document
from openmimo.errors import UserError

WORDS = [f"w{i}" for i in range(3_000)]


def text_of(seed, words=300):
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def edited(text, edits, seed=0):
    words, rng = text.split(), random.Random(seed)
    for i in rng.sample(range(len(words)), edits):
        words[i] = "changed"
    return " ".join(words)


def document(id, text, **meta):
    return Document(str(id), f"http://e.com/{id}", "", text, "s", meta)


def jaccard(a, b):
    a, b = word_ngrams(a), word_ngrams(b)
    return len(a & b) / len(a | b)


def test_exact_and_near_copies_are_one_cluster_with_its_size():
    base = text_of(1)
    documents = [
        document("a", edited(base, 3) + " longer"),
        document("b", base),
        document("c", base.replace(" ", "  ")),
        document("d", text_of(2)),
    ]
    kept, counts = dedup(documents)
    assert [(d.id, d.meta["cluster_size"]) for d in kept] == [("c", 3), ("d", 1)]  # c is the longest, blanks included
    assert counts == {"kept": 2, "dropped, exact copy": 1, "dropped, near copy": 1}
    assert counts.total() == len(documents)


def test_the_result_does_not_depend_on_the_order():
    documents = [document(f"{i}-{j}", edited(text_of(i), j, seed=j)) for i in range(20) for j in range(4)]
    reference = {(d.id, d.meta["cluster_size"]) for d in dedup(documents)[0]}
    assert len(reference) < 40
    for seed in range(3):
        shuffled = documents[:]
        random.Random(seed).shuffle(shuffled)
        kept, _ = dedup(shuffled)
        assert {(d.id, d.meta["cluster_size"]) for d in kept} == reference
        assert [d.id for d in kept] == [d.id for d in shuffled if d.id in {k.id for k in kept}]  # the input's order


def test_recall_and_precision_by_true_similarity():
    pairs = [(text_of(seed), edited(text_of(seed), edits, seed)) for seed in range(150) for edits in (2, 25)]
    similar = [p for p in pairs if jaccard(*p) >= 0.9]
    different = [p for p in pairs if jaccard(*p) < 0.55]
    assert len(similar) >= 100 and len(different) >= 100
    assert sum(len(near_clusters(list(p))) == 1 for p in similar) >= 0.97 * len(similar)
    assert sum(len(near_clusters(list(p))) == 1 for p in different) <= 0.03 * len(different)


def test_a_second_pass_adds_up_the_copies():
    base = text_of(5)
    first, _ = dedup([document("a", base), document("b", base)])
    kept, _ = dedup([*first, document("c", base + " more")])
    assert [(d.id, d.meta["cluster_size"]) for d in kept] == [("c", 3)]


def test_chains_are_joined_by_union():
    steps = [text_of(9)]
    for seed in range(1, 5):
        steps.append(edited(steps[-1], 4, seed))
    assert jaccard(steps[0], steps[-1]) < 0.75  # the ends alone would not be joined
    assert near_clusters(steps) == [[0, 1, 2, 3, 4]]


def test_short_empty_and_other_scripts():
    texts = [
        "",
        " \n",
        "one two",
        "one  two",
        "one three",
        "我们证明这个定理成立。" * 3,
        "我们证明这个定理成立。" * 3 + "好",
        "***",
    ]
    kept, counts = dedup([document(i, t) for i, t in enumerate(texts)])
    assert [d.id for d in kept] == ["1", "3", "4", "6", "7"]
    assert counts["kept"] == 5 and counts.total() == len(texts)
    assert dedup([]) == ([], {"kept": 0, "dropped, exact copy": 0, "dropped, near copy": 0})


def test_signatures_do_not_depend_on_the_process_hash_seed(tmp_path):
    import os
    import subprocess
    import sys

    program = "from openmimo.data.dedup import _signatures as s; print(s(['a b c d e f g', 'one'], 1).tolist())"
    runs = {
        subprocess.check_output([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("threshold", [0, 1.5])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(UserError, match="threshold"):
        dedup([], threshold)
