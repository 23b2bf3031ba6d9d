"""Code on a page, character for character: its text, its language, its fence [R 2.1].

python -c "from openmimo.data.extract.code_blocks import *; from openmimo.data.extract.html_tree import parse; print(code_text(parse('<pre>a<br>  b').first('pre')))"
"""

from __future__ import annotations

import re
from functools import lru_cache

from openmimo.data.extract.html_tree import Element, unescape

_LINES = frozenset("div p li tr ol ul table tbody".split())  # an element that begins and ends a line of code
_GUTTER = re.compile(
    r"gutter|line-?_?n(o|os|um|ums|umber|umbers)\b|linenum|lineno|blob-num|\blnum|\bln\b|hljs-ln|row-?num|\blno\b", re.I
)
_COPY = re.compile(r"copy|clipboard|toolbar|code-?(lang|header|title)|expand", re.I)
_BUTTON = re.compile(  # outside of code, where much else is named so
    r"copy-?(?:btn|button|code|link|icon)|(?:btn|button|icon|link)[-_ ]?copy|clipboard|(?:^| )copy(?: |$)|toolbar|code-?(?:lang|header|title)|"
    r"expand-?(?:link|btn|button|icon)",
    re.I,
)
_CLASS = re.compile(r'(?:^| )class="([^"]*)"')
_CLASSES = re.compile(r' class="([^"]*)"')
_NO_GUTTERS = frozenset("pre code table tr tbody body".split())
_LITTLE = 40  # characters: the text of a button
_PLAIN = re.compile(r"</?(?:span|code|b|i|em|strong|font|u|var|mark|samp|tt|a|ins|del|kbd|s)(?: [^>]*)?>")
_BREAK = re.compile(r"<br(?: [^>]*)?>")
_ADJACENT_LINES = re.compile(r'</span>(?=<span [^>]*class="[^"]*\b(?:line|code-line|cl|view-line)\b)', re.I)
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:language|lang|highlight-source|highlight-text|highlight|brush:|sourcecode|prism)[-_: ]\s*([a-z][a-z0-9+#]{0,15})",
    re.I,
)
_NO_LANGUAGE = frozenset(
    "none undefined default notranslate text plain plaintext txt nohighlight wrap lines line code block".split()
)


def is_gutter(element: Element, in_code: bool = False) -> bool:
    """Line numbers and copy buttons beside a listing, or in it: their class says so, and so does their text."""
    if not element.written or element.tag in _NO_GUTTERS:
        return False
    kind = gutter_kind(element.written)
    if kind == "numbers":
        return re.fullmatch(r"[\d\s.:|]*", element.expand().text()) is not None
    return (kind == "button" or (kind == "copy" and in_code)) and not element.source and _is_short(element)


@lru_cache(maxsize=16384)
def gutter_kind(written: str) -> str:
    """What the class in written attributes says: numbers, button, copy (a button, if in code) or nothing."""
    match = _CLASS.search(written)
    return _kind_of_class(match[1]) if match else ""


@lru_cache(maxsize=16384)
def _kind_of_class(name: str) -> str:
    if _GUTTER.search(name):
        return "numbers"
    return "button" if _BUTTON.search(name) else "copy" if _COPY.search(name) else ""


def _is_short(element: Element) -> bool:
    return len(element.text().strip()) < _LITTLE and not any(
        e.tag in ("pre", "code", "h1", "h2", "h3") for e in element.descendants()
    )


def code_text(element: Element, preformatted: bool = True) -> str:
    """The element's text as code: <br> and line elements are line ends, line numbers go, U+00A0 is a blank.

    preformatted: line ends of the source count, as in <pre>. Otherwise they count only where the element has no <br>.
    """
    if element.source and not any(map(_kind_of_class, set(_CLASSES.findall(element.source)))):
        text = _PLAIN.sub("", _BREAK.sub("\n", _ADJACENT_LINES.sub("\n", element.source)))
        if "<" not in text:
            code = unescape(text).replace("\xa0", " ").replace("\r", "")
            return code.rstrip().lstrip("\n") if preformatted else code
    element.expand()
    out: list[str] = []
    keep_newlines = preformatted or not any(e.tag == "br" for e in element.descendants())
    stack: list[tuple[Element | str, bool]] = [(child, False) for child in reversed(element.children)]
    while stack:
        node, leaving = stack.pop()
        if isinstance(node, str):
            text = node.replace("\xa0", " ").replace("\r", "")
            if not keep_newlines:
                text = (text[1:] if text.startswith("\n") and out and out[-1].endswith("\n") else text).replace(
                    "\n", " "
                )
            out.append(text)
        elif leaving:
            out.append("\n")
        elif node.tag == "br":
            out.append("\n")
        elif not (node.tag in ("button", "script", "style") or is_gutter(node, in_code=True)):
            if node.tag in _LINES:
                if out and not "".join(out[-2:]).endswith("\n"):
                    out.append("\n")
                if node.tag not in ("ol", "ul", "table", "tbody"):
                    stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children))
    code = "".join(out)
    return code.rstrip().lstrip("\n") if preformatted else code


def language_of(element: Element) -> str:
    """The language that the classes of a code element, or of the first elements in it, name; empty where none does."""
    near = [element.expand(), *(c for c in element.children if not isinstance(c, str))][:3]
    for candidate in near:
        for value in (candidate.attrs.get("data-lang", ""), candidate.attrs.get("data-language", "")):
            if re.fullmatch(r"[A-Za-z][\w+#]{0,15}", value):
                return value.lower()
        match = _LANGUAGE.search(candidate.attrs.get("class", ""))
        if match and match[1].lower() not in _NO_LANGUAGE:
            return match[1].lower()
    return ""


def fence(code: str, language: str = "") -> str:
    """A fenced code block; the fence is longer than any run of backticks in the code."""
    ticks = "`" * max([3] + [len(run) + 1 for run in re.findall(r"`{3,}", code)])
    return f"{ticks}{language}\n{code}\n{ticks}"
