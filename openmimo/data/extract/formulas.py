"""Finds the formulas of a page, in whatever way it writes them, and gives their LaTeX [R 2.1].

    python -c "from openmimo.data.extract.formulas import formula_of; from openmimo.data.extract.html_tree import parse; print(formula_of(parse('<img class=latex alt=x^2>').first('img')))"

Known: MathML (its TeX annotation, else alttext, else converted), KaTeX, MathJax 2 and 3 (script, attribute, assistive
MathML; TeX or AsciiMath), `data-tex` and the like, and images (alt, title or the URL that drew them). Formulas written in the text
are text: see text_formulas.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from openmimo.data.extract.asciimath import asciimath_to_latex
from openmimo.data.extract.html_tree import Element, unescape
from openmimo.data.extract.mathml import mathml_source_to_latex, mathml_to_latex


class Formula(NamedTuple):
    """LaTeX without delimiters. `display`: a formula on its own line. Empty latex: a rendering to be left out."""

    latex: str
    display: bool


_RENDERED = re.compile(
    r"^(katex|katex-display|mathjax|mathjax_(preview|display|svg|chtml|svg_display|chtml_display)|mwe-math-element)$"
)
_TEX_ATTRIBUTES = ("data-tex", "data-latex", "data-formula", "data-math", "data-expr", "data-katex")
_IMAGE_CLASS = re.compile(r"(^|[\s_-])(latex|tex|math|formula|equation|katex|mathjax|mwe)", re.I)
_IMAGE_URL = re.compile(
    r"latex(\.php|\.codecogs|render|\.cgi)|codecogs\.com|math(tex|type)\.cgi|mimetex|math/render|/math/[0-9a-f]/|math/[0-9a-f]{8,}\.(?:png|svg|gif)|tex2img|wp-latex|equation\?tex=",
    re.I,
)
_IMAGE_NAMES = ("tex", "math", "codecogs", "formula", "equation", "mwe", "eeimg")  # one is in all that _of_image knows
_URL_TEX = re.compile(
    r"[?&](?:latex|tex|formula|eq|chl)=([^&]+)|(?:codecogs\.com/[a-z]+\.(?:latex|image|download)|mimetex\.cgi|mathtex\.cgi)\?(.+)",
    re.I,
)
_MAYBE = (
    "atex",
    "aTeX",
    "ath",
    "data-tex",
    "data-formula",
    "data-expr",
    "reqn",
)  # in the attributes of whatever may be one
_TEX_CHARACTER = re.compile(r"[\\^_={}]|^[A-Za-z0-9]$|^\W$|^[-+*/().,A-Za-z0-9<>| ]{1,12}$")
_ANNOTATION = re.compile(r"<annotation([^>]*)>(.*?)</annotation>", re.S)
_LINE_BREAK = re.compile(r"<br\s*/?>")
_LINE_END = re.compile(r"\s*\n\s*")
_WRAPPERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))


def formula_of(element: Element) -> Formula | None:
    """The formula that this element is, as a whole; None where it is none."""
    tag = element.tag
    if tag == "math":
        return _of_mathml(element)
    if tag == "script":
        return _of_script(element)
    if tag == "img":
        written = element.written.lower()
        return _of_image(element.attrs) if any([name in written for name in _IMAGE_NAMES]) else None
    if tag != "mjx-container" and not may_be_formula(element.written):
        return None
    attrs = element.attrs
    for name in _TEX_ATTRIBUTES:
        if attrs.get(name, "").strip() and _TEX_CHARACTER.search(attrs[name].strip()):
            return Formula(clean_latex(attrs[name]), "display" in attrs.get("class", "") or tag == "div")
    if "reqn" in element.classes:  # R's manual: KaTeX reads what is inside
        return Formula(clean_latex(element.text()), False)
    if tag == "mjx-container" or any(_RENDERED.match(c) for c in element.classes):
        return _of_rendering(element)
    return None


def may_be_formula(written: str) -> bool:
    """Of an element's attributes: whether they name what a formula may carry."""
    return any([name in written for name in _MAYBE])


def clean_latex(latex: str) -> str:
    """Without delimiters, surrounding blanks and HTML's line breaks."""
    latex = latex.replace("\xa0", " ")
    if "<br" in latex:
        latex = _LINE_BREAK.sub("\n", latex)
    latex = latex.strip()
    if "\n" in latex:
        latex = _LINE_END.sub("\n", latex)
    if latex[:1] not in ("$", "\\"):
        return latex
    for opening, closing in _WRAPPERS:
        if latex.startswith(opening) and latex.endswith(closing) and len(latex) > len(opening + closing):
            return latex[len(opening) : -len(closing)].strip()
    return latex


def _of_mathml(math: Element) -> Formula:
    display = math.attrs.get("display") == "block" or math.attrs.get("mode") == "display"
    for attributes, text in _ANNOTATION.findall(math.source):
        if "tex" in attributes.lower() and text.strip():
            return Formula(clean_latex(unescape(text)), display)
    alttext = math.attrs.get("alttext", "").strip()
    return Formula(clean_latex(alttext) if alttext else mathml_to_latex(math.expand()), display)


def _of_script(script: Element) -> Formula | None:
    kind = script.attrs.get("type", "").lower()
    source, display = script.text(), "mode=display" in kind.replace(" ", "")
    source = re.sub(r"%\s*<!\[CDATA\[|%\s*\]\]>|<!\[CDATA\[|\]\]>", "", source)
    if "mml" in kind or "mathml" in kind:
        return Formula(mathml_source_to_latex(source), display)
    return Formula(asciimath_to_latex(source.strip()) if "ascii" in kind else clean_latex(source), display)


def _of_image(attrs: dict[str, str]) -> Formula | None:
    source = attrs.get("src", "") or attrs.get("data-src", "")
    drawn = _IMAGE_URL.search(source)
    if not drawn and "eeimg" not in attrs and not _IMAGE_CLASS.search(attrs.get("class", "")):
        return None
    display = "display" in attrs.get("class", "")
    for candidate in (attrs.get("alt", ""), attrs.get("title", "")):
        if candidate.strip() and _TEX_CHARACTER.search(candidate.strip()):
            return Formula(clean_latex(candidate), display)
    match = _URL_TEX.search(source) if drawn else None
    latex = (unquote_plus(match[1]) if match[1] else unquote(match[2])) if match else ""  # a bare query keeps its +
    return Formula(clean_latex(latex), display) if latex.strip() else None


def _of_rendering(element: Element) -> Formula | None:
    """KaTeX's and MathJax's output: the source that it carries. None: no rendering, read what is inside instead."""
    classes = element.classes
    is_mathjax = element.tag == "mjx-container" or element.attrs.get("id", "").lower().startswith("mathjax")
    if "mathjax" in classes and not is_mathjax:
        return None  # a page's own wrapper: MathJax numbers the elements it writes
    math = next((e for e in element.descendants() if e.tag == "math"), None) if element.formulas == 1 else None
    display = element.attrs.get("display") == "true" or any("display" in c for c in classes)
    if math is not None:
        formula = _of_mathml(math)
        return Formula(formula.latex, formula.display or display)
    if element.attrs.get("data-mathml"):
        return Formula(mathml_source_to_latex(element.attrs["data-mathml"]), display)
    return Formula("", display) if is_mathjax and not element.formulas else None
