"""HTML -> a plain tree of Elements in document order, whatever the input: the first half of extraction [R 2.1].

    python -c "from openmimo.data.html_tree import parse; print([e.tag for e in parse('<p>a<b>c').elements])"

The parser is lexbor (by selectolax). Nothing here or in the steps that follow recurses, so depth cannot crash them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser

MAX_DEPTH = 5_000  # opening tags below this depth are dropped: the parser's time grows with the depth's square
_SUSPECT_TAGS = 20_000  # pages with fewer tags are parsed as they are (20,000 open <div>: a second or two)
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)[^>]*>?")
_CLOSED_BY_OTHERS = frozenset(
    "p li dt dd tr td th thead tbody tfoot option optgroup colgroup rp rt "
    "br img hr input meta link col area base embed source track wbr param".split()
)


class Element:
    """An HTML element. children: Elements and strings, in order; attrs: lower-case name -> value.

    formulas, headings: how many of each it holds, itself included (headings: h1, h2 and pre).
    """

    __slots__ = (
        "tag",
        "attrs",
        "children",
        "parent_index",
        "formulas",
        "headings",
        "chars",
        "link_chars",
        "links",
        "skip",
    )

    def __init__(self, tag: str, attrs: dict[str, str], parent_index: int):
        self.tag, self.attrs, self.children, self.parent_index = tag, attrs, [], parent_index
        self.formulas = int(tag == "math" or self.is_formula_source)
        self.headings = int(tag in ("h1", "h2", "pre"))
        self.chars = self.link_chars = self.links = 0  # these and `skip`: filled by main_content
        self.skip = False

    @property
    def is_formula_source(self) -> bool:
        """A script of MathJax's that holds TeX or MathML."""
        return self.tag == "script" and self.attrs.get("type", "").lower().startswith("math/")

    @property
    def classes(self) -> list[str]:
        return self.attrs.get("class", "").lower().split()

    def descendants(self):
        """All Elements below this one, in document order."""
        stack = [c for c in reversed(self.children) if not isinstance(c, str)]
        while stack:
            element = stack.pop()
            yield element
            stack.extend(c for c in reversed(element.children) if not isinstance(c, str))

    def text(self) -> str:
        """All text below, as written."""
        parts, stack = [], [self]
        while stack:
            node = stack.pop()
            if isinstance(node, str):
                parts.append(node)
            else:
                stack.extend(reversed(node.children))
        return "".join(parts)


@dataclass
class Page:
    """elements: every Element in document order, the root (`html`) first. `parent_index` points into it."""

    elements: list[Element]

    @property
    def root(self) -> Element:
        return self.elements[0]

    def first(self, tag: str) -> Element | None:
        """The first element of this tag."""
        return next((e for e in self.elements if e.tag == tag), None)


def parse(html: str) -> Page:
    """Any string -> Page. NULs go, as no text has them; an empty input gives an empty body."""
    html = html.replace("\0", "")
    if html.count("<") > _SUSPECT_TAGS:
        html = _limit_depth(html)
    node = LexborHTMLParser(html).root
    if node is None:
        return Page([Element("html", {}, -1)])
    elements: list[Element] = []
    open_indices = [-1]
    while node is not None:
        tag = node.tag or "!"
        if tag == "-text":
            if open_indices[-1] >= 0:
                elements[open_indices[-1]].children.append(node.text_content)
        elif not tag.startswith(("-", "!")):
            element = Element(tag, {k.lower(): v or "" for k, v in node.attributes.items()}, open_indices[-1])
            if elements and open_indices[-1] >= 0:
                elements[open_indices[-1]].children.append(element)
            elements.append(element)
            child = node.first_child
            if child is not None:
                open_indices.append(len(elements) - 1)
                node = child
                continue
        node = _following(node, open_indices)
    for element in reversed(elements[1:]):
        parent = elements[element.parent_index]
        parent.formulas += element.formulas
        parent.headings += element.headings
    return Page(elements)


def _following(node, open_indices: list[int]):
    """The next sibling of the node or of its nearest ancestor that has one; closes what it leaves."""
    while node.next is None:
        node = node.parent
        open_indices.pop()
        if node is None or len(open_indices) <= 1:
            return None
    return node.next


def _limit_depth(html: str) -> str:
    """Drops the opening tags that would nest deeper than MAX_DEPTH."""
    open_tags: dict[str, int] = {}
    depth = 0

    def keep(match: re.Match) -> str:
        nonlocal depth
        closing, tag = match[1], match[2].lower()
        if tag in _CLOSED_BY_OTHERS:
            return match[0]
        if closing:
            if open_tags.get(tag):
                open_tags[tag] -= 1
                depth -= 1
            return match[0]
        if depth >= MAX_DEPTH:
            return ""
        open_tags[tag] = open_tags.get(tag, 0) + 1
        depth += 1
        return match[0]

    return _TAG.sub(keep, html)
