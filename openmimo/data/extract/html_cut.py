"""Takes out of a page's HTML what never is content, and lifts out what is kept as source: between lexbor and the tree [R 2.1].

    python -c "from openmimo.data.extract.html_cut import cut; print(cut('<p>a<svg><path></path></svg>b</p><pre> x</pre>'))"

One walk over the tags in question, with no node objects: that is several times as fast as to look for them in lexbor's tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

_NEVER_CONTENT = (
    "noscript template canvas object audio video map svg dialog nav frameset applet select datalist progress meter button textarea"
).split()
_MAY_BE_UNCLOSED = frozenset(
    "nav button dialog object map video audio canvas svg".split()
)  # around the whole page, then
SOURCE_TAGS = frozenset(["pre", "math"])  # many small elements, seldom looked into one by one
RAW_TAGS = frozenset("script xmp plaintext noembed noframes".split())  # text without escapes
_LOOKED_FOR = (
    r"<(?:(!--)|({lifted}script|style|iframe|xmp|plaintext|noembed|noframes|title)(?: ([^>]*))?>|(?:meta|link|embed|area)(?: [^>]*)?>"
    r"|(/?)(" + "|".join([*_NEVER_CONTENT, "article", "main"]) + r")(?: [^>]*)?>)"
)
_OF_PAGE = re.compile(_LOOKED_FOR.format(lifted="math|pre|"))
_INSIDE = re.compile(_LOOKED_FOR.format(lifted="math|"))
_OF_SOURCE = re.compile(_LOOKED_FOR.format(lifted=""))
_NO_MATHML = re.compile(r"<(?!/|m[b-df-z]|ma[a-oq-z]|semantics|annotation)")  # tags that may be others
_FACTS = re.compile(
    r"<(?:(!--)|(script|title|style|textarea|iframe|xmp|noembed|noframes|template)(?: ([^>]*))?>|(meta|link) ([^>]*)>)"
)
_FORMULA_SCRIPT = re.compile(r'(?:^|" )type="\s*math/', re.I)


class Cut(NamedTuple):
    """html: without what was cut; of an element that is kept as source only the opening tag stands there. sources: theirs, in order."""

    html: str
    sources: list[str]


def cut(html: str, inside: bool = False) -> Cut:
    """Of HTML as lexbor writes it. inside: it is the source of an element, in which <pre> is like any other."""
    return _cut(html, (_INSIDE if inside else _OF_PAGE).search)


def _cut(html: str, search: Callable[..., re.Match | None], lift: bool = True) -> Cut:
    cuts: list[tuple[int, int]] = []
    sources: list[tuple[int, str]] = []
    open_tags: list[list] = []  # tag, start, holds <article> or <main>
    at = 0
    while match := search(html, at):
        start, at = match.span()
        comment, raw, written, closing, tag = match.groups()
        if tag:
            if tag == "article" or tag == "main":
                if open_tags:
                    open_tags[-1][2] = True
            elif not closing:
                open_tags.append([tag, start, False])
            elif open_tags and open_tags[-1][0] == tag:
                _, start, has_main = open_tags.pop()
                if has_main and tag in _MAY_BE_UNCLOSED:
                    if open_tags:
                        open_tags[-1][2] = True
                    continue
                while cuts and cuts[-1][0] > start:
                    cuts.pop()
                while sources and sources[-1][0] > start:
                    sources.pop()
                cuts.append((start, at))
        elif raw:
            end = _end(html, raw, at) if raw in SOURCE_TAGS else html.find(f"</{raw}>", at)
            inner, opened, at = html[at:end], at, end + len(raw) + 3
            if end < 0:
                inner, at = html[opened:], len(html)
            if raw in SOURCE_TAGS or (raw in RAW_TAGS and (raw != "script" or _FORMULA_SCRIPT.search(written or ""))):
                if not lift:
                    continue
                if (raw == "math" and _NO_MATHML.search(inner)) or (raw == "pre" and _OF_SOURCE.search(inner)):
                    inner = _cut(inner, _OF_SOURCE.search, lift=False).html
                sources.append((start, inner))
                start = opened
            cuts.append((start, at))
        elif comment:
            end = html.find("-->", at)
            at = len(html) if end < 0 else end + 3
            cuts.append((start, at))
        else:
            cuts.append((start, at))
    if cuts:
        pieces, position = [], 0
        for start, end in cuts:
            pieces.append(html[position:start])
            position = end
        html = "".join(pieces) + html[position:]
    return Cut(html, [source for _, source in sources])


def _end(html: str, tag: str, start: int) -> int:
    """Where the closing tag of an element begins whose opening tag ends at start; -1 where there is none."""
    closing, depth, at = f"</{tag}>", 1, start
    while True:
        end = html.find(closing, at)
        if end < 0:
            return -1
        depth += html.count(f"<{tag}>", at, end) + html.count(f"<{tag} ", at, end) - 1
        if not depth:
            return end
        at = end + len(closing)


def facts_of(html: str) -> list[tuple[str, str, str]]:
    """(tag, attributes as written, text) of each <meta>, <link>, <title> and <script> that is no formula, in order."""
    facts, at = [], 0
    while match := _FACTS.search(html, at):
        comment, raw, written, void, attributes = match.groups()
        at = match.end()
        if void:
            facts.append((void, attributes, ""))
            continue
        end = html.find("-->" if comment else f"</{raw}>", at)
        end = len(html) if end < 0 else end
        if raw == "title" or (raw == "script" and not _FORMULA_SCRIPT.search(written or "")):
            facts.append((raw, written or "", html[at:end]))
        at = end
    return facts
