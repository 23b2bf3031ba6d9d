"""Tags: a domain that a reader would give, and numbers that move the right way."""

import time

import pytest

from openmimo.data.document import Document
from openmimo.data.tags.tag import DOMAINS, TAG_KEYS, formula_chars, tag, tag_documents

CODE = "import os\n\ndef walk(path):\n    for name in os.listdir(path):\n        if name.endswith('.py'):\n            yield name\n"
PROSE = "The old town lies on a river between two hills, and people have lived there for a long time. " * 8
PROOF = (
    "Suppose that $n$ is even. Then $n = 2k$ for some integer $k$, hence $n^2 = 4k^2$. Therefore $n^2$ is divisible by $4$. "
    * 5
)


def document(text, **meta):
    return Document("1", "", "", text, "s", meta)


@pytest.mark.parametrize(
    "text, domain",
    [
        (PROOF, "math"),
        (CODE, "code"),
        (f"Read the files so:\n\n```python\n{CODE}```\n\nThat is all.", "code"),
        (PROSE, "prose"),
        ("Welcome to my page", "thin"),
        ("", "thin"),
        ("Buy now and get free shipping! Add to cart. Special offer: $9.99, 20% off. " * 8, "ads"),
        ("We are hiring. Job description: full-time, salary by years of experience. Apply now. " * 8, "jobs"),
        (
            "The minister told reporters in the capital, a spokesman said on Monday, Reuters wrote yesterday. " * 8,
            "news",
        ),
        (
            "f(x, y)\n    Returns the sum. Parameters: x and y. Raises an exception if the argument is optional here, see also the method. "
            * 8,
            "reference",
        ),
    ],
)
def test_domains(text, domain):
    tags = tag(document(text))
    assert tags["domain"] == domain and domain in DOMAINS
    assert tuple(tags) == TAG_KEYS
    assert 0 <= tags["code_share"] <= 1 and 0 <= tags["math_share"] <= 1 and 0 <= tags["reasoning_depth"] <= 5
    assert tags["chars"] == len(text)


def test_shares_by_hand():
    assert tag(document("abcd `ef` " + "ghij " * 200))["code_share"] == round(4 / 808, 4)
    assert formula_chars("a $x + y$ b $$z$$ c \\(uv\\) d \\[w\\] \\begin{align*}kl\\end{align*}") == 3 + 1 + 2 + 1 + 2
    assert formula_chars("it costs $5 and $ 6, no\n$7 more") == 0
    assert formula_chars("$$ never closed $x$") == 0 and formula_chars("") == 0


def test_a_source_file_is_code_throughout():
    tags = tag(document('"""A docstring and nothing else, but in a source file."""', language="python"))
    assert tags["domain"] == "code" and tags["code_share"] == 1


def test_arguing_text_is_deeper_than_telling_text():
    depth = [tag(document(text))["reasoning_depth"] for text in (PROSE, PROSE + PROOF, PROOF)]
    assert tag(document("Therefore it is so."))["reasoning_depth"] == 0.5  # one word in 200, not in 4
    assert depth == sorted(depth) and depth[0] < 0.5 and depth[-1] > 1.5


def test_nothing_is_dropped_and_any_tagger_fits():
    documents = [document(CODE), document(PROSE), document(PROSE)]
    tagged, counts = tag_documents(documents)
    assert counts == {"code": 1, "prose": 2} and [d.text for d in tagged] == [d.text for d in documents]
    assert tagged[0].meta["tags"]["domain"] == "code" and documents[0].meta == {}
    assert tag_documents(documents, lambda d: {"domain": "prose", "quality": 5})[1] == {"prose": 3}


@pytest.mark.parametrize(
    "text",
    ["\\[" * 100_000, "$" * 100_001, "$$a" * 50_000, "```\n" * 50_001, "`" * 200_000, ";  " * 100_000, "()" * 100_000],
)
def test_hostile_texts_take_no_time(text):
    start = time.perf_counter()
    tag(document(text))
    assert time.perf_counter() - start < 5
