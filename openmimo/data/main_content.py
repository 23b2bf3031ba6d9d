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
from openmimo.data.markdown import heading_level
from openmimo.data.text_blocks import INLINE, Blocks, find_blocks
from openmimo.data.threads import bodies_of

_SKIP_ROLES = frozenset(
    "navigation banner contentinfo search complementary menu menubar dialog alertdialog toolbar".split()
)
_SHOWN_SHARE = 0.4  # of the page's text: an element with more is content, hidden or not
_LEAST_TEXT = 400  # characters: with less than that there is nothing to choose from
_HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_LEAST_CHANCE = 0.15  # of a heading: below it is one of an advertisement
_MANY_DEFINITIONS = 6
_TITLE_ABOVE = 8  # blocks
_AMONG = 40  # blocks
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_SUSPECT = re.compile(r'(?:^| )(?:role="|hidden=|aria-hidden="true|style="[^"]*(?:display|visibility))')


def skip_by_markup(page: Page) -> None:
    """Roles, hidden elements; renderings by MathJax 2 that stand beside their source."""
    elements = page.elements
    with_source = {e.parent_index for e in elements if e.tag == "script"}
    sizes: list[int] = []
    for i, element in enumerate(elements):
        written = element.written
        if not written:
            continue
        may_hide = "hidden" in written or "role=" in written or "style=" in written
        if may_hide and _SUSPECT.search(written) and element.tag not in ("html", "body", "main"):
            attrs = element.attrs
            if attrs.get("role", "").lower() in _SKIP_ROLES:
                element.skip = True
            elif "hidden" in attrs or attrs.get("aria-hidden") == "true" or _HIDDEN.search(attrs.get("style", "")):
                element.skip = element.tag != "img" and not element.formulas
            if element.skip:
                sizes = sizes or _text_sizes(page)
                element.skip = sizes[i] < 500 or sizes[i] < _SHOWN_SHARE * sizes[0]  # else a script would show it
        if (
            with_source
            and element.parent_index in with_source
            and any(c.startswith("mathjax") for c in element.classes)
        ):
            element.skip = True


def _text_sizes(page: Page) -> list[int]:
    """Characters in each element and all below it."""
    sizes = [len(e.source) + sum(len(c.strip()) for c in e.children if isinstance(c, str)) for e in page.elements]
    for i in range(len(sizes) - 1, 0, -1):
        sizes[max(page.elements[i].parent_index, 0)] += sizes[i]
    return sizes


def find_main(page: Page, url: str | None = None) -> Element:
    """Sets `skip` on what is not content; returns the element to read, the page's root.

    url: the page's own address: links to its own sections then do not count as navigation.
    """
    skip_by_markup(page)
    blocks = find_blocks(page, url)
    if sum(map(len, blocks.texts)) >= _LEAST_TEXT:
        chance = model().predict(blocks)
        keep = choose(blocks, chance) | in_posts(blocks)
        keep |= definitions(blocks, keep)
        keep |= code_between(blocks, keep)
        keep_blocks(blocks, keep | headings(blocks, keep, chance))
    else:
        for element in page.elements:
            element.skip = element.skip or element.tag == "footer" or element.tag == "aside"
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


def in_posts(blocks: Blocks) -> np.ndarray:
    """(blocks,) those in the text of a post of a thread."""
    inside = bytearray(len(blocks.page.elements))
    bodies = bodies_of(blocks.page)
    for i in bodies:
        inside[blocks.own[i]] = 1
    if bodies:
        for i, element in enumerate(blocks.page.elements):
            if element.parent_index >= 0 and inside[element.parent_index]:
                inside[i] = 1
    return np.array([inside[i] for i in blocks.elements], dtype=bool)


def headings(blocks: Blocks, keep: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """(blocks,) headings right above a block to keep, and the page's own title shortly before the first of them."""
    elements = [blocks.page.elements[i] for i in blocks.elements]
    levels = [e.tag in _HEADINGS and int(e.tag[1]) or _level_inside(e) for e in elements]
    found = np.array(levels, dtype=bool) & np.append(keep[1:], False) & (chance > _LEAST_CHANCE)
    first = int(np.argmax(keep))
    for i in range(first - 1, max(first - _TITLE_ABOVE, -1), -1):
        if levels[i] == 1:
            found[i] = True
            break
    return found


def _level_inside(element: Element) -> int:
    """Of a cell that is nothing but a heading, as pydoc writes them."""
    if element.tag != "td":
        return 0
    return heading_level(element) or max(
        (heading_level(c) for c in element.children if c.__class__ is Element), default=0
    )


def definitions(blocks: Blocks, keep: np.ndarray) -> np.ndarray:
    """(blocks,) all terms and definitions, where most of them are to be kept: such a page is a reference."""
    tags = [blocks.page.elements[i].tag for i in blocks.elements]
    mine = np.array([t == "dt" or t == "dd" for t in tags])
    return mine & (keep[mine].mean() > 0.5 if mine.sum() >= _MANY_DEFINITIONS else False)


def code_between(blocks: Blocks, keep: np.ndarray) -> np.ndarray:
    """(blocks,) code and formulas that stand among blocks to keep: a listing by lines, a table of formulas."""
    share = np.array([blocks.code[i] / blocks.chars[i] for i in blocks.elements])
    kept = np.flatnonzero(keep)
    at = np.searchsorted(kept, np.arange(len(keep)))
    before = np.arange(len(keep)) - kept[np.maximum(at - 1, 0)]
    after = kept[np.minimum(at, len(kept) - 1)] - np.arange(len(keep))
    return (share > 0.5) & (before > 0) & (after > 0) & (np.minimum(before, after) <= _AMONG)


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
