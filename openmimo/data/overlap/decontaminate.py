"""Drops training rows that overlap with evaluation benchmarks, and says what the rules cannot see [R 3.1].

    openmimo data decontaminate train.jsonl --against math500=test.jsonl --out clean.jsonl

The report's rule is a shared 16-gram. An item of fewer words has none, so two rules go with it: the same words
throughout, and most word 3-grams with the same numbers (openmimo/data/overlap/benchmarks.py says exactly when). What no rule can
find is counted for each benchmark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openmimo.data.overlap.benchmarks import Coverage, Hit, Index
from openmimo.data.overlap.words import batches
from openmimo.errors import UserError
from openmimo.rows import read_jsonl

_EXAMPLES = 5
_TEXT_KEYS = ("problem", "question", "prompt", "query", "text")


@dataclass
class DecontaminationReport:
    """What was compared and removed. counts: kept; removed, RULE. hits: (benchmark, rule) -> rows. examples: a few."""

    n: int
    coverage: dict[str, Coverage]
    rows: int = 0
    counts: Counter = field(default_factory=Counter)
    hits: Counter = field(default_factory=Counter)
    items_hit: dict[str, set[int]] = field(default_factory=dict)
    examples: list[dict[str, str]] = field(default_factory=list)

    @property
    def benchmark_items(self) -> int:
        return sum(c.items for c in self.coverage.values())

    @property
    def short_items(self) -> int:
        """Items of fewer than n words."""
        return sum(c.short for c in self.coverage.values())

    @property
    def uncovered_share(self) -> float:
        """The share of all items that the n-gram rule cannot find (0 without items)."""
        return sum(c.short + c.template for c in self.coverage.values()) / max(1, self.benchmark_items)

    def add(self, text: str, hit: Hit | None, item: str = "") -> None:
        """Counts one row."""
        self.rows += 1
        if hit is None:
            self.counts["kept"] += 1
            return
        self.counts[f"removed, {_SAID[hit.rule].format(n=self.n)}"] += 1
        self.hits[hit.benchmark, hit.rule] += 1
        self.items_hit.setdefault(hit.benchmark, set()).add(hit.item)
        if len(self.examples) < _EXAMPLES:
            self.examples.append({"rule": hit.rule, "row": text[:120], "benchmark": item[:120], "ngram": hit.shared})

    def to_dict(self) -> dict[str, Any]:
        """JSON data: by benchmark, what was hit and what is not covered."""
        return {"rows": self.rows, "n": self.n, "counts": dict(self.counts), "benchmarks": {
            name: {
                "items": c.items, "items_hit": len(self.items_hit.get(name, ())),
                "rows_hit": {rule: self.hits[name, rule] for rule in _SAID},
                "no_ngram_share": round(c.uncovered, 4), "short": c.short, "template": c.template,
                "unseen_share": round(c.unseen, 4), "whole_only": c.whole_only, "empty": c.empty,
                "template_phrases": dict(c.phrases.most_common(20)),
            } for name, c in self.coverage.items()
        }}  # fmt: skip

    def __str__(self) -> str:
        removed = "; ".join(f"{reason}: {count}" for reason, count in sorted(self.counts.items())) or "no rows"
        lines = [
            f"decontamination, {self.n}-grams: {self.rows} rows against {self.benchmark_items} benchmark items: {removed}"
        ]
        for name, c in self.coverage.items():
            hits = ", ".join(f"{rule} {self.hits[name, rule]}" for rule in _SAID if self.hits[name, rule]) or "none"
            lines.append(
                f"  {name}: rows hit: {hits} ({len(self.items_hit.get(name, ()))} of {c.items} items); no {self.n}-gram covers "
                f"{c.uncovered:.1%} ({c.short} items have fewer than {self.n} words, {c.template} are template phrases "
                f"alone); only a row that is nothing else shows {c.unseen:.1%} ({c.whole_only} tiny, {c.empty} empty)"
            )
        lines += [f"  {e['rule']}: {e['row']!r} ~ {e['benchmark']!r}" for e in self.examples]
        return "\n".join(lines)


_SAID = {"n-gram": "shared {n}-gram", "whole": "same words as an item", "similar": "item inside or nearly"}


def decontaminate(
    rows: Iterable[Any],
    benchmarks: Iterable[Any] | Mapping[str, Iterable[Any]] | Index,
    n: int = 16,
    text_of: Callable[[Any], str] | None = None,
    **options: Any,
) -> tuple[list[Any], list[Any], DecontaminationReport]:
    """(kept, removed, report); kept and removed are the rows themselves, in order.

    benchmarks: rows, name -> rows of each, or an Index (built once for many calls; n and options are then its own).
    text_of: the text of a row that is compared (`row_text` by default), for rows and benchmarks alike. options:
    similarity, template, phrases, as of `overlap.Index`.
    """
    text_of = text_of or row_text
    index = benchmarks
    if not isinstance(index, Index):
        named = benchmarks if isinstance(benchmarks, Mapping) else {"benchmark": benchmarks}
        index = Index({name: [text_of(row) for row in some] for name, some in named.items()}, n, **options)
    report = DecontaminationReport(index.n, index.coverage)
    rows = list(rows)
    texts = [text_of(row) for row in rows]
    kept, removed = [], []
    for row, text, hit in zip(rows, texts, index.find(texts), strict=True):
        report.add(text, hit, index.texts[hit.benchmark][hit.item] if hit else "")
        (removed if hit else kept).append(row)
    return kept, removed, report


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


def decontaminate_file(
    path: Path, against: list[str], out: Path, n: int, similarity: float, field_name: str | None, console
) -> DecontaminationReport:
    """A JSONL file's rows that no benchmark holds -> out, the others -> out + `.removed`, the report -> out + `.json`.

    against: NAME=FILE or FILE, JSONL (or a JSON list) of the benchmark's rows. Reads the file in batches."""
    import json

    from openmimo.progress import reading
    from openmimo.runs import write_atomic

    text_of = row_text if field_name is None else lambda row: _field(row, field_name)
    items = {name: [row_text(row) for row in rows] for name, rows in named_benchmarks(against).items()}
    index = Index(items, n, similarity)
    report = DecontaminationReport(n, index.coverage)
    parts = [Path(f"{out}.part"), Path(f"{out}.removed.part")]
    with reading(path, console) as lines, parts[0].open("w") as kept, parts[1].open("w") as removed:
        rows: dict[int, Any] = {}

        def texts():
            for where, row in lines:
                try:
                    rows[len(rows)] = row
                    yield text_of(row)
                except UserError as error:
                    raise UserError(f"{where}: {error}") from None

        for batch in batches(texts()):
            for text, row, hit in zip(batch, rows.values(), index.find(batch), strict=True):
                report.add(text, hit, index.texts[hit.benchmark][hit.item] if hit else "")
                more = {"contaminated": {"benchmark": hit.benchmark, "item": hit.item, "rule": hit.rule}} if hit else {}
                (removed if hit else kept).write(json.dumps(row | more, ensure_ascii=False) + "\n")
            rows.clear()
    parts[0].replace(out)
    parts[1].replace(f"{out}.removed")
    write_atomic(Path(f"{out}.json"), json.dumps(report.to_dict(), indent=1) + "\n")
    return report


def named_benchmarks(against: list[str]) -> dict[str, list[Any]]:
    """NAME=FILE or FILE, several -> name -> rows; the name is the file's where none is given."""
    found: dict[str, list[Any]] = {}
    for argument in against:
        name, _, file = argument.rpartition("=")
        name = name or Path(file).stem
        if name in found:
            raise UserError(f"--against {argument}: the name {name!r} comes twice; give NAME=FILE")
        found[name] = _benchmark(Path(file))
    return found


def _field(row: Any, name: str) -> str:
    if not isinstance(row, dict) or not isinstance(row.get(name), str):
        raise UserError(f"field {name!r} is missing or not text; name another by --field")
    return row[name]


def _benchmark(path: Path) -> list[Any]:
    """Rows of a JSONL file, or of a JSON file that is one list."""
    import json

    if path.is_file() and path.suffix == ".json":
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: not JSON ({error}); give a list of rows, or JSONL") from None
        return rows if isinstance(rows, list) else [rows]
    return [row for _, row in read_jsonl(path)]
