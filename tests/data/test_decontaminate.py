"""Decontamination: the 16-gram rule by hand, short items, and a report that says what is not covered."""

import pytest

from openmimo.data.decontaminate import decontaminate, row_text, squeezed, word_ngrams
from openmimo.data.document import Document
from openmimo.errors import UserError
from openmimo.rows import Problem

ITEM = "a train leaves the town at nine and travels for three hours at sixty miles an hour how far does it go"


def test_sixteen_shared_words_go_and_fifteen_stay():
    words = ITEM.split()
    sixteen = "Before. " + " ".join(words[2:18]).upper().replace(" ", ",  ") + " after"
    fifteen = "before " + " ".join(words[2:17]) + " other " + " ".join(words[18:])
    kept, removed, report = decontaminate([sixteen, fifteen, "something else"], [ITEM])
    assert removed == [sixteen] and kept == [fifteen, "something else"]
    assert report.counts == {"kept": 2, "removed, shared 16-gram": 1} and report.rows == 3
    assert report.examples[0]["ngram"] == " ".join(words[2:18])


def test_short_items_are_matched_whole_and_counted_as_uncovered():
    kept, removed, report = decontaminate(
        ["what is 2 + 3", "What is 2 - 3?", "Tell me: what is 2 + 3?"], ["What is 2+3?", ITEM, "   ", "Name a prime."]
    )
    assert removed == ["what is 2 + 3"] and len(kept) == 2
    assert report.counts["removed, equal to a short item"] == 1
    assert (report.short_items, report.benchmark_items, report.uncovered_share) == (3, 4, 0.75)
    assert (
        "75.0%" in str(report)
        and "removed, equal to a short item: 1" in str(report)
        and "'What is 2+3?'" in str(report)
    )


def test_an_item_of_exactly_n_words_is_covered():
    item = " ".join(ITEM.split()[:16])
    assert decontaminate(["so " + item], [item])[2].short_items == 0
    assert decontaminate(["so " + item], [item])[1]
    assert decontaminate(["so " + item], [item + " x"], n=17)[1] == []


def test_an_empty_row_or_benchmark_removes_nothing():
    assert decontaminate(["", "x"], [""])[0] == ["", "x"]
    kept, removed, report = decontaminate(["x"], [])
    assert kept == ["x"] and removed == [] and report.uncovered_share == 0 and str(report)


def test_rows_of_every_shape_and_an_own_text_of():
    problem = Problem(
        "1", "math", [{"role": "system", "content": "solve"}, {"role": "user", "content": ITEM}], answer="180"
    )
    rows = [
        problem,
        Document("1", "", "", ITEM, ""),
        {"question": ITEM},
        {"messages": [{"role": "user", "content": ITEM}]},
        ITEM,
    ]
    assert [row_text(row) for row in rows] == [ITEM] * 5
    assert decontaminate(rows, [{"problem": ITEM}])[0] == []
    assert decontaminate([(1, ITEM), (2, "x")], [(3, ITEM)], text_of=lambda row: row[1])[0] == [(2, "x")]
    with pytest.raises(UserError, match="text_of"):
        decontaminate([{"answer": "4"}], [])
    with pytest.raises(UserError, match="n = 0"):
        decontaminate([], [], n=0)


def test_normalisation():
    assert word_ngrams("The CAT, sat—on \uff21 mat", 3) == ["the cat sat", "cat sat on", "sat on a", "on a mat"]
    assert squeezed(" What is\n$2+3$ ? ") == "whatis$2+3$" != squeezed("What is $2-3$?")
