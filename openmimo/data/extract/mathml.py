"""Presentation MathML -> LaTeX, for formulas that carry no TeX of their own [R 2.1].

    python -c "from openmimo.data.extract.mathml import mathml_source_to_latex as f; print(f('<math><msup><mi>x</mi><mn>2</mn></msup></math>'))"

Children are converted before their parents (document order, reversed), so a formula of any depth is fine. What has no
LaTeX name here stays as its own character: modern TeX engines and tokenizers read Unicode.
"""

from __future__ import annotations

import re

from openmimo.data.extract.html_tree import Element, parse

_GREEK = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho varsigma sigma tau "
    "upsilon phi chi psi omega"
)
_SYMBOLS = {chr(0x3B1 + i): "\\" + name for i, name in enumerate(_GREEK.split())}
_SYMBOLS |= {
    c: "\\" + n
    for c, n in zip("ΓΔΘΛΞΠΣΥΦΨΩ", "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split(), strict=True)
}
_SYMBOLS |= {
    "ϕ": r"\phi",
    "φ": r"\varphi",
    "ϵ": r"\epsilon",
    "ε": r"\varepsilon",
    "ϑ": r"\vartheta",
    "ℓ": r"\ell",
    "ℏ": r"\hbar",
}
_SYMBOLS |= {
    "≤": r"\le", "≥": r"\ge", "≠": r"\ne", "≈": r"\approx", "≡": r"\equiv", "∼": r"\sim", "≅": r"\cong", "∝": r"\propto",
    "±": r"\pm", "∓": r"\mp", "×": r"\times", "÷": r"\div", "⋅": r"\cdot", "·": r"\cdot", "∘": r"\circ", "∗": "*", "−": "-",
    "∈": r"\in", "∉": r"\notin", "⊂": r"\subset", "⊆": r"\subseteq", "∪": r"\cup", "∩": r"\cap", "∅": r"\emptyset", "∖": r"\setminus",
    "∧": r"\wedge", "∨": r"\vee", "¬": r"\neg", "∀": r"\forall", "∃": r"\exists", "→": r"\to", "←": r"\leftarrow", "⇒": r"\Rightarrow",
    "⇔": r"\Leftrightarrow", "↦": r"\mapsto", "⟶": r"\longrightarrow", "∞": r"\infty", "∂": r"\partial", "∇": r"\nabla",
    "∑": r"\sum", "∏": r"\prod", "∫": r"\int", "∬": r"\iint", "∮": r"\oint", "√": r"\surd", "…": r"\ldots", "⋯": r"\cdots", "⋮": r"\vdots", "⋱": r"\ddots",
    "⊕": r"\oplus", "⊗": r"\otimes", "⊥": r"\perp", "∥": r"\parallel", "∠": r"\angle", "′": "'", "″": "''", "⟨": r"\langle", "⟩": r"\rangle",
    "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil", "⌉": r"\rceil", "‖": r"\|", "∣": r"\mid", "ℝ": r"\mathbb{R}", "ℕ": r"\mathbb{N}",
    "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "\xa0": "~", "{": r"\{", "}": r"\}", "%": r"\%", "#": r"\#", "&": r"\&",
    "$": r"\$", "_": r"\_", "\\": r"\backslash", "^": r"\hat{}", "~": r"\sim",
    "\u2061": "", "\u2062": "", "\u2063": "", "\u2064": "", "\u200b": "",  # invisible operators
}  # fmt: skip
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan exp log ln lg lim limsup liminf max min sup inf "
    "det dim ker gcd deg arg hom Pr".split()
)
_VARIANTS = {
    "bold": "mathbf",
    "double-struck": "mathbb",
    "script": "mathcal",
    "fraktur": "mathfrak",
    "normal": "mathrm",
    "sans-serif": "mathsf",
    "monospace": "mathtt",
}
_ACCENTS = {"¯": "overline", "‾": "overline", "_": "overline", "^": "hat", "ˆ": "hat", "~": "tilde", "˜": "tilde", "∼": "tilde", "→": "vec", "˙": "dot", ".": "dot",
            "¨": "ddot", "⏞": "overbrace", "ˇ": "check", "˘": "breve"}  # fmt: skip
_UNDER_ACCENTS = {"_": "underline", "¯": "underline", "̲": "underline", "⏟": "underbrace"}
_LIMITS = re.compile(r"\\(sum|prod|int|iint|oint|lim|limsup|liminf|max|min|sup|inf|bigcup|bigcap|gcd|det)$")
_IGNORED = frozenset(["annotation", "annotation-xml", "maction-alternative", "none", "mprescripts", "mphantom"])


def mathml_to_latex(math: Element) -> str:
    """LaTeX of a `math` element (or of any MathML element), without delimiters; empty for an empty formula."""
    elements = [math, *math.descendants()]
    latex: dict[int, str] = {}
    for element in reversed(elements):
        parts = [latex.pop(id(c)) for c in element.children if not isinstance(c, str)]
        latex[id(element)] = "" if element.tag in _IGNORED else _convert(element, parts)
    return re.sub(r"\s+", " ", latex[id(math)]).strip()


def mathml_source_to_latex(source: str) -> str:
    """LaTeX of the first formula in MathML source text; empty where there is none."""
    math = parse(source).first("math")
    return "" if math is None else mathml_to_latex(math.expand())


def _convert(element: Element, parts: list[str]) -> str:
    """LaTeX of one element whose children are already LaTeX."""
    tag = element.tag
    if tag in ("mi", "mn", "mo", "ms", "mtext"):
        return _token(element)
    if tag == "msup" and len(parts) == 2:
        return f"{_group(parts[0])}^{_group(parts[1])}"
    if tag == "msub" and len(parts) == 2:
        return f"{_group(parts[0])}_{_group(parts[1])}"
    if tag == "msubsup" and len(parts) == 3:
        return f"{_group(parts[0])}_{_group(parts[1])}^{_group(parts[2])}"
    if tag in ("munder", "mover", "munderover"):
        return _over_and_under(element, tag, parts)
    if tag == "mfrac" and len(parts) == 2:
        bare = element.attrs.get("linethickness", "").startswith("0")
        return ("\\genfrac{}{}{0pt}{}" if bare else "\\frac") + "".join(f"{{{p}}}" for p in parts)
    if tag == "msqrt":
        return f"\\sqrt{{{_join(parts)}}}"
    if tag == "mroot" and len(parts) == 2:
        return f"\\sqrt[{parts[1]}]{{{parts[0]}}}"
    if tag == "mtd":
        return _join(parts)
    if tag in ("mtr", "mlabeledtr"):
        return " & ".join(parts)
    if tag == "mtable":
        return _array(element, parts)
    if tag == "mfenced":
        return _fenced(element, parts)
    if tag == "mspace":
        return "\\quad " if re.fullmatch(r"\s*[1-9][\d.]*em\s*", element.attrs.get("width", "")) else "\\,"
    return _join(parts)


def _token(element: Element) -> str:
    """LaTeX of an identifier, number, operator or text."""
    text = re.sub(r"\s+", " ", "".join(c for c in element.children if isinstance(c, str))).strip()
    if element.tag in ("mtext", "ms"):
        return f"\\text{{{text}}}" if text else "\\ "
    if element.tag == "mi" and len(text) > 1 and text.isascii() and text.isalpha():
        return f"\\{text}" if text in _FUNCTIONS else f"\\mathrm{{{text}}}"
    converted = _join([_SYMBOLS.get(c, c) for c in text])
    variant = element.attrs.get("mathvariant", "")
    command = _VARIANTS.get(variant.split("-")[0] if variant.startswith("bold-") else variant)
    if command and element.tag == "mi" and text and text.isalpha():
        return f"\\{command}{{{converted}}}"
    return f"\\{text}" if element.tag == "mo" and text in _FUNCTIONS else converted


def _over_and_under(element: Element, tag: str, parts: list[str]) -> str:
    """munder, mover, munderover: limits of a large operator, an accent, or \\overset and \\underset."""
    if len(parts) != (3 if tag == "munderover" else 2):
        return _join(parts)
    base, marks = parts[0], [c.text().strip() for c in element.children if not isinstance(c, str)][1:]
    if _LIMITS.search(base.strip()):
        kinds = "_^" if tag == "munderover" else "_" if tag == "munder" else "^"
        return base + "".join(kind + _group(p) for kind, p in zip(kinds, parts[1:], strict=True))
    if tag == "mover" and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    if tag == "munder" and marks[0] in _UNDER_ACCENTS:
        return f"\\{_UNDER_ACCENTS[marks[0]]}{{{base}}}"
    commands = ("underset", "overset") if tag == "munderover" else ("underset",) if tag == "munder" else ("overset",)
    for command, part in zip(commands, parts[1:], strict=True):
        base = f"\\{command}{{{part}}}{{{base}}}"
    return base


def _array(element: Element, rows: list[str]) -> str:
    """mtable: an array whose columns are aligned as `columnalign` says, else centred."""
    width = max(
        (
            sum(not isinstance(cell, str) for cell in row.children)
            for row in element.children
            if not isinstance(row, str)
        ),
        default=1,
    )
    aligned = "".join(a[0] for a in element.attrs.get("columnalign", "").split() if a in ("left", "center", "right"))
    columns = (aligned + (aligned[-1] if aligned else "c") * width)[: max(width, 1)]
    return f"\\begin{{array}}{{{columns}}}" + " \\\\ ".join(rows) + "\\end{array}"


def _fenced(element: Element, parts: list[str]) -> str:
    """mfenced: parts between brackets, with separators (a comma unless given)."""
    opening, closing = (
        _SYMBOLS.get(c, c) or "." for c in (element.attrs.get("open", "("), element.attrs.get("close", ")"))
    )
    separators = "".join(element.attrs.get("separators", ",").split())
    inner = ""
    for i, part in enumerate(parts):
        inner += (separators[min(i - 1, len(separators) - 1)] if i and separators else "") + part
    return _join([f"\\left{opening}", inner, f"\\right{closing}"])


def _group(latex: str) -> str:
    """Braces, unless one character or one command needs none."""
    return latex if len(latex) == 1 or re.fullmatch(r"\\[A-Za-z]+", latex) else f"{{{latex}}}"


def _join(parts: list[str]) -> str:
    """Concatenates; a command such as \\alpha keeps a space before a letter that follows."""
    out: list[str] = []
    for part in parts:
        if part and out and part[0].isalpha() and re.search(r"\\[A-Za-z]+$", out[-1]):
            out.append(" ")
        if part:
            out.append(part)
    return "".join(out)
