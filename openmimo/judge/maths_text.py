r"""What the text of a math answer settles by itself: the same answer, another number, several answers, none.

settled("x = 5", "5")  ->  None: mathematics must decide        settled("3, 4", "4")  ->  "wrong"
"""

from __future__ import annotations

import re

LONGEST = 2000  # characters; an answer that is longer is none
INTEGER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d{1,4000})")
RELATIONS = re.compile(r"=|\\equiv|\\approx|\\sim|\\to\b|\\implies|\\iff|\\(?:Left|Right|left|right)\w*arrow")
SEPARATORS = re.compile(
    r"[,;|\n]|\\\\|\\(?:cup|vee|wedge|lor|land|mid|quad|qquad|newline|pm|mp)(?![A-Za-z])|\b(?:or|and)\b"
)
TEXT = r"\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{([^{}]*)\}"
BLANKS = re.compile(r"\\\\|\\(?:left|right)(?![A-Za-z])|\\[!,;:> ]|~")
CLOCK = re.compile(r"(?<!\d)0\d?:\d|:\d\d:|:.*[ap]\.?m\b")
BASE = re.compile(r"\d_(?:\{(\d+)\}|(\d))$")
UNITS = {  # names of one unit; two answers in different ones are different
    name: number
    for number, names in enumerate(
        "mm millimeter millimeters/cm centimeter centimeters/m meter meters/km kilometer kilometers/in inch inches/"
        "ft foot feet/yd yard yards/mi mile miles/g gram grams/kg kilogram kilograms/lb pound pounds/oz ounce ounces/"
        "s sec second seconds/min minute minutes/h hr hour hours/day days/week weeks/month months/year years/"
        "cent cents/dollar dollars/degree degrees/radian radians".split("/")
    )
    for name in names.split()
}


def settled(answer: str | None, gold: str, short_circuit: bool = True) -> str | None:
    """The verdict where text alone decides; None where mathematics must. short_circuit: see `maths.MathJudge`."""
    if answer is None or not answer.strip() or len(answer) > LONGEST:
        return "unparsable"
    one, other = normal(answer), normal(gold)
    if short_circuit and one == other:
        return "right"
    if short_circuit and INTEGER.fullmatch(one) and INTEGER.fullmatch(other):
        return "right" if integer(one) == integer(other) else "wrong"
    if CLOCK.search(one) or CLOCK.search(other) or re.fullmatch(f"{TEXT}|[A-Za-z]{{4,}}", bare(gold)):
        return "right" if words(one) == words(other) else "wrong"  # a time or a word: mathematics would make products
    return "wrong" if says_more(one, other) or says_else(one, other) else None


def says_else(answer: str, gold: str) -> bool:
    """Whether the two name different units or number bases, of which Math-Verify knows nothing."""
    base, asked = (next((m[1] or m[2] for m in BASE.finditer(text)), None) for text in (answer, gold))
    unit, wanted = (UNITS.get(words(" ".join(re.findall(TEXT, text)))) for text in (answer, gold))
    return base not in (None, asked) or (unit is not None and wanted is not None and unit != wanted)


def words(text: str) -> str:
    """The letters, digits and signs that make a text, in lower case and without brackets, full stops and blanks."""
    return re.sub(r"[\s().$]|\\text|\\mbox|[{}]", "", text).lower()


def says_more(answer: str, gold: str) -> bool:
    """Whether the answer names several values where the gold names one: a guess, or a chain such as `2 = 3 = 5`.

    Sets, tuples and intervals in brackets are left to Math-Verify, which takes them as the single value they are."""
    if len(RELATIONS.findall(answer)) > max(1, len(RELATIONS.findall(gold))):
        return True
    if not SEPARATORS.search(gold) and SEPARATORS.search(outside_brackets(answer)):
        return True
    if RELATIONS.search(gold) or not RELATIONS.search(answer):
        return False
    name = RELATIONS.split(answer)[0]  # `x = 5` names the 5; `7 = 5` and `x^2 = 5` say something else
    name = re.sub(r"_(\{[^{}]*\}|\w)|(?<=\w)\([^()]*\)", "", name)
    return "=" not in answer or not re.search("[A-Za-z]", name) or bool(re.search(r"\d", name))


def normal(text: str) -> str:
    """One spelling for what is plainly the same text. Blanks go, but not between digits: `1 2` is not 12."""
    text = re.sub(r"(?<=\d)(?:,\\!|\\!,|\{,\}|\\!)(?=\d)", "", bare(text)).replace(r"\!", "")
    text = re.sub(r"\\[hv]?phantom\s*(?:\{[^{}]*\}|.)", " ", text)
    text = BLANKS.sub(lambda match: match[0] if match[0] == r"\\" else " ", text)
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\frac\s*(\\[A-Za-z]+|\w)\s*(\\[A-Za-z]+|\w)", r"\\frac{\1}{\2}", text)
    text = re.sub(r"(\\(?:sin|cos|tan|cot|sec|csc|log|ln)(?:\^\{?\d\}?)?)\s+([a-z])(?![a-z])", r"\1(\2)", text)
    text = re.sub(r"^\s*(?:=|\\approx(?![a-z])|\\sim(?![a-z]))", "", bare(text))
    if whole := re.fullmatch(TEXT, text.strip()):
        text = whole[1]
    if re.fullmatch(r"(?:\\\$)?[+-]?\d{1,3}(?:,\d{3})+\.\d+", text.strip()):
        text = text.replace(",", "")
    text = re.sub(r"[ \t]+", " ", text).strip()
    return re.sub(r"(?<![A-Za-z0-9]) (?!(?<=\d, )\d{3}(?!\d))| (?![A-Za-z0-9])", "", text)  # `81, 256` is no number


def bare(text: str) -> str:
    """The text without blanks, dollar signs and a full stop or comma around it."""
    text = text.strip()
    while text and text[-1] in " \t$.,;" and not text.endswith(("\\" + text[-1], "..")):
        text = text[:-1]
    return text.lstrip("$ \t")


def integer(text: str) -> int:
    return int(text.replace(",", ""))


def outside_brackets(text: str) -> str:
    """The text at bracket depth 0. LaTeX's grouping braces count as brackets, so `\\frac{1}{2}` has no inside."""
    depth, kept = 0, []
    for token in re.findall(r"\\[A-Za-z]+|\\.|.", text, re.DOTALL):
        if token in ("(", "[", "{", r"\{"):
            depth += 1
        elif token in (")", "]", "}", r"\}"):
            depth = max(0, depth - 1)
        elif depth == 0:
            kept.append(token)
    return "".join(kept)
