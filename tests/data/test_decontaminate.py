"""Decontamination: the 16-gram rule by hand, short items, rewordings, templates, and a report of what is not covered."""

import json

import numpy as np
import pytest
from conftest import openmimo
from hypothesis import given
from hypothesis import strategies as st

from openmimo.data.document import Document
from openmimo.data.overlap import benchmarks as overlap
from openmimo.data.overlap.benchmarks import Hit, Index, stop_phrases
from openmimo.data.overlap.decontaminate import decontaminate, row_text
from openmimo.data.overlap.hashes import HashSet, ngrams, row_hashes
from openmimo.data.overlap.words import batches, words_of
from openmimo.errors import UserError
from openmimo.rows import Problem

ITEM = "a train leaves the town at nine and travels for three hours at sixty miles an hour how far does it go"
NATALIA = "Natalia sold 48 clips in April. In May she sold half as many. How many clips did she sell altogether?"


def same(a: str, b: str) -> bool:
    words = words_of([a, b])
    hashes = row_hashes(words.hash, words.first)
    return hashes[0] == hashes[1]


@pytest.mark.parametrize(
    "a, b",
    [
        ("The CAT, sat—on \uff21 mat", "the cat sat on a mat!"),
        ("1,000 and 1{,}000 and 1\\,000,000", "1000 1000 1000000".replace(" ", " and ")),
        ("3.50 4.0 0.5", "3.5 4 .5"),
        ("twenty-five of the six", "25 of the 6"),
        ("50% of it", "50 percent of it"),
        (r"$\dfrac12 x^{2}\le\left(y\right)$", r"\( \frac{1}{2} x^2 \leq (y) \)"),
        (r"\begin{align*}a \cdot b\end{align*}", r"$a\times b$"),
        ("a well-known and/or fact", "A well known and or fact"),
        ("2 − 3 ≤ π", r"2 - 3 \leq \pi"),
        (r"$i^0+i^1+\cdots+i^{9}-\pi-x$", r"\( i^{0} +\; i^1 + \cdots + i^9 - \pi - x \)"),
        ("* one\n- two", "one two"),
    ],
)
def test_one_text_in_two_spellings(a, b):
    assert same(a, b)


@pytest.mark.parametrize("a, b", [("2 - 3", "2 + 3"), ("x-y", "xy"), ("10.5", "105"), ("3 2", "32"), ("a b", "b a"), ("1,00", "100")])  # fmt: skip
def test_other_texts_stay_other_texts(a, b):
    assert not same(a, b)


def python_ngrams(words: list[str], n: int) -> set[str]:
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


@given(st.lists(st.text(alphabet="ab1.,-$\\é中 \n\0", max_size=40), max_size=6), st.integers(1, 7))
def test_hashes_are_equal_where_the_words_are(texts, n):
    """n-grams of a batch, against the same words in plain Python: neither merged, nor across two texts."""
    words = words_of(texts)
    spelled = words.texts()
    assert len(spelled) == len(texts) and sum(map(len, spelled)) == len(words.hash)
    hashes = ngrams(words.hash, n)
    inside = words.inside(np.arange(len(hashes)), n)
    owners = [i for i, text in enumerate(spelled) for _ in text]
    flat = [word for text in spelled for word in text]
    for i, good in enumerate(inside):
        assert good == (owners[i] == owners[i + n - 1])
    first: dict = {}
    of_text: dict = {}
    for i in range(len(hashes)):
        gram = tuple(flat[i : i + n])
        if "é" not in "".join(gram):
            assert first.setdefault(int(hashes[i]), gram) == gram
            assert of_text.setdefault(gram, int(hashes[i])) == int(hashes[i])


def test_a_hash_set_finds_its_keys_alone():
    rng = np.random.default_rng(0)
    keys, others = rng.integers(0, 1 << 64, (2, 5000), np.uint64)
    where, which = HashSet(keys).find(np.concatenate([others, keys]))
    assert where.tolist() == list(range(5000, 10_000)) and (HashSet(keys).keys[which] == keys).all()
    assert len(HashSet(keys[:0]).find(keys)[0]) == 0


def test_sixteen_shared_words_go_and_fifteen_stay():
    words = ITEM.split()
    sixteen = "Before. " + " ".join(words[2:18]).upper().replace(" ", ",  ") + " after"
    fifteen = "before " + " ".join(words[2:17]) + " other " + " ".join(words[18:20])
    kept, removed, report = decontaminate([sixteen, fifteen, "something else"], [ITEM])
    assert removed == [sixteen] and kept == [fifteen, "something else"]
    assert report.counts == {"kept": 2, "removed, shared 16-gram": 1} and report.rows == 3
    assert report.examples[0]["ngram"] == " ".join(words[2:18])
    assert decontaminate([fifteen], [ITEM], n=15)[1] == [fifteen] and decontaminate([sixteen], [ITEM], n=17)[1] == []


def test_short_items_are_found_in_any_place_and_counted():
    items = ["What is 2+3?", ITEM, "   ", "Name a prime.", "What is 2+3?"]
    rows = ["what is 2 + 3", "What is 2 - 3?", "Tell me: what is 2 + 3? Then rest.", "What is 2 + 3 + 4?", "It is 1 + what is 2+3",
            "Name a prime minister of France", "name a prime"]  # fmt: skip
    kept, removed, report = decontaminate(rows, {"tiny": items})
    assert removed == [rows[0], rows[2], rows[6]]
    assert report.hits == {("tiny", "whole"): 2, ("tiny", "similar"): 1}
    coverage = report.coverage["tiny"]
    assert (coverage.items, coverage.short, coverage.whole_only, coverage.empty) == (5, 4, 1, 1)
    assert coverage.uncovered == 0.8 and coverage.unseen == 0.4 and report.uncovered_share == 0.8
    assert "80.0%" in str(report) and "40.0%" in str(report)
    assert report.to_dict()["benchmarks"]["tiny"]["items_hit"] == 2


@pytest.mark.parametrize(
    "row",
    [
        NATALIA.upper(),
        "How many clips did she sell altogether? In May she sold half as many. Natalia sold 48 clips in April.",
        "natalia sold forty-eight clips in april in may she sold half as many how many clips did she sell altogether",
        f"An exercise. {NATALIA} The answer is 72, as 48 + 24 = 72. " + "And so it goes on for long. " * 30,
        "Natalia sold 48.0 clips in April; in May, she sold half as many! How many clips did she sell altogether?",
        NATALIA.replace("altogether", "in all"),  # not one of the classes: a word is another
    ],
)
def test_reworded_copies_are_found(row):
    assert decontaminate([row], [NATALIA])[1] == [row]


@pytest.mark.parametrize(
    "row",
    [
        "Natalia sold 52 clips in April. How many clips did she sell altogether?",
        "Natalia sold 48 clips in April, and nothing more is known of her. She went home with 20 of them.",
        "How many clips did she sell altogether? " * 3,
        "clips Natalia altogether April 48 half sold May many she in How as did",  # the same words in no order
    ],
)
def test_another_problem_is_kept(row):
    assert decontaminate([row], [NATALIA])[1] == []


def test_numbers_in_another_order_are_another_problem():
    items = ["State the final answer to the following arithmetic problem: 6 + 4 - 3 ="]
    assert decontaminate(["State the final answer to the following arithmetic problem: 6 - 3 + 4 ="], items)[1] == []
    assert decontaminate(["State the final answer to the following arithmetic problem: 6 + 4 - 3 = 7"], items)[1]


TEMPLATE = "the answer can be written as a fraction m over n where m and n are coprime integers find the sum"


def test_a_phrase_of_several_items_is_a_template():
    items = [f"{shape} {TEMPLATE}." for shape in ("Square", "Cube", "Kite")]
    other = f"A bag holds red and blue balls: {TEMPLATE}."
    index = Index({"b": items}, phrases=())
    assert index.find([other, items[0], "Well, " + items[1]]) == [None, Hit("whole", "b", 0), Hit("similar", "b", 1)]  # fmt: skip
    coverage = index.coverage["b"]
    assert coverage.template == 3 and coverage.uncovered == 1 and coverage.unseen == 0
    assert coverage.phrases == {TEMPLATE: 3}
    assert Index({"b": items[:2]}, phrases=()).find([other])[0].rule == "n-gram"
    assert Index({"b": items[:2]}, phrases=[TEMPLATE]).find([other]) == [None]
    assert Index({"b": items}, template=0, phrases=()).find([other])[0].rule == "n-gram"
    assert Index({"b": [items[0]] * 3}, phrases=()).find([other])[0].rule == "n-gram"  # one item three times is one


def test_the_package_has_a_stop_list():
    phrases = stop_phrases()
    assert 5 < len(phrases) < 500 and all(len(p.split()) >= 13 for p in phrases)
    item = (
        "Find the area of the red part, which is m/n, where m and n are relatively prime positive integers. Find m+n."
    )
    other = "The mass of it in pounds is m/n, where m and n are relatively prime positive integers. Find m+n."
    assert decontaminate([other], [item])[1] == [] and decontaminate([other], [item], n=13, phrases=())[1] == [other]


def test_batches_change_nothing(monkeypatch):
    items, rows = [NATALIA, "What is 2+3?", ITEM], [NATALIA, "no", "so what is 2+3?", ITEM, "x " * 90, ""] * 9
    whole = Index({"b": items}).find(rows)
    monkeypatch.setattr(overlap, "batches", lambda texts: batches(texts, 30))
    assert Index({"b": items}).find(rows) == whole and sum(map(bool, whole)) == 27


def test_an_empty_row_or_benchmark_removes_nothing():
    assert decontaminate(["", "x"], [""])[0] == ["", "x"]
    kept, removed, report = decontaminate(["x"], [])
    assert kept == ["x"] and removed == [] and report.uncovered_share == 0 and str(report)
    assert decontaminate([], [ITEM])[:2] == ([], [])


def test_rows_of_every_shape_and_an_own_text_of():
    problem = Problem(
        "1", "math", [{"role": "system", "content": "solve"}, {"role": "user", "content": ITEM}], answer="180"
    )
    rows = [problem, Document("1", "", "", ITEM, ""), {"question": ITEM}, {"messages": [{"role": "user", "content": ITEM}]}, ITEM]  # fmt: skip
    assert [row_text(row) for row in rows] == [ITEM] * 5
    assert decontaminate(rows, [{"problem": ITEM}])[0] == []
    assert decontaminate([(1, ITEM), (2, "x")], [(3, ITEM)], text_of=lambda row: row[1])[0] == [(2, "x")]
    index = Index({"b": [ITEM]})
    assert decontaminate(rows, index)[0] == [] and decontaminate(["x"], index)[2].benchmark_items == 1
    with pytest.raises(UserError, match="text_of"):
        decontaminate([{"answer": "4"}], [])
    with pytest.raises(UserError, match="n = 0"):
        decontaminate([], [], n=0)
    with pytest.raises(UserError, match="similarity = 2"):
        decontaminate([], [], similarity=2)


def test_the_command(tmp_path):
    rows = [{"question": NATALIA, "id": 1}, {"question": "Why?", "id": 2}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "bench.json").write_text(json.dumps([{"problem": NATALIA.lower()}]))
    out = tmp_path / "clean.jsonl"
    found = openmimo("data", "decontaminate", tmp_path / "rows.jsonl", "--against", f"mine={tmp_path / 'bench.json'}", "--out", out)  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [2]
    (removed,) = [json.loads(line) for line in (tmp_path / "clean.jsonl.removed").read_text().splitlines()]
    assert removed["contaminated"] == {"benchmark": "mine", "item": 0, "rule": "n-gram"}
    assert json.loads((tmp_path / "clean.jsonl.json").read_text())["benchmarks"]["mine"]["items_hit"] == 1
    assert "mine: rows hit: n-gram 1" in found.stdout
    bad = openmimo("data", "decontaminate", tmp_path / "none.jsonl", "--against", tmp_path / "bench.json", "--out", out)
    assert bad.returncode == 2 and "no such file" in bad.stderr
