r"""AsciiMath -> LaTeX, for pages whose formulas are written in it [R 2.1].

    python -c "from openmimo.data.extract.asciimath import asciimath_to_latex as f; print(f('sum_(i=1)^n i^3=((n(n+1))/2)^2'))"

The grammar is AsciiMath's own: v is a symbol, u a unary and b a binary operator, S a simple expression `v | ( E ) | u S |
b S S`, I = S, S_S, S^S or S_S^S, and E = I E or I / I. Brackets around a fraction's parts, a script or an operand go.
"""

from __future__ import annotations

import re

_SAME = """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi
varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega sum prod int oint cdots vdots ddots ldots partial infty
aleph nabla angle therefore because quad diamond square propto forall exists neg times div ast star cdot circ oplus otimes odot
wedge vee cap cup subset supset subseteq supseteq setminus approx equiv cong sim prec succ perp models vdash bot top to mapsto
leftarrow rightarrow leftrightarrow Leftarrow Rightarrow Leftrightarrow uparrow downarrow lfloor rfloor lceil rceil frown
sin cos tan sinh cosh tanh sec csc cot arcsin arccos arctan coth exp log ln det dim lim gcd max min ker deg inf sup Pr le ge ne
in notin pm mp emptyset hbar ell dots triangle prime bigcup bigcap bigwedge bigvee""".split()
_SYMBOLS = {name: "\\" + name for name in _SAME}
_SYMBOLS |= {
    "**": r"\ast", "***": r"\star", "//": "/", "\\\\": r"\setminus", "xx": r"\times", "-:": r"\div", "@": r"\circ", "o+": r"\oplus",
    "ox": r"\otimes", "o.": r"\odot", "^^": r"\wedge", "^^^": r"\bigwedge", "vv": r"\vee", "vvv": r"\bigvee", "nn": r"\cap",
    "nnn": r"\bigcap", "uu": r"\cup", "uuu": r"\bigcup", "!=": r"\ne", "<=": r"\le", ">=": r"\ge", "lt": "<", "gt": ">", "-<": r"\prec",
    ">-": r"\succ", "!in": r"\notin", "sub": r"\subset", "sup": r"\supset", "sube": r"\subseteq", "supe": r"\supseteq", "-=": r"\equiv",
    "~=": r"\cong", "~~": r"\approx", "~": r"\sim", "prop": r"\propto", "and": r"\text{and}", "or": r"\text{or}", "not": r"\neg", "=>": r"\Rightarrow",
    "if": r"\text{if}", "<=>": r"\Leftrightarrow", "iff": r"\Leftrightarrow", "AA": r"\forall", "EE": r"\exists", "_|_": r"\bot", "TT": r"\top", "|--": r"\vdash",
    "|==": r"\models", "oo": r"\infty", "O/": r"\emptyset", "+-": r"\pm", "-+": r"\mp", "del": r"\partial", "grad": r"\nabla", "...": r"\ldots",
    ":.": r"\therefore", ":'": r"\because", "/_": r"\angle", "\\ ": r"\ ", "frown": r"\frown", "lub": r"\operatorname{lub}",
    "glb": r"\operatorname{glb}", "lcm": r"\operatorname{lcm}", "mod": r"\operatorname{mod}", "CC": r"\mathbb{C}", "NN": r"\mathbb{N}", "QQ": r"\mathbb{Q}", "RR": r"\mathbb{R}",
    "ZZ": r"\mathbb{Z}", "->": r"\to", "|->": r"\mapsto", "larr": r"\leftarrow", "rarr": r"\rightarrow", "uarr": r"\uparrow", "darr": r"\downarrow",
    "harr": r"\leftrightarrow", "lArr": r"\Leftarrow", "rArr": r"\Rightarrow", "hArr": r"\Leftrightarrow", "dx": "dx", "dy": "dy", "dz": "dz", "dt": "dt",
    "f": "f", "g": "g", "'": "'", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "|": "|", ":=": ":=", "==": r"\equiv",
}  # fmt: skip
_UNARY = {
    "sqrt": r"\sqrt", "hat": r"\hat", "bar": r"\overline", "vec": r"\vec", "dot": r"\dot", "ddot": r"\ddot", "tilde": r"\tilde", "ul": r"\underline",
    "ubrace": r"\underbrace", "obrace": r"\overbrace", "bb": r"\mathbf", "bbb": r"\mathbb", "cc": r"\mathcal", "tt": r"\mathtt", "fr": r"\mathfrak",
    "sf": r"\mathsf", "abs": "| |", "norm": r"\| \|", "floor": r"\lfloor \rfloor", "ceil": r"\lceil \rceil", "cancel": r"\cancel", "Abs": "| |",
}  # fmt: skip
_BINARY = {"frac": r"\frac", "root": "root", "stackrel": r"\stackrel", "overset": r"\overset", "underset": r"\underset"}
_TEXT = ("text", "mbox")
_OPEN = {"(": "(", "[": "[", "{": r"\{", "(:": r"\langle ", "{:": ".", "<<": r"\langle ", "langle": r"\langle "}
_CLOSE = {")": ")", "]": "]", "}": r"\}", ":)": r"\rangle ", ":}": ".", ">>": r"\rangle ", "rangle": r"\rangle "}
_NAMES = sorted([*_SYMBOLS, *_UNARY, *_BINARY, *_TEXT, *_OPEN, *_CLOSE, "_", "^", "/"], key=len, reverse=True)
_TOKEN = re.compile(r'\s*("[^"]*"|\d+(?:\.\d+)?|' + "|".join(map(re.escape, _NAMES)) + r"|\S)", re.S)
_MAX_LENGTH = 2_000  # characters: a longer one is no formula
_MAX_DEPTH = 60


def asciimath_to_latex(source: str) -> str:
    """LaTeX of one formula, without delimiters; a source that is far too long or too deep comes back as it is."""
    if len(source) > _MAX_LENGTH:
        return source
    try:
        return _Parser(source).whole()
    except RecursionError:
        return source


class _Parser:
    def __init__(self, source: str):
        self.source, self.at, self.depth = source, 0, 0

    def peek(self) -> str:
        match = _TOKEN.match(self.source, self.at)
        return match[1] if match else ""

    def take(self) -> str:
        match = _TOKEN.match(self.source, self.at)
        if match is None:
            return ""
        self.at = match.end()
        return match[1]

    def whole(self) -> str:
        parts = []
        while self.peek():
            parts.append(self.expression())
            if self.peek() in _CLOSE:
                parts.append(_CLOSE[self.take()].replace(".", ""))
        return _joined(parts)

    def expression(self) -> str:
        """Intermediate expressions and fractions up to a closing bracket or the end."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise RecursionError
        parts = []
        while (token := self.peek()) and token not in _CLOSE:
            if token == "|" and self.bar_closes:
                break
            part = self.intermediate()
            if self.peek() == "/":
                self.take()
                part = f"\\frac{{{_bare(part)}}}{{{_bare(self.intermediate())}}}"
            parts.append(part)
        self.depth -= 1
        return _joined(parts)

    bar_closes = False

    def intermediate(self) -> str:
        base = self.simple()
        for mark in "_^":
            if self.peek() == mark:
                self.take()
                base += f"{mark}{{{_bare(self.simple())}}}"
        return base

    def simple(self) -> str:
        token = self.take()
        if token in _OPEN:
            return self.bracket(token)
        if token in _UNARY:
            operand = _bare(self.simple())
            command = _UNARY[token]
            if " " in command:
                opening, closing = command.split()
                return f"\\left{opening} {operand}\\right{closing}"
            return f"{command}{{{operand}}}"
        if token in _BINARY:
            first, second = _bare(self.simple()), _bare(self.simple())
            return f"\\sqrt[{first}]{{{second}}}" if token == "root" else f"{_BINARY[token]}{{{first}}}{{{second}}}"
        if token in _TEXT:
            match = re.compile(r"\s*[({\[]([^)}\]]*)[)}\]]").match(self.source, self.at)
            if match:
                self.at = match.end()
                return f"\\text{{{match[1]}}}"
        if token.startswith('"') and len(token) > 1:
            return f"\\text{{{token[1:-1]}}}"
        return _SYMBOLS.get(token, token)

    def bracket(self, opening: str) -> str:
        """( E ), or a matrix: ((a, b), (c, d))."""
        start = self.at
        inner = self.expression()
        closing = self.take()
        left, right = _OPEN[opening], _CLOSE.get(closing, ".")
        rows = _matrix_rows(self.source[start : self.at - len(closing)].strip()) if closing else None
        if rows:
            cells = " \\\\ ".join(" & ".join(asciimath_to_latex(cell) for cell in row) for row in rows)
            inner = f"\\begin{{matrix}}{cells}\\end{{matrix}}"
        return f"\\left{left}{inner}\\right{right}"


def _matrix_rows(inner: str) -> list[list[str]] | None:
    """Cells of rows "[a, b], [c, d]" of equal length, at least two cells in all; else None."""
    if not inner or inner[0] not in "([" or inner[-1] not in ")]":
        return None
    rows, depth, cell = [], 0, ""
    for character in inner:
        if character in "([{":
            depth += 1
            if depth == 1:
                if character == "{":
                    return None
                rows.append([])
                cell = ""
                continue
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                return None
            if depth == 0:
                rows[-1].append(cell.strip())
                continue
        elif character == "," and depth == 1:
            rows[-1].append(cell.strip())
            cell = ""
            continue
        if depth == 0:
            if character not in ", \n\t":
                return None
        else:
            cell += character
    is_matrix = len(rows) > 1 and len({len(row) for row in rows}) == 1
    return rows if is_matrix else None


def _bare(latex: str) -> str:
    """Without the one pair of brackets around the whole."""
    match = re.fullmatch(r"\\left(?:\(|\[|\\\{)(.*)\\right(?:\)|\]|\\\})", latex, re.S)
    if match is None:
        return latex
    depth = 0
    for token in re.findall(r"\\left(?![a-z])|\\right(?![a-z])", match[1]):
        depth += 1 if token == "\\left" else -1
        if depth < 0:
            return latex
    return match[1]


def _joined(parts: list[str]) -> str:
    return " ".join(p for p in parts if p)
