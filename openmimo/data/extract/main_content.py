"""Marks what is not the page's own content: menus, link lists, advertising, hidden parts [R 2.1].

    python -c "from openmimo.data.extract.main_content import *; from openmimo.data.extract.html_tree import parse; print(find_main(parse('<nav>x</nav><main>y</main>')).tag)"

A few rules over markup, then a classifier over blocks of text (`text_blocks`, `block_model`) that was trained on public
gold pages. What is kept is what makes the expected F1 greatest, so a page of one kind needs no threshold of its own.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np

from openmimo.data.extract.block_model import model
from openmimo.data.extract.html_tree import Element, Page, parse_attributes
from openmimo.data.extract.markdown import heading_level
from openmimo.data.extract.text_blocks import Blocks, find_blocks
from openmimo.data.extract.threads import bodies_of, may_have_bodies

_SKIP_ROLES = frozenset(
    "navigation banner contentinfo search complementary menu menubar dialog alertdialog toolbar".split()
)
_SHOWN_SHARE = 0.4  # of the page's text: an element with more is content, hidden or not
_LEAST_TEXT = 200  # characters: with less than that there is nothing to choose from
_HEADINGS = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_LEAST_CHANCE = 0.15  # of a heading: below it is one of an advertisement
_MANY_DEFINITIONS = 6
_TITLE_ABOVE = 8  # blocks
_AMONG = 40  # blocks
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_SUSPECT = re.compile(r'(?:^| )(?:role="|hidden=|aria-hidden="true|style="[^"]*(?:display|visibility))')


def skip_by_markup(page: Page) -> None:
    """Roles, hidden elements; renderings by MathJax 2 that stand beside their source."""
    with_source = {e.parent_index for e in page.elements if e.tag == "script"}
    sizes: list[int] = []
    for i, element in enumerate(page.elements):
        written = element.written
        if not written:
            continue
        if "hidden" in written or "role=" in written or "style=" in written:
            reason = _reason_to_skip(written)
            if reason and element.tag not in ("html", "body", "main"):
                if reason == "role" or (element.tag != "img" and not element.formulas):
                    sizes = sizes or _text_sizes(page)
                    element.skip = sizes[i] < 500 or sizes[i] < _SHOWN_SHARE * sizes[0]  # else a script would show it
        if (
            with_source
            and element.parent_index in with_source
            and any(c.startswith("mathjax") for c in element.classes)
        ):
            element.skip = True


@lru_cache(maxsize=16384)
def _reason_to_skip(written: str) -> str:
    """What of an element's attributes keeps it out of sight: role, hidden or nothing."""
    if not _SUSPECT.search(written):
        return ""
    attrs = parse_attributes(written)
    if attrs.get("role", "").lower() in _SKIP_ROLES:
        return "role"
    is_hidden = "hidden" in attrs or attrs.get("aria-hidden") == "true" or _HIDDEN.search(attrs.get("style", ""))
    return "hidden" if is_hidden else ""


def _text_sizes(page: Page) -> list[int]:
    """Characters in each element and all below it."""
    sizes = [0] * (len(page.elements) + 1)
    for i, text in page.texts:
        sizes[i + 1] += len(text.strip()) or len(page.elements[i].source or page.elements[i].text())
    sums = np.cumsum(sizes)
    return (sums[page.ends] - sums[:-1]).tolist()


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
    bodies = bodies_of(blocks.page) if may_have_bodies(blocks.page, blocks.names) else []
    if not bodies:
        return np.zeros(len(blocks.elements), dtype=bool)
    inside = bytearray(len(blocks.page.elements))
    for i in bodies:
        inside[blocks.own[i]] = 1
    for i, parent in enumerate(blocks.page.parents):
        if parent >= 0 and inside[parent]:
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
    """(blocks,) all terms and definitions, where most of them are to be kept: such a page is a reference; else terms whose definition
    is kept."""
    tags = [blocks.page.elements[i].tag for i in blocks.elements]
    mine = np.array([t == "dt" or t == "dd" for t in tags])
    if mine.sum() >= _MANY_DEFINITIONS and keep[mine].mean() > 0.5:
        return mine
    found = np.zeros(len(keep), dtype=bool)
    parents = blocks.page.parents
    for i in range(len(tags) - 2, -1, -1):
        if tags[i] == "dt" and (keep[i + 1] or found[i + 1]):
            term, below = blocks.elements[i], blocks.elements[i + 1]
            while below > term and parents[below] != parents[term]:
                below = parents[below]
            found[i] = below > term
    return found


def code_between(blocks: Blocks, keep: np.ndarray) -> np.ndarray:
    """(blocks,) code and formulas that stand among blocks to keep: a listing by lines, a table of formulas."""
    share = np.array(blocks.code) / np.array(blocks.chars)
    kept = np.flatnonzero(keep)
    at = np.searchsorted(kept, np.arange(len(keep)))
    before = np.arange(len(keep)) - kept[np.maximum(at - 1, 0)]
    after = kept[np.minimum(at, len(kept) - 1)] - np.arange(len(keep))
    return (share > 0.5) & (before > 0) & (after > 0) & (np.minimum(before, after) <= _AMONG)


def keep_blocks(blocks: Blocks, keep: np.ndarray) -> None:
    """Sets `skip` on everything that holds text but none of the blocks to keep."""
    elements, own = blocks.page.elements, blocks.own
    ends, places = np.array(blocks.page.ends), np.arange(len(elements))
    of_block = np.array(own)
    kept, dropped = np.zeros((2, len(elements) + 1), dtype=np.int64)  # how many such blocks stand before each element
    kept[np.array(blocks.elements) + 1], dropped[np.array(blocks.elements) + 1] = keep, ~keep
    is_dropped = dropped[of_block + 1] > 0
    kept, dropped = np.cumsum(kept), np.cumsum(dropped)
    alive, dead = kept[ends] > kept[:-1], dropped[ends] > dropped[:-1]
    for i in np.flatnonzero(~alive & np.where(of_block == places, dead, is_dropped)).tolist():
        elements[i].skip = True
    for i in np.flatnonzero(alive & is_dropped).tolist():
        elements[i].children = [c for c in elements[i].children if not isinstance(c, str)]
