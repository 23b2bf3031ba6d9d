"""SFT filters: mixed language, incomplete responses, at most k responses a query [R 3.1].

    python -c "from openmimo.data.clean import incomplete_reason; print(incomplete_reason('<think>and then'))"

A row is a mapping with `messages`, the last of which is the assistant's; `finish_reason` ("stop" or "length"), where it
has one, says whether the response ended by itself. Every filter returns what it keeps and a Counter of what it dropped.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from openmimo.errors import UserError

Row = dict[str, Any]

_CODE_OR_MATH = re.compile(
    r"```.*?(```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\(.*?\\\)|\\\[.*?\\\]|\\[A-Za-z]+|https?://\S+", re.S
)
_SCRIPTS = {  # first word of a letter's Unicode name -> script; Greek letters are mathematics
    "LATIN": "latin", "FULLWIDTH": "latin", "CJK": "cjk", "HIRAGANA": "cjk", "KATAKANA": "cjk", "HALFWIDTH": "cjk", "HANGUL": "hangul",
    "CYRILLIC": "cyrillic", "ARABIC": "arabic", "HEBREW": "hebrew", "DEVANAGARI": "devanagari", "THAI": "thai", "BENGALI": "bengali",
}  # fmt: skip
_ONE_SIGN_A_WORD = frozenset(["cjk", "thai"])


def clean(rows: Iterable[Row], max_responses: int = 8, max_foreign: float = 0.1) -> tuple[list[Row], Counter]:
    """All three filters in turn. Counts `kept` and `dropped, REASON`; they sum to the rows given."""
    counts: Counter = Counter()
    filters: list[Callable[[list[Row]], tuple[list[Row], Counter]]] = [
        lambda rows: drop_mixed_language(rows, max_foreign),
        drop_incomplete,
        lambda rows: cap_responses(rows, max_responses),
    ]
    kept = list(rows)
    for drop in filters:
        kept, more = drop(kept)
        counts.update({reason: count for reason, count in more.items() if reason != "kept"})
    counts["kept"] = len(kept)
    return kept, counts


def drop_mixed_language(rows: Iterable[Row], max_foreign: float = 0.1) -> tuple[list[Row], Counter]:
    """Drops rows whose response has more than `max_foreign` of its words in another script than its main one."""
    return _drop(rows, lambda row: "mixed language" if foreign_share(response_of(row)) > max_foreign else None)


def drop_incomplete(rows: Iterable[Row]) -> tuple[list[Row], Counter]:
    """Drops rows whose response is empty, was cut, or leaves something open (`incomplete_reason`)."""
    return _drop(rows, lambda row: incomplete_reason(response_of(row), row.get("finish_reason")))


def cap_responses(rows: Iterable[Row], k: int = 8) -> tuple[list[Row], Counter]:
    """Keeps the first k different responses of each query; a query is all messages before the response."""
    if k < 1:
        raise UserError(f"cap_responses: k = {k} would drop everything; give 1 or more")
    seen: dict[tuple, set[str]] = {}

    def reason(row: Row) -> str | None:
        query = tuple((m["role"], " ".join(m["content"].split())) for m in row["messages"][:-1])
        responses = seen.setdefault(query, set())
        response = response_of(row).strip()
        if response in responses:
            return "same response again"
        if len(responses) >= k:
            return f"more than {k} responses to a query"
        responses.add(response)
        return None

    return _drop(rows, reason)


def response_of(row: Row) -> str:
    """The last message's content; a UserError where the row has no assistant's message at its end."""
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages or messages[-1].get("role") != "assistant":
        raise UserError(
            f"SFT row {row.get('id', '')!r}: its last message is not the assistant's; give messages that end with the response"
        )
    return messages[-1]["content"]


def incomplete_reason(response: str, finish_reason: str | None = None) -> str | None:
    """Why a response is incomplete; None where it is complete."""
    if not response.strip():
        return "empty response"
    if finish_reason is not None and finish_reason != "stop":
        return f"no end of sequence ({finish_reason})"
    if response.count("<think>") > response.count("</think>"):
        return "unclosed <think>"
    if "</think>" in response and not response.rsplit("</think>", 1)[1].strip():
        return "nothing after </think>"
    if _open_fence(response):
        return "unclosed code fence"
    if _open_box(response):
        return "unbalanced \\boxed"
    return None


def foreign_share(text: str) -> float:
    """The share of words in another script than the text's main one; code, formulas and URLs do not count.

    Latin words inside text of another script count only beyond a third of all words: names and technical terms are
    written so everywhere. A Chinese or Japanese sign counts as half a word.
    """
    words: Counter = Counter()
    script_of_letter: dict[str, str | None] = {}
    for run in re.findall(r"[^\W\d_]+", _CODE_OR_MATH.sub(" ", text)):
        scripts: Counter = Counter()
        for letter in run:
            if letter not in script_of_letter:
                script_of_letter[letter] = _SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0])
            scripts[script_of_letter[letter]] += 1
        for script, letters in scripts.items():
            if script is not None:
                words[script] += letters / 2 if script in _ONE_SIGN_A_WORD else 1
    total = sum(words.values())
    if not total:
        return 0.0
    main = max(words, key=lambda script: (words[script] if script != "latin" else 0.5 * words[script], script))
    latin = 0.0 if main == "latin" else max(0.0, words["latin"] / total - 1 / 3)
    others = sum(count for script, count in words.items() if script not in (main, "latin")) / total
    return latin + others


def _open_fence(text: str) -> bool:
    """A code fence that no fence of its length or longer closes."""
    fence = ""
    for line in text.split("\n"):
        match = re.match(r"\s*(`{3,})(.*)$", line)
        if match and not fence and "`" not in match[2]:
            fence = match[1]
        elif match and fence and len(match[1]) >= len(fence) and not match[2].strip():
            fence = ""
    return bool(fence)


def _open_box(text: str) -> bool:
    """A \\boxed{ whose braces do not close before the end."""
    for match in re.finditer(r"\\boxed\s*\{", text):
        depth = 1
        for brace in re.finditer(r"\\.|[{}]", text[match.end() :], re.S):
            depth += (brace[0] == "{") - (brace[0] == "}")
            if not depth:
                break
        if depth:
            return True
    return False


def _drop(rows: Iterable[Row], reason_of: Callable[[Row], str | None]) -> tuple[list[Row], Counter]:
    """Keeps the rows for which there is no reason to drop; counts both."""
    kept, counts = [], Counter()
    for row in rows:
        reason = reason_of(row)
        if reason is None:
            kept.append(row)
        counts["kept" if reason is None else f"dropped, {reason}"] += 1
    return kept, counts
