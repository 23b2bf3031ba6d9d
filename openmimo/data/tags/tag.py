"""Tags a document: its domain and numbers of its quality; the mixture is drawn from them [R 2.1].

    python -c "from openmimo.data.tags.tag import tag; from openmimo.data.document import Document as D; print(tag(D('1', '', '', open('README.md').read(), '')))"

A tagger is any function Document -> dict with the keys of TAG_KEYS. This one is rules over the text alone; labels from
a model or a file, and a student trained on them, are taggers of the same shape. Rules never drop a document (heuristic
filters throw away good mathematics and code): they describe, and the mixture decides.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from openmimo.data.document import Document

DOMAINS = ("math", "code", "reference", "prose", "news", "ads", "jobs", "thin")
TAG_KEYS = ("domain", "code_share", "math_share", "reasoning_depth", "words", "chars")
THIN_WORDS = 50  # fewer words than this, without code or formulas, are a thin page

Tagger = Callable[[Document], dict[str, Any]]

_FENCE = re.compile(r"^(`{3,})[^\n`]*\n.*?^\1`*[ \t]*$", re.M | re.S)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
_DELIMITER = re.compile(r"\$\$|\$|\\[\[\]()]|\\(?:begin|end)\{(?:equation|align|gather|multline|eqnarray)\*?\}")
_CLOSER = {"$$": "$$", "$": "$", r"\[": r"\]", r"\(": r"\)"}
_LONGEST_FORMULA = 4_000
_CODE_LINE = re.compile(
    r"^\s*(def |class |import |from \w[\w.]* import|return\b|if .*:$|elif .*:$|else:$|for .*:$|while .*:$|try:$|except\b.*:$|with .*:$|raise |"
    r"assert |yield |@\w|#include|#define|using |namespace |public |private |static |void |int |fn |let |const |var |func |function |package |"
    r"\}|\{|//|/\*|>>> |\.\.\. |\$ \w)|[;{}]\s*$|^\s*[\w.\[\]'\"]+\s*[-+*/|]?=\s*\S|^\s*[\w.]+\(.*\)\s*:?$|[\w\])]\($|^\s*[)\]]+,?$"
)
_REASONING = re.compile(
    r"\b(therefore|thus|hence|because|since|so that|it follows|follows from|implies|imply|suppose|assume|let us|consider|if and only if|"
    r"we (have|get|obtain|can|need|know|want|show|see|conclude)|by (induction|contradiction|definition|symmetry)|proof|prove|"
    r"in other words|that is|note that|recall|observe|conversely|otherwise|on the other hand|first(ly)?|second(ly)?|finally|step \d+|"
    r"the reason|in order to|which means|this means|as a result|consequently|however|wait|case \d)\b|因为|所以|因此|假设|证明|由于",
    re.I,
)
_LEXICONS = {
    "ads": re.compile(r"\b(add to cart|buy now|free shipping|order now|discount|coupon|best price|special offer|limited time|in stock|checkout|sale|% off|\$\d+(\.\d\d)?)", re.I),
    "jobs": re.compile(r"\b(apply now|job description|salary|full[- ]time|part[- ]time|we are hiring|vacanc(y|ies)|qualifications|years of experience|send your (cv|resume)|employer)\b", re.I),
    "news": re.compile(r"\b(reuters|associated press|\bAP\b|said on (mon|tues|wednes|thurs|fri|satur|sun)day|told reporters|spokes(man|woman|person)|breaking news|according to (police|officials)|press release|yesterday|the minister|prime minister)\b", re.I),
    "reference": re.compile(r"\b(returns?|parameters?|arguments?|raises?|deprecated|default(s)?|methods?|functions?|class|module|attribute|syntax|see also|defined here|optional|instance)\b", re.I),
}  # fmt: skip
_PER_100_WORDS = {"jobs": 1.5, "ads": 1.5, "news": 1.0, "reference": 3.0}  # in this order: hits that make the domain


def tag(document: Document) -> dict[str, Any]:
    """domain (of DOMAINS), code_share and math_share of the characters, reasoning_depth 0-5, words, chars.

    words are those outside code. A document whose meta names a programming `language` is code throughout.
    """
    text = document.text
    prose, code_chars = ("", len("".join(text.split()))) if document.meta.get("language") else _without_code(text)
    formulas = formula_chars(prose)
    chars = max(1, len(text) - text.count(" ") - text.count("\n"))
    words = re.findall(r"[^\W\d_]+|[\u3400-\u9fff]", prose)
    tags = {
        "code_share": round(min(1.0, code_chars / chars), 4),
        "math_share": round(min(1.0, formulas / chars), 4),
        "reasoning_depth": reasoning_depth(prose, len(words)),
        "words": len(words),
        "chars": len(text),
    }
    return {"domain": _domain(tags, prose), **tags}


def tag_documents(documents: Iterable[Document], tagger: Tagger = tag) -> tuple[list[Document], Counter]:
    """All documents with meta `tags`, none dropped; counts documents of each domain."""
    tagged = [document.with_meta(tags=tagger(document)) for document in documents]
    return tagged, Counter(document.meta["tags"]["domain"] for document in tagged)


def reasoning_depth(text: str, words: int) -> float:
    """0-5: how densely the text argues: words that link steps, five in 100 words being full depth. Our heuristic.

    A text of fewer than 200 words is scored as if it had 200: a short one cannot argue at length.
    """
    return round(min(5.0, 100 * sum(1 for _ in _REASONING.finditer(text)) / max(words, 200)), 2)


def formula_chars(text: str) -> int:
    """Characters, blanks apart, inside $..$ (on one line), $$..$$, \\(..\\), \\[..\\] and equation environments."""
    total, opened, closer = 0, -1, ""
    for match in _DELIMITER.finditer(text):
        mark = match[0]
        inside = text[opened : match.start()] if opened >= 0 else ""
        if opened >= 0 and mark == closer and len(inside) <= _LONGEST_FORMULA and (mark != "$" or _is_inline(inside)):
            total += len("".join(inside.split()))
            opened = -1
        elif opened < 0 or len(inside) > _LONGEST_FORMULA or closer == "$":
            closer = mark.replace("begin", "end") if mark.startswith("\\begin") else _CLOSER.get(mark, "")
            opened = match.end() if closer else -1
    return total


def _is_inline(inside: str) -> bool:
    """What stands between two $ is a formula, not two prices."""
    return bool(inside) and "\n" not in inside and not inside[0].isspace() and not inside[-1].isspace()


def _without_code(text: str) -> tuple[str, int]:
    """The text without its code, and how many characters (blanks apart) that code has."""
    code = 0

    def cut(match: re.Match) -> str:
        nonlocal code
        code += len("".join(match[0].split()))
        return " "

    prose = _INLINE_CODE.sub(cut, _FENCE.sub(cut, text))
    lines = prose.split("\n")
    is_code = [bool(line.strip()) and bool(_CODE_LINE.search(line)) for line in lines]
    written = sum(bool(line.strip()) for line in lines)
    if written >= 5 and sum(is_code) > 0.35 * written:  # a source file, or code without fences
        code += sum(len("".join(line.split())) for line, yes in zip(lines, is_code, strict=True) if yes)
        prose = "\n".join(line for line, yes in zip(lines, is_code, strict=True) if not yes)
    return prose, code


def _domain(tags: dict[str, Any], prose: str) -> str:
    if tags["math_share"] >= 0.05 and tags["math_share"] >= tags["code_share"]:
        return "math"
    if tags["code_share"] >= 0.2:
        return "code"
    if tags["words"] < THIN_WORDS:
        return "thin"
    for domain, least in _PER_100_WORDS.items():
        hits = sum(1 for _ in _LEXICONS[domain].finditer(prose))
        if hits >= 3 and 100 * hits >= least * tags["words"]:
            return domain
    return "prose"
