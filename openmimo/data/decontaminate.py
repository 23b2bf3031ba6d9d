"""Drops training rows that share a 16-gram with an evaluation benchmark, and says what the rule cannot see [R 3.1].

    python -c "from openmimo.data.decontaminate import decontaminate as d; print(d(['a row'], ['a benchmark item'])[2])"

A benchmark item of fewer than n words has no n-gram: the rule is blind to it. Such items are also looked for as whole
texts (blanks, case and the last full stop apart), and the report says how large their share is.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from openmimo.errors import UserError

_EXAMPLES = 5
_TEXT_KEYS = ("problem", "question", "prompt", "query", "text")


@dataclass
class DecontaminationReport:
    """What was compared and removed. Shares are of the benchmark's items; `examples`: what matched, a few of them."""

    n: int
    rows: int = 0
    counts: Counter = field(default_factory=Counter)  # kept; removed, REASON
    benchmark_items: int = 0
    short_items: int = 0  # fewer than n words: no n-gram of theirs exists
    examples: list[dict[str, str]] = field(default_factory=list)

    @property
    def uncovered_share(self) -> float:
        """The share of the benchmark that the n-gram rule cannot cover (0 for an empty benchmark)."""
        return self.short_items / self.benchmark_items if self.benchmark_items else 0.0

    def __str__(self) -> str:
        removed = "; ".join(f"{reason}: {count}" for reason, count in sorted(self.counts.items())) or "no rows"
        lines = [
            f"decontamination, {self.n}-grams: {self.rows} rows against {self.benchmark_items} benchmark items: {removed}",
            f"not covered by {self.n}-grams: {self.short_items} items ({self.uncovered_share:.1%}) have fewer than "
            f"{self.n} words; they are matched as whole texts only",
        ]
        lines += [f"  {e['reason']}: {e['row']!r} ~ {e['benchmark']!r}" for e in self.examples]
        return "\n".join(lines)


def decontaminate(
    rows: Iterable[Any], benchmark_rows: Iterable[Any], n: int = 16, text_of: Callable[[Any], str] | None = None
) -> tuple[list[Any], list[Any], DecontaminationReport]:
    """(kept, removed, report); kept and removed are the rows themselves, in order.

    A row goes if it shares n words in a row with a benchmark item, or if it equals an item of fewer than n words.
    text_of: the text of a row that is compared (`row_text` by default), for rows and benchmark alike.
    """
    if n < 1:
        raise UserError(f"decontaminate: n = {n} is no n-gram length; give 1 or more (the report's is 16)")
    text_of = text_of or row_text
    report = DecontaminationReport(n)
    item_of_gram: dict[str, str] = {}
    short_items: dict[str, str] = {}
    for row in benchmark_rows:
        text = text_of(row)
        report.benchmark_items += 1
        grams = word_ngrams(text, n)
        if not grams:
            report.short_items += 1
            short_items.setdefault(squeezed(text), text)
        for gram in grams:
            item_of_gram.setdefault(gram, text)
    short_items.pop("", None)
    kept, removed = [], []
    for row in rows:
        text = text_of(row)
        report.rows += 1
        gram = next((g for g in word_ngrams(text, n) if g in item_of_gram), None)
        item = item_of_gram[gram] if gram else short_items.get(squeezed(text))
        if item is None:
            report.counts["kept"] += 1
            kept.append(row)
            continue
        reason = f"removed, shared {n}-gram" if gram else "removed, equal to a short item"
        report.counts[reason] += 1
        removed.append(row)
        if len(report.examples) < _EXAMPLES:
            report.examples.append({"reason": reason, "row": text[:120], "benchmark": item[:120], "ngram": gram or ""})
    return kept, removed, report


def word_ngrams(text: str, n: int) -> list[str]:
    """All runs of n words (letters and digits, lower case), in order; none where there are fewer words."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())
    return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]


def squeezed(text: str) -> str:
    """The text without blanks, case and final punctuation; operators stay (2+3 is not 2-3)."""
    return "".join(unicodedata.normalize("NFKC", text).lower().split()).rstrip(".?!:;。")


def row_text(row: Any) -> str:
    """The text of a string, a Document, a Problem (its messages) or a mapping with such fields."""
    if isinstance(row, str):
        return row
    get = row.get if isinstance(row, dict) else lambda key: getattr(row, key, None)
    messages = get("messages")
    if messages:
        return "\n".join(m["content"] for m in messages if m["role"] == "user")
    for key in _TEXT_KEYS:
        if isinstance(get(key), str):
            return get(key)
    raise UserError(f"decontaminate: no text in a {type(row).__name__}; give text_of, a function row -> text")
