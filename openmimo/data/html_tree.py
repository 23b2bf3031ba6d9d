"""HTML -> a plain tree of Elements in document order, whatever the input: the first half of extraction [R 2.1].

    python -c "from openmimo.data.html_tree import parse; print([e.tag for e in parse('<p>a<b>c').elements])"

lexbor (by selectolax) repairs the markup and writes it out again; the tree is read from that, which is twice as fast as
asking for node after node. What never holds content (styles, scripts that are no formula) goes before. Nothing here or
in the steps that follow recurses, so depth cannot crash them; `html_limits` bounds what a hostile page may cost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser

from openmimo.data.html_limits import MAX_ELEMENTS, within_limits

_NEVER_CONTENT = [
    *"style noscript template iframe canvas object embed audio video map area svg dialog nav frameset applet".split(),
    *"select datalist progress meter button textarea".split(),
]
_MAY_BE_UNCLOSED = frozenset(
    "nav button dialog object map video audio canvas svg".split()
)  # around the whole page, then
_PRUNED = ",".join(["script", "meta[content]", "link[rel][href]", "title", *_NEVER_CONTENT])
_SOURCE_TAGS = frozenset(["pre", "math"])  # many small elements, seldom looked into one by one
_TEXTS_OF_THEIR_OWN = _SOURCE_TAGS | {"script", "img"}
_RAW_TAGS = _SOURCE_TAGS | frozenset("script xmp plaintext noembed noframes".split())  # the latter: without escapes
_VOID = frozenset("br img hr input meta link col area base embed source track wbr param basefont bgsound frame keygen".split())  # fmt: skip
_COMMENT = re.compile(r"<!--.*?-->", re.S)
_MATHJAX = re.compile("MathJax|asciimath|renderMathInElement", re.I)
_FORMULA_SCRIPT = re.compile(r"\s*math/", re.I)


class Element:
    """An HTML element. children: Elements and strings, in order; attrs (read-only): lower-case name -> value; `written`: as
    lexbor writes them.

    formulas: how many it holds, itself included. parent_index: its parent's place in Page.elements; -1 for the root.
    source: of <pre> and <math> the HTML inside, in place of children, until `expand` is called. skip: not content, set
    by main_content.
    """

    __slots__ = ("tag", "written", "children", "parent_index", "formulas", "source", "skip", "_attrs")

    def __init__(self, tag: str, written: str, parent_index: int):
        self.tag, self.written, self.parent_index = tag, written, parent_index
        self.children = []
        self.formulas = 0
        self.source = ""
        self.skip = False
        self._attrs = None

    @property
    def attrs(self) -> dict[str, str]:
        if self._attrs is None:
            self._attrs = _parse_attributes(self.written) if self.written else {}
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
            self.children, self.source = _read_elements(f"<{self.tag}>{self.source}")[0].children, ""
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
    """elements: every Element in document order, the root (`html`) first. `parent_index` points into it.

    texts: every text that is not blank, in document order, with the place of the element it stands in; an empty one for
    each <pre>, <math>, <script> and <img>, whose text is not the tree's. title: the text of <title>; metas: name, property or itemprop -> content, lower-case names, the first of each; links:
    rel -> href; lang: of <html>; data: the sources of its JSON-LD; scripts, script_urls: what
    configures MathJax and the like.
    """

    elements: list[Element]
    texts: list[tuple[int, str]] = field(default_factory=list)
    title: str = ""
    lang: str = ""
    metas: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    script_urls: str = ""

    @property
    def root(self) -> Element:
        return self.elements[0]

    def first(self, tag: str) -> Element | None:
        """The first element of this tag."""
        return next((e for e in self.elements if e.tag == tag), None)


def parse(html: str) -> Page:
    """Any string -> Page. NULs and lone surrogates go, as no text has them; an empty input gives an empty body."""
    tree = LexborHTMLParser(within_limits(html))
    if tree.root is None:
        return Page([Element("html", "", -1)])
    page = _prune(tree)
    html = tree.html or ""
    page.elements = _read_elements(_COMMENT.sub("", html) if "<!--" in html else html, page.texts)
    return page


def _prune(tree: LexborHTMLParser) -> Page:
    """Takes out of the tree what never is content, in one pass, and keeps what is said there about the page."""
    page = Page([])
    for node in reversed(tree.css(_PRUNED)):  # what is inside another comes before it
        tag = node.tag
        if tag == "script":
            kind = node.attributes.get("type") or ""
            if _FORMULA_SCRIPT.match(kind):
                continue
            source, address = node.text() or "", node.attributes.get("src")
            if address and _MATHJAX.search(address):
                page.script_urls += address + " "
            if "ld+json" in kind:
                page.data.append(source)
            elif _MATHJAX.search(source):
                page.scripts.append(source)
        elif tag == "meta":
            attrs = node.attributes
            name = attrs.get("name") or attrs.get("property") or attrs.get("itemprop") or attrs.get("http-equiv") or ""
            page.metas[name.lower()] = attrs["content"] or ""
        elif tag == "link":
            page.links[(node.attributes["rel"] or "").lower()] = node.attributes["href"] or ""
        elif tag == "title":
            page.title = " ".join((node.text() or "").split()) or page.title
        elif tag in _MAY_BE_UNCLOSED and node.css_first("article, main") is not None:
            continue
        node.decompose()
    page.lang = tree.root.attributes.get("lang") or tree.root.attributes.get("xml:lang") or ""
    return page


def _read_elements(html: str, texts: list[tuple[int, str]] | None = None) -> list[Element]:
    """The elements of well-formed HTML as lexbor writes it: every attribute quoted, `<` and `>` escaped in values.

    texts: of a whole page, to be filled (see Page); the inside of <pre> and <math> then stays as it is.
    """
    elements: list[Element] = []
    open_indices, children, outer = [-1], [], []
    end, nested, inside = "", 0, []  # of an element whose source is taken as it is
    found, element = 0, None
    for piece in html.split("<"):
        head, _, text = piece.partition(">")
        if end:
            if head != end:
                if head.partition(" ")[0] == end[1:]:
                    nested += 1
                inside.append(piece)
                continue
            if nested:
                nested -= 1
                inside.append(piece)
                continue
            source, end = "<".join(inside), ""
            if element.tag in _SOURCE_TAGS:
                element.source = source
            else:
                element.children.append(source)
        elif piece[:1] == "/":
            if outer:
                open_indices.pop()
                children = outer.pop()
        elif head:
            tag, _, written = head.partition(" ")
            if tag[0] == "!":  # the document type
                continue
            element = Element(tag, written, open_indices[-1])
            children.append(element)
            if texts is not None and tag in _TEXTS_OF_THEIR_OWN:
                texts.append((len(elements), ""))
            if tag in _RAW_TAGS and (texts is not None or tag not in _SOURCE_TAGS or (elements and tag == "math")):
                end, nested, inside = "/" + tag, 0, [text]
                text = ""
                found += tag == "math" or tag == "script"
            elif tag not in _VOID:
                open_indices.append(len(elements))
                outer.append(children)
                children = element.children
            elements.append(element)
            if len(elements) >= MAX_ELEMENTS:
                break
        if text:
            text = unescape(text) if "&" in text else text
            children.append(text)
            if texts is not None and not text.isspace() and open_indices[-1] >= 0:
                texts.append((open_indices[-1], text))
    if found:
        for element in reversed(elements):
            if element.tag == "math" or element.tag == "script":
                element.formulas += 1
            if element.formulas and element.parent_index >= 0:
                elements[element.parent_index].formulas += element.formulas
    return elements or [Element("html", "", -1)]


def _parse_attributes(written: str) -> dict[str, str]:
    pairs = [pair.partition('="') for pair in written[:-1].split('" ')]
    return {name.lower(): unescape(value) if "&" in value else value for name, _, value in pairs}


def unescape(text: str) -> str:
    """Text of HTML as lexbor writes it: with five references and no others."""
    text = text.replace("&nbsp;", "\xa0").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    return text.replace("&amp;", "&")
