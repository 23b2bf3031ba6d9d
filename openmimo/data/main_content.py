"""Marks what is not the page's own content: menus, link lists, advertising, hidden parts [R 2.1].

    python -c "from openmimo.data.main_content import *; from openmimo.data.html_tree import parse; print(find_main(parse('<nav>x</nav><main>y</main>')).tag)"

A few rules over markup, then a classifier over blocks of text (`text_blocks`, `block_model`) that was trained on public
gold pages. What is kept is what makes the expected F1 greatest, so a page of one kind needs no threshold of its own.
"""

from __future__ import annotations

import re

import numpy as np

from openmimo.data.block_model import model
from openmimo.data.html_tree import Element, Page
from openmimo.data.text_blocks import INLINE, Blocks, find_blocks

_SKIP_ROLES = frozenset("navigation banner contentinfo search complementary menu menubar dialog alertdialog toolbar".split())
_SHOWN_SHARE = 0.4  # of the page's text: an element with more is content, hidden or not
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_SUSPECT = re.compile(r'(?:^| )(?:role=|hidden=|aria-hidden="true|style="[^"]*(?:display|visibility))')


def skip_by_markup(page: Page) -> None:
    """Roles, hidden elements; renderings by MathJax 2 that stand beside their source."""
    with_source = {e.parent_index for e in page.elements if e.is_formula_source}
    whole = 0
    for element in page.elements:
        if not element.written:
            continue
        if _SUSPECT.search(element.written) and element.tag not in ("html", "body", "main"):
            attrs = element.attrs
            if attrs.get("role", "").lower() in _SKIP_ROLES:
                element.skip = True
            elif "hidden" in attrs or attrs.get("aria-hidden") == "true" or _HIDDEN.search(attrs.get("style", "")):
                element.skip = element.tag != "img" and not element.formulas
            if element.skip and (hidden := len(element.text())) > 500:  # a script would show it
                whole = whole or len(page.root.text())
                element.skip = hidden < _SHOWN_SHARE * whole
        if with_source and element.parent_index in with_source and any(c.startswith("mathjax") for c in element.classes):
            element.skip = True


def find_main(page: Page, url: str | None = None) -> Element:
    """Sets `skip` on what is not content; returns the element to read, the page's root.

    url: the page's own address: links to its own sections then do not count as navigation.
    """
    skip_by_markup(page)
    blocks = find_blocks(page, url)
    if blocks.texts:
        keep_blocks(blocks, choose(blocks, model().predict(blocks)))
    return page.root


def choose(blocks: Blocks, chance: np.ndarray) -> np.ndarray:
    """(blocks,) which to keep: those above the threshold that makes the expected F1 over characters greatest."""
    size = np.array([len(t) for t in blocks.texts], dtype=np.float64)
    order = np.argsort(-chance, kind="stable")
    right, total = np.cumsum((chance * size)[order]), np.cumsum(size[order])
    score = 2 * right / (total + right[-1])
    keep = np.zeros(len(size), dtype=bool)
    keep[order[: int(np.argmax(score)) + 1]] = True
    return keep


def keep_blocks(blocks: Blocks, keep: np.ndarray) -> None:
    """Sets `skip` on everything that holds text but none of the blocks to keep."""
    elements, own = blocks.page.elements, blocks.own
    kept = [False] * len(elements)
    dropped = [False] * len(elements)
    for i, k in zip(blocks.elements, keep.tolist(), strict=True):
        kept[i], dropped[i] = k, not k
    alive, dead = list(kept), list(dropped)  # holds a kept block, holds a dropped one
    for i in range(len(elements) - 1, 0, -1):
        parent = elements[i].parent_index
        if parent >= 0:
            if alive[i]:
                alive[parent] = True
            if dead[i]:
                dead[parent] = True
    for i, element in enumerate(elements):
        if element.tag in INLINE and own[i] != i:
            if dropped[own[i]] and not alive[i]:
                element.skip = True
        elif dead[i] and not alive[i]:
            element.skip = True
        if dropped[own[i]] and alive[i]:
            element.children = [c for c in element.children if not isinstance(c, str)]
