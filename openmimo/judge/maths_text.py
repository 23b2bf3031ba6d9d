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


def settled(answer: str | None, gold: str, short_circuit: bool = True) -> str | None:
    """The verdict where text alone decides; None where mathematics must. short_circuit: see `maths.MathJudge`."""
    if answer is None or not answer.strip() or len(answer) > LONGEST:
        return "unparsable"
    one, other = normal(answer), normal(gold)
    if short_circuit and one == other:
        return "right"
    if short_circuit and INTEGER.fullmatch(one) and INTEGER.fullmatch(other):
        return "right" if integer(one) == integer(other) else "wrong"
    return "wrong" if says_more(one, other) else None


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
    text = re.sub(r"\\(?:left|right)(?![A-Za-z])|\\[!,;:> ]|~", " ", bare(text).replace(r"\!", "").replace("{,}", ","))
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    if whole := re.fullmatch(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", text.strip()):
        text = whole[1]
    text = re.sub(r"[ \t]+", " ", text).strip()
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)


def bare(text: str) -> str:
    """The text without blanks, dollar signs and a full stop around it."""
    return text.strip().strip("$").strip().rstrip(".")


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
