"""Duplicates: exact and near ones go, different texts stay, and order does not matter."""

import itertools
import random

import numpy as np
import pytest

from openmimo.data.document import Document
from openmimo.data.overlap import join
from openmimo.data.overlap.dedup import dedup, dedup_exact
from openmimo.data.overlap.shingles import word_ngrams
from openmimo.data.overlap.sketch import load_sketch, near_sketch, save_sketch
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


def near_clusters(texts):
    """Clusters of texts as sorted lists of their places."""
    return partition(join.near_clusters([near_sketch([document(i, t) for i, t in enumerate(texts)])]).name)


def partition(names):
    found = {}
    for i, name in enumerate(names.tolist()):
        found.setdefault(name, []).append(i)
    return sorted(found.values())


def corpus(seed, clusters=120):
    """Documents of 1-300 words in clusters of 1-5 copies, edited more or less; some have no words at all."""
    rng, found = random.Random(seed), [document("empty", ""), document("stars", "***"), document("stars2", "*** ")]
    for i in range(clusters):
        base = text_of(f"{seed} {i}", rng.choice([1, 4, 5, 6, 40, 120, 300]))
        found += [
            document(f"{i}-{j}", edited(base, rng.randint(0, len(base.split()) // 25), j))
            for j in range(rng.randint(1, 5))
        ]
    rng.shuffle(found)
    return found


def exact_clusters(documents, threshold=0.8):
    """By comparing all pairs: the reference."""
    sets, parent = [word_ngrams(d.text) for d in documents], np.arange(len(documents))
    texts = [" ".join(d.text.split()) for d in documents]
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(len(documents)), 2)
        if texts[i] == texts[j] or (sets[i] & sets[j] and len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j]))
    ]
    join.connect(parent, np.array(pairs))
    return partition(join.roots(parent, np.arange(len(documents))))


def test_the_clusters_are_those_of_all_pairs_for_any_number_of_shards(tmp_path):
    documents = corpus(1)
    whole = join.near_clusters([near_sketch(documents)])
    assert partition(whole.name) == exact_clusters(documents) != exact_clusters(documents, 0.6)
    expected = {d.id: (bool(s), int(c)) for d, s, c in zip(documents, whole.stays, whole.copies, strict=True)}
    for shards in (2, 7):
        parts = [documents[i::shards] for i in range(shards)]
        for number, part in enumerate(parts):
            save_sketch(tmp_path / f"{shards}-{number}", near_sketch(part))
        found = join.near_clusters([load_sketch(tmp_path / f"{shards}-{n}") for n in range(shards)])
        flat = [d.id for part in parts for d in part]
        assert {i: (bool(s), int(c)) for i, s, c in zip(flat, found.stays, found.copies, strict=True)} == expected


def test_ranges_and_leaders_change_nothing(monkeypatch):
    """Keys merged 50 at a time; buckets of any size compared by leaders, where clusters are tight; a few n-grams at a time."""
    documents = [document(f"{i}-{j}", edited(text_of(i), j % 3, j)) for i in range(6) for j in range(12)]
    expected = partition(join.near_clusters([near_sketch(documents)]).name)
    assert expected == exact_clusters(documents) and len(expected) == 6
    monkeypatch.setattr(join, "_RANGE", 50)
    monkeypatch.setattr(join, "_GRAMS", 700)
    assert partition(join.near_clusters([near_sketch(documents)]).name) == expected
    monkeypatch.setattr(join, "_ALL_PAIRS", 1)
    assert partition(join.near_clusters([near_sketch(documents)]).name) == expected


def test_a_new_dump_against_an_old_index():
    """The clusters are those of both together; what the index has stays, and what resembles it goes."""
    documents = corpus(2)
    old, new = documents[:250], documents[250:]
    both = join.near_clusters([near_sketch(documents)])
    index = near_sketch(old)
    index["name"] = join.near_clusters([index]).name
    found = join.near_clusters([index, near_sketch(new[:40]), near_sketch(new[40:])], old=1)
    assert partition(found.name) == partition(both.name)
    assert found.stays[:250].all() and (found.copies == both.copies).all()
    met = {c for c in found.name[:250].tolist()}
    for i, name in enumerate(found.name.tolist()):
        if i >= 250 and name in met:
            assert not found.stays[i]
    fresh = [i for i in range(250, len(documents)) if found.name[i].item() not in met]
    assert sum(found.stays[fresh]) == len({found.name[i].item() for i in fresh}) > 10


def test_the_best_tagged_copy_stays():
    base = text_of(3)
    documents = [
        document("long", base + " more words"),
        document("good", base, tags={"quality": 4.0}),
        document("bad", base + " and", tags={"quality": 1.0}),
    ]
    assert [d.id for d in dedup(documents)[0]] == ["good"]
    assert [d.id for d in dedup(documents[::2])[0]] == ["bad"]  # a tag is better than none


def test_tags_that_are_not_ours_do_no_harm():
    base = text_of(3)
    metas = [{"tags": ["a"]}, {"tags": {"quality": "high"}, "cluster_size": "big"}, {"tags": {"quality": float("nan")}}]
    documents = [document(i, base + " x" * i, **meta) for i, meta in enumerate(metas)]
    assert [(d.id, d.meta["cluster_size"]) for d in dedup(documents)[0]] == [("2", 3)]


def test_exact_dedup_keeps_near_copies():
    base = text_of(4)
    kept, counts = dedup_exact(
        [document("a", base), document("b", base + "\n"), document("c", base + " more"), document("d", "")]
    )
    assert [(d.id, d.meta["cluster_size"]) for d in kept] == [("b", 2), ("c", 1), ("d", 1)]
    assert counts == {"kept": 3, "dropped, exact copy": 1, "dropped, near copy": 0}


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
    pairs = [(text_of(seed), edited(text_of(seed), edits, seed)) for seed in range(150) for edits in (2, 40)]
    names = join.near_clusters([near_sketch([document(t[:9], t) for pair in pairs for t in pair])]).name
    similar = [(a, b) for pair, (a, b) in zip(pairs, names.reshape(-1, 2), strict=True) if jaccard(*pair) >= 0.8]
    different = [(a, b) for pair, (a, b) in zip(pairs, names.reshape(-1, 2), strict=True) if jaccard(*pair) < 0.8]
    assert len(similar) >= 100 and len(different) >= 100
    assert sum(a == b for a, b in similar) >= 0.98 * len(similar)
    assert sum(a == b for a, b in different) <= 0.02 * len(different)


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

    program = "from openmimo.data.overlap.sketch import signatures as s; print(s(['a b c d e f g', 'one'])[0].tolist())"
    runs = {
        subprocess.check_output([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    }
    assert len(runs) == 1


@pytest.mark.parametrize("threshold", [0, 1.5])
def test_a_threshold_that_is_none(threshold):
    with pytest.raises(UserError, match="threshold"):
        dedup([], threshold)
