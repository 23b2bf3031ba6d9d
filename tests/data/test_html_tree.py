"""From lexbor's HTML to the tree: what is cut out, what is lifted out, where each element ends; and all trees at once."""

import json
from pathlib import Path

import numpy as np

from openmimo.data.extract import block_model, extract_html
from openmimo.data.extract.html_cut import cut
from openmimo.data.extract.html_tree import parse
from openmimo.data.extract.main_content import definitions
from openmimo.data.extract.text_blocks import find_blocks


def test_what_is_cut_and_what_is_lifted():
    found = cut(
        "<p>a<svg><path></path></svg><!-- <p> -->b</p><pre> <b>x</b><button>copy</button></pre><nav><main>c</main></nav>"
    )
    assert found.html == "<p>ab</p><pre><nav><main>c</main></nav>"  # a <nav> around the content was never closed
    assert found.sources == [" <b>x</b>"]
    assert cut("<script>a</script><nav>b<nav>c</nav></nav><math><mi>x</mi></math>").html == "<math>"


def test_a_page_without_elements_has_a_root():
    for html in ("", "<!DOCTYPE </<pre", "<!DOCTYPE </<pre>x", "<frameset><frame></frameset>"):
        assert parse(html).root.tag == "html"
        assert isinstance(extract_html(html), str)


def test_ends_enclose_what_is_below_each_element():
    page = parse("<ul><li>a<b>c</b><li>d<img></ul><p>e<pre>f</pre>")
    for i, element in enumerate(page.elements):
        below = list(element.descendants())
        assert page.elements[i + 1 : page.ends[i]] == below
        assert page.parents[i] == element.parent_index
    assert page.ends[0] == len(page.elements)


def test_all_decisions_at_once_end_in_the_leaf_that_a_walk_ends_in():
    data = json.loads(Path(block_model.__file__).with_suffix(".json").read_text())["rounds"][0]
    x = (
        np.random.default_rng(0)
        .normal(0, 30, (50, 1 + max(max(tree["feature"]) for tree in data["trees"])))
        .astype(np.float32)
    )
    found = block_model._trees(data).predict(x)
    for row, chance in zip(x, found, strict=True):
        total = data["base"]
        for tree in data["trees"]:
            node = 0
            while tree["left"][node] != node:
                right = row[tree["feature"][node]] > np.float32(tree["threshold"][node])
                node = tree["right" if right else "left"][node]
            total += tree["value"][node]
        assert abs(chance - 1 / (1 + np.exp(-total))) < 1e-5


def test_a_short_page_is_chosen_from_too():
    links = "".join(
        f'<div class="menu-item"><a href="/{w}">{w.title()}</a></div>' for w in "home boards courses jobs login".split()
    )
    comment = "I could not follow the second step of the proof, can somebody explain why the sum is finite there?"
    page = (
        f'<body><div class="menu">{links}</div><div class="post-content"><p>{comment}</p><p>{comment[::-1]}.</p></div>'
    )
    assert extract_html(page) == f"{comment}\n\n{comment[::-1]}."


def test_the_term_of_a_kept_definition_stays():
    blocks = find_blocks(parse("<dl><dt>a<dd>b<dt>c<dt>d<dd><p>e</dl><dl><dt>f</dl><p>g"))
    found = definitions(blocks, np.array([text in "eg" for text in blocks.texts]))
    assert [text for text, is_found in zip(blocks.texts, found, strict=True) if is_found] == ["c", "d"]


def test_a_short_comment_is_no_copy_button():
    assert extract_html('<p><span class="comment-copy">No idea.</span></p>') == "No idea."
    assert extract_html('<div class="copy-button">Copy</div><pre>a\nb</pre>') == "```\na\nb\n```"


def test_what_is_no_element_and_attributes_that_begin_with_a_blank():
    assert extract_html("<p>a<?php x ?>b</p><!-- <p>c --><p>d") == "ab\n\nd"
    assert extract_html('<pre class=" language-python">a\nb</pre>') == "```python\na\nb\n```"
    assert extract_html("<p>a<svg><title>x</title><p>y</svg></p><nav>z<nav>z</nav></nav><p>b") == "a\n\ny\n\nb"
