"""HTML -> a plain tree of Elements in document order, whatever the input: the first half of extraction [R 2.1].

    python -c "from openmimo.data.extract.html_tree import parse; print([e.tag for e in parse('<p>a<b>c').elements])"

lexbor (by selectolax) repairs the markup and writes it out again; `html_cut` takes out what never holds content; the tree is read
from the rest, which is several times as fast as asking for node after node. Nothing here or in the steps that follow recurses,
so depth cannot crash them; `html_limits` bounds what a hostile page may cost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from selectolax.lexbor import LexborHTMLParser

from openmimo.data.extract.html_cut import RAW_TAGS, SOURCE_TAGS, Cut, cut, facts_of
from openmimo.data.extract.html_limits import MAX_ELEMENTS, within_limits

_TEXTS_OF_THEIR_OWN = SOURCE_TAGS | {"script", "img"}
_LIFTED = SOURCE_TAGS | RAW_TAGS
_VOID = frozenset("br img hr input meta link col area base embed source track wbr param basefont bgsound frame keygen".split())  # fmt: skip
_ATTRIBUTE = re.compile(r'([^ =]+)="([^"]*)"')
_NO_ELEMENT = re.compile(r"<[!?][^>]*>")
_MATHJAX = ("mathjax", "asciimath", "rendermathinelement")


class Element:
    """An HTML element. children: Elements and strings, in order; attrs (read-only): lower-case name -> value; `written`: as
    lexbor writes them.

    formulas: how many it holds, itself included. parent_index: its parent's place in Page.elements; -1 for the root.
    source: of <pre> and <math> the HTML inside, in place of children, until `expand` is called. skip: not content, set
    by main_content.
    """

    formulas = 0
    source = ""
    skip = False
    _attrs = None

    def __init__(self, tag: str, written: str, parent_index: int):
        self.tag, self.written, self.parent_index = tag, written, parent_index
        self.children = []

    @property
    def attrs(self) -> dict[str, str]:
        if self._attrs is None:
            self._attrs = parse_attributes(self.written) if self.written else {}
        return self._attrs

    @property
    def is_formula_source(self) -> bool:
        """A script of MathJax's that holds TeX, AsciiMath or MathML."""
        return self.tag == "script"  # no other script is in the tree

    @property
    def classes(self) -> list[str]:
        return self.attrs.get("class", "").lower().split()

    def expand(self) -> Element:
        """Itself, with children in place of the source. Their parent_index points nowhere."""
        if self.source:
            found = cut(self.source, inside=True)
            self.children, self.source = _read(found, Page([], [], []), _LIFTED - {"pre"}), ""
        return self

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
    """elements: every Element in document order, the root (`html`) first; parents: for each its parent's place, -1 for the root;
    ends: for each the place after the last element below it.

    texts: every text that is not blank, in document order, with the place of the element it stands in; an empty one for
    each <pre>, <math>, <script> and <img>, whose text is not the tree's. html: what they were read from; lang: of <html>.
    """

    elements: list[Element]
    parents: list[int]
    ends: list[int]
    texts: list[tuple[int, str]] = field(default_factory=list)
    html: str = ""
    lang: str = ""
    parsed: LexborHTMLParser | None = None
    names_mathjax: bool = False  # or one of its like, anywhere

    @property
    def root(self) -> Element:
        return self.elements[0]

    def first(self, tag: str) -> Element | None:
        """The first element of this tag."""
        return next((e for e in self.elements if e.tag == tag), None)

    @cached_property
    def facts(self) -> list[tuple[str, str, str]]:
        """See html_cut.facts_of."""
        return facts_of((self.parsed.html if self.parsed else "") or "")

    @cached_property
    def title(self) -> str:
        """The text of <title>."""
        titles = (" ".join(unescape(text).split()) for tag, _, text in self.facts if tag == "title")
        return next(filter(None, titles), "")

    @cached_property
    def metas(self) -> dict[str, str]:
        """name, property or itemprop -> content, lower-case names, the first of each."""
        out: dict[str, str] = {}
        for tag, written, _ in self.facts:
            if tag == "meta" and written:
                attrs = parse_attributes(written)
                name = next(filter(None, map(attrs.get, ("name", "property", "itemprop", "http-equiv"))), "")
                if "content" in attrs:
                    out.setdefault(name.lower(), attrs["content"])
        return out

    @cached_property
    def links(self) -> dict[str, str]:
        """rel -> href, the first of each."""
        out: dict[str, str] = {}
        for tag, written, _ in self.facts:
            attrs = parse_attributes(written) if tag == "link" and written else {}
            if "rel" in attrs and "href" in attrs:
                out.setdefault(attrs["rel"].lower(), attrs["href"])
        return out

    @cached_property
    def data(self) -> list[str]:
        """The sources of its JSON-LD."""
        return [text for tag, written, text in reversed(self.facts) if tag == "script" and "ld+json" in written]

    @cached_property
    def scripts(self) -> list[str]:
        """Those that configure MathJax and the like."""
        return [text for _, text in self._mathjax if _names_mathjax(text)]

    @cached_property
    def script_urls(self) -> str:
        """The addresses of such scripts."""
        return "".join(f"{url} " for url, _ in self._mathjax if _names_mathjax(url))

    @cached_property
    def _mathjax(self) -> list[tuple[str, str]]:
        """(address, text) of each script, the last first, that is neither formula nor data."""
        nodes = reversed(self.parsed.css("script")) if self.names_mathjax else ()
        found = [(node.attributes, node.text() or "") for node in nodes]
        kinds = [(attrs.get("type") or "", attrs.get("src") or "", text) for attrs, text in found]
        return [
            (url, text)
            for kind, url, text in kinds
            if "ld+json" not in kind and not kind.lstrip()[:5].lower() == "math/"
        ]


def parse(html: str) -> Page:
    """Any string -> Page. NULs and lone surrogates go, as no text has them; an empty input gives an empty body."""
    data = within_limits(html)
    tree = LexborHTMLParser(data)
    root = tree.root
    if root is None:
        return Page([Element("html", "", -1)], [-1], [1])
    attrs, body = root.attributes, tree.body
    written = "".join(f' {name}="{_escape(value or "")}"' for name, value in attrs.items())
    if body is None or b"math/" in data:  # a formula may stand in the head
        html = tree.html or "<html>"
    else:
        html = f"<html{written}><head></head>{body.html}</html>"
    found = cut(html)
    page = Page([], [], [], html=found.html, lang=attrs.get("lang") or attrs.get("xml:lang") or "", parsed=tree)
    page.names_mathjax = _names_mathjax(data)
    _read(found, page, _LIFTED)
    if not page.elements:
        page.elements, page.parents, page.ends = [Element("html", "", -1)], [-1], [1]
    return page


def _read(found: Cut, page: Page, lifted: frozenset[str]) -> list[Element | str]:
    """The outermost nodes of well-formed HTML as lexbor writes it: every attribute quoted, `<` and `>` escaped in values.

    page: its elements, texts and ends are filled. lifted: the tags whose sources were taken out.
    """
    elements, parents, ends, texts = page.elements, page.parents, page.ends, page.texts
    html = found.html
    if "<!" in html or "<?" in html:
        html = _NO_ELEMENT.sub("", html)
    first, *pieces = html.split("<")
    top: list = [unescape(first) if "&" in first else first] if first else []
    open_indices, outer = [], []
    index, children, count = -1, top, 0
    sources = iter(found.sources)
    formulas = False
    for piece in pieces:
        if piece[:1] == "/":
            if open_indices:
                ends[index] = count
                index, children = open_indices.pop(), outer.pop()
            if piece[-1] == ">":
                continue
            text = piece.partition(">")[2]
        else:
            head, _, text = piece.partition(">")
            tag, _, written = head.partition(" ")
            if tag:
                element = Element(tag, written, index)
                children.append(element)
                elements.append(element)
                parents.append(index)
                count += 1
                ends.append(count)
                if tag in lifted:
                    source = next(sources, "")
                    if tag in _TEXTS_OF_THEIR_OWN:
                        texts.append((count - 1, ""))
                    if tag in SOURCE_TAGS:
                        element.source = source
                    else:
                        element.children.append(source)
                    formulas = formulas or tag == "math" or tag == "script"
                elif tag not in _VOID:
                    open_indices.append(index)
                    outer.append(children)
                    index, children = count - 1, element.children
                elif tag == "img":
                    texts.append((count - 1, ""))
                if count >= MAX_ELEMENTS:
                    break
        if text:
            if "&" in text:
                text = unescape(text)
            children.append(text)
            if not text.isspace() and index >= 0:
                texts.append((index, text))
    for still_open in (index, *open_indices):
        if still_open >= 0:
            ends[still_open] = count
    if formulas:
        _count_formulas(elements)
    return top


def _count_formulas(elements: list[Element]) -> None:
    """Of each element: its own formula and those inside."""
    for element in reversed(elements):
        if element.tag == "math" or element.tag == "script":
            element.formulas += 1
        if element.formulas and element.parent_index >= 0:
            elements[element.parent_index].formulas += element.formulas


def _names_mathjax(text: str | bytes) -> bool:
    text = text.lower()
    return any((name.encode() if isinstance(text, bytes) else name) in text for name in _MATHJAX)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def parse_attributes(written: str) -> dict[str, str]:
    return {name.lower(): unescape(value) if "&" in value else value for name, value in _ATTRIBUTE.findall(written)}


def unescape(text: str) -> str:
    """Text of HTML as lexbor writes it: with five references and no others."""
    text = text.replace("&nbsp;", "\xa0").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    return text.replace("&amp;", "&")
