"""Gold answers written in another way, which mean the same: what a judge of math answers must accept.

rewrites(r"\\frac{1}{2}")  ->  ["spacing", "decimal", ...] as (kind, text) pairs
"""

import re
from collections.abc import Iterator
from fractions import Fraction

FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
PURE_FRACTION = re.compile(r"(-?)\\[dt]?frac(?:\{(\d+)\}\{(\d+)\}|(\d)(\d))")
DECIMAL = re.compile(r"(-?)(\d*)\.(\d+)")


def rewrites(gold: str) -> Iterator[tuple[str, str]]:
    """(kind, text) of every rewriting that applies; `spacing` always does."""
    yield "spacing", spaced(gold)
    if FRACTION.search(gold):
        yield "dfrac", FRACTION.sub(lambda m: rf"\dfrac{{{m[1]}}}{{{m[2]}}}", gold)
    if match := PURE_FRACTION.fullmatch(gold.strip()):
        sign, top, bottom = match[1], match[2] or match[4], match[3] or match[5]
        yield "slash", f"{sign}{top}/{bottom}"
        yield "doubled", rf"{sign}\frac{{{2 * int(top)}}}{{{2 * int(bottom)}}}"
        if (decimal := terminating(Fraction(int(top), int(bottom)))) is not None:
            yield "decimal", sign + decimal
    if match := DECIMAL.fullmatch(gold.strip()):
        value = Fraction(int((match[2] or "0") + match[3]), 10 ** len(match[3]))
        yield "fraction", rf"{match[1]}\frac{{{value.numerator}}}{{{value.denominator}}}"
    if re.fullmatch(r"-?\d{1,9}", gold.strip()):
        yield "integer as decimal", f"{gold.strip()}.0"
    if gold.count("=") == 1 and not re.search(r"[<>]|\\(?:le|ge|text|cup|approx)|,", gold):
        left, right = gold.split("=")
        yield "sides", f"{right.strip()} = {left.strip()}"
    if (parts := listed(gold)) and len(parts) > 1:
        yield "order", ", ".join(parts[::-1])
    braces = re.fullmatch(r"\\(?:left)?\\?\{(.*?)\\(?:right)?\\?\}", gold.strip())
    if braces and len(parts := split(braces[1])) > 1:
        yield "set order", r"\{" + ", ".join(parts[::-1]) + r"\}"


def spaced(gold: str) -> str:
    """The same LaTeX with blanks where they mean nothing: around operators, brackets and commas between values."""
    if r"\text" in gold or r"\mbox" in gold or "matrix" in gold:
        return f" {gold} "
    text = re.sub(r"(?<=[\w})])\s*([+=])\s*(?=[\w\\({])", r"  \1 ", gold)
    text = re.sub(r"([({\[])(?=[\w\\-])", r"\1 ", text)
    return f"  {text}\\, "


def terminating(value: Fraction) -> str | None:
    """The decimal expansion where it ends within six places."""
    scaled = value * 10**6
    return f"{float(value):.6f}".rstrip("0") if scaled.denominator == 1 and value.denominator != 1 else None


def listed(gold: str) -> list[str]:
    """The values of a list outside all brackets; empty where it is not one."""
    if re.search(r"\\text|\\mbox|\d,\s*\\!\s*\d|\d,\d{3}(?!\d)|\{,\}", gold):
        return []
    return split(gold)


def split(text: str) -> list[str]:
    """The parts between commas at bracket depth 0."""
    parts, depth = [""], 0
    for token in re.findall(r"\\[A-Za-z]+|\\.|.", text):
        depth += token in ("(", "[", "{", r"\{")
        depth -= token in (")", "]", "}", r"\}")
        if token == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]
