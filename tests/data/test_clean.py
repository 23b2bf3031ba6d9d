"""SFT filters: each reason by an example, each count by hand."""

import pytest

from openmimo.data.clean import (
    cap_responses,
    clean,
    drop_incomplete,
    drop_mixed_language,
    foreign_share,
    incomplete_reason,
)
from openmimo.errors import UserError


def row(response, query="q", **more):
    return {"messages": [{"role": "user", "content": query}, {"role": "assistant", "content": response}], **more}


@pytest.mark.parametrize(
    "response, finish, reason",
    [
        ("<think>so</think> It is \\boxed{\\frac{1}{2}}.", "stop", None),
        ("plain", None, None),
        ("the brace \\boxed{\\{}", None, None),
        ("a set \\{1\\} is \\boxed{\\{1\\}}", None, None),
        ("```python\nx = '`'\n```\ndone", None, None),
        ("````\n```\n````", None, None),
        ("", "stop", "empty response"),
        ("  \n", None, "empty response"),
        ("long", "length", "no end of sequence (length)"),
        ("<think>and then", "stop", "unclosed <think>"),
        ("<think>a</think><think>b", None, "unclosed <think>"),
        ("<think>a</think>  ", None, "nothing after </think>"),
        ("so \\boxed{\\frac{1}{2}", None, "unbalanced \\boxed"),
        ("\\boxed{1} then \\boxed {2", None, "unbalanced \\boxed"),
        ("```python\nx = 1\n", None, "unclosed code fence"),
        ("````\n```\n", None, "unclosed code fence"),
    ],
)
def test_incomplete_reason(response, finish, reason):
    assert incomplete_reason(response, finish) == reason


@pytest.mark.parametrize(
    "text, mixed",
    [
        ("The answer follows from the theorem of Pythagoras, where α and β are angles.", False),
        ("Die Größe der Fläche beträgt fünf.", False),
        ("我们使用 Python 的 list 来解决这个问题，因此答案是五。", False),
        ("これは Python のリストです。漢字とかなは同じ文章に使われます。", False),
        ("Ответ равен пяти, см. документацию NumPy.", False),
        ("We first note that 因此我们得到答案是五 and so it is done 所以 it holds.", True),
        ("So the answer потому что это так is clearly five here.", True),
        ("我们证明这个命题。Therefore the answer is five and we are done with the whole proof of it.", True),
        ("The code prints a greeting:\n```\nprint('你好，世界，你好，世界，你好')\n```\nas you see.", False),
        ("12 + 3 = 15", False),
        ("", False),
    ],
)
def test_mixed_language(text, mixed):
    assert (foreign_share(text) > 0.1) == mixed


def test_share_by_hand():
    assert foreign_share("one two three четыре") == pytest.approx(1 / 4)
    assert foreign_share("one two three four 五六") == pytest.approx(1 / 5)  # two signs are one word


def test_cap_keeps_the_first_k_different_responses():
    rows = [row(f"r{i % 12}", query) for i in range(15) for query in ("q", "other")] + [row(" r0 ", " q")]
    kept, counts = cap_responses(rows, k=8)
    assert [r["messages"][-1]["content"] for r in kept if r["messages"][0]["content"] == "q"] == [
        f"r{i}" for i in range(8)
    ]
    assert counts == {"kept": 16, "dropped, more than 8 responses to a query": 8, "dropped, same response again": 7}
    with pytest.raises(UserError, match="k = 0"):
        cap_responses(rows, 0)


def test_each_filter_counts():
    assert drop_incomplete([row("a"), row("", id=1), row("<think>")])[1] == {
        "kept": 1,
        "dropped, empty response": 1,
        "dropped, unclosed <think>": 1,
    }
    assert drop_mixed_language([row("это мост over the river")])[1] == {"dropped, mixed language": 1}


def test_clean_drops_every_kind_and_the_counts_sum_up():
    rows = [
        row("fine"),
        row("fine"),
        row("cut", finish_reason="length"),
        row("это мост over the river"),
        row("\\boxed{1"),
        row("fine too"),
    ]
    kept, counts = clean(iter(rows), max_responses=1)
    assert kept == [rows[0]]
    assert counts == {
        "kept": 1,
        "dropped, same response again": 1,
        "dropped, no end of sequence (length)": 1,
        "dropped, mixed language": 1,
        "dropped, unbalanced \\boxed": 1,
        "dropped, more than 1 responses to a query": 1,
    }
    assert counts.total() == len(rows)


@pytest.mark.parametrize("bad", [{}, {"messages": []}, {"messages": [{"role": "user", "content": "q"}], "id": "r7"}])
def test_a_row_without_a_response_is_an_error(bad):
    with pytest.raises(UserError, match="assistant"):
        clean([bad])
