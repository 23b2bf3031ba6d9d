"""Code on a page, character for character: its text, its language, its fence [R 2.1].

python -c "from openmimo.data.code_blocks import *; from openmimo.data.html_tree import parse; print(code_text(parse('<pre>a<br>  b').first('pre')))"
"""

from __future__ import annotations

import re

from openmimo.data.html_tree import Element

_LINES = frozenset("div p li tr ol ul table tbody".split())  # an element that begins and ends a line of code
_GUTTER = frozenset(
    "gutter linenos linenodiv lineno linenumber linenumbers line-number line-numbers line-numbers-rows hljs-ln-numbers blob-num "
    "rouge-gutter lnum copybtn copy-button code-copy".split()
)
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:language|lang|highlight-source|highlight-text|highlight|brush:|sourcecode|prism)[-_: ]\s*([a-z][a-z0-9+#]{0,15})",
    re.I,
)
_NO_LANGUAGE = frozenset(
    "none default notranslate text plain plaintext txt nohighlight wrap lines line code block".split()
)


def is_gutter(element: Element) -> bool:
    """Line numbers and copy buttons beside a listing."""
    return "class" in element.attrs and not _GUTTER.isdisjoint(element.classes)


def code_text(element: Element, preformatted: bool = True) -> str:
    """The element's text as code: <br> and line elements are line ends, line numbers go, U+00A0 is a blank.

    preformatted: line ends of the source count, as in <pre>. Otherwise they count only where the element has no <br>.
    """
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
        elif not (node.tag in ("button", "script", "style") or is_gutter(node)):
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
    near = [element, *(c for c in element.children if not isinstance(c, str))][:3]
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
