r"""Formulas written in a page's text, between the delimiters that the page's own scripts read [R 2.1].

    python -c "from openmimo.data.extract.text_formulas import *; print(reader(['MathJax = {tex: {inlineMath: [[\"@@\", \"@@\"]]}}'], '')('so @@x^2@@ is'))"

`$`, `$$`, `\( \)`, `\[ \]` stand as they are. Other delimiters become `$` and `$$`: those of a MathJax or KaTeX
configuration, AsciiMath's backticks (converted), `[itex]`, `[tex]` and `[math]` of forums, WordPress's `$latex`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from openmimo.data.extract.asciimath import asciimath_to_latex

_PAIRS = re.compile(r"""\[\s*(["'])((?:\\.|(?!\1).){1,20})\1\s*,\s*(["'])((?:\\.|(?!\3).){1,20})\3\s*\]""")
_KATEX_PAIR = re.compile(
    r"""left\s*:\s*(["'])((?:\\.|(?!\1).){1,20})\1\s*,\s*right\s*:\s*(["'])((?:\\.|(?!\3).){1,20})\3(?:\s*,\s*display\s*:\s*(\w+))?"""
)
_LISTS = re.compile(
    r"(inlineMath|displayMath|asciimath2jax[^}]{0,80}?delimiters)['\"]?\s*:\s*(\[(?:\s*\[[^\]]*\]\s*,?)*\s*\])"
)
_KNOWN = frozenset([("$", "$"), ("$$", "$$"), ("\\(", "\\)"), ("\\[", "\\]")])
_ASCIIMATH = re.compile(r"asciimath|AM_HTMLorMML|AM_CHTML|MML_HTMLorMML-full", re.I)
_BBCODE = re.compile(r"\[(/?)(itex|tex|latex|math|imath|dmath)\]", re.I)
_LONGEST = 2_000  # characters of a formula
_WORDPRESS = re.compile(r"\$latex\s+([^$]{1,2000})\$")
_BACKTICKS = re.compile(r"(?<!\\)`([^`\n]{1,500}?)(?<!\\)`")
_QUICK = re.compile(r"\[(?:itex|tex|latex|math|imath|dmath)\]|\$latex\s", re.I)


def reader(scripts: list[str], sources: str) -> Callable[[str], str]:
    """A function that rewrites the formulas in a piece of text. scripts: those that configure; sources: URLs of scripts."""
    pairs: list[tuple[str, str, str]] = []
    asciimath = bool(_ASCIIMATH.search(sources))
    for script in scripts:
        found = [(k, m[2], m[4]) for k, body in _LISTS.findall(script) for m in _PAIRS.finditer(body)]
        found += [("displayMath" if m[5] == "true" else "inlineMath", m[2], m[4]) for m in _KATEX_PAIR.finditer(script)]
        for kind, opening, closing in found:
            opening, closing = (re.sub(r"\\(.)", r"\1", d) for d in (opening, closing))
            if kind.startswith("asciimath"):
                asciimath = asciimath or opening == "`"
            elif (opening, closing) not in _KNOWN and not opening.startswith("\\begin") and opening.strip():
                pairs.append((opening, closing, "$$" if kind == "displayMath" else "$"))
        asciimath = asciimath or bool(
            re.search(r"asciimath2jax|input/AsciiMath|loader[^;]{0,200}asciimath", script, re.I)
        )
    pairs.sort(key=lambda pair: -len(pair[0]))

    def rewrite(text: str) -> str:
        if asciimath and "`" in text:
            text = _BACKTICKS.sub(lambda m: f"${asciimath_to_latex(m[1])}$", text).replace("\\`", "`")
        for opening, closing, mark in pairs:
            if opening in text:
                text = _between(text, opening, closing, mark)
        if ("[" in text or "$" in text) and _QUICK.search(text):
            text = _from_bbcode(text)
            text = _WORDPRESS.sub(lambda m: f"${m[1].strip()}$", text)
        return text

    return rewrite


def _between(text: str, opening: str, closing: str, mark: str) -> str:
    """The text with `mark` in place of a pair of delimiters that are not too far apart; in linear time."""
    out, position, end = [], 0, -1
    while (start := text.find(opening, position)) >= 0:
        inner = start + len(opening)
        if end < inner + 1:
            end = text.find(closing, inner + 1)
            if end < 0:
                break
        if end - inner > _LONGEST:
            out.append(text[position:inner])
            position = inner
            continue
        out.append(f"{text[position:start]}{mark}{text[inner:end].strip()}{mark}")
        position = end + len(closing)
    return "".join(out) + text[position:]


def _from_bbcode(text: str) -> str:
    """The same for [tex] and its like: a tag and the one after it, where that closes it."""
    out, position, opened = [], 0, None
    for tag in _BBCODE.finditer(text):
        if not tag[1]:
            opened = tag
        elif opened is not None:
            if opened[2].lower() == tag[2].lower() and tag.start() - opened.end() <= _LONGEST:
                mark = "$$" if tag[2].lower() in ("tex", "dmath") else "$"
                out.append(f"{text[position : opened.start()]}{mark}{text[opened.end() : tag.start()].strip()}{mark}")
                position = tag.end()
            opened = None
    return "".join(out) + text[position:]
