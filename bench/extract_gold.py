"""Pages with gold text for training and measuring extraction, read from folders under .bench/ (see bench/peers/extract.sh).

    python bench/extract_gold.py        # prints what is there

articles: opendatalab/magic-html (article) and scrapinghub/article-extraction-benchmark; forums: magic-html (forum). Gold of
documentation pages comes from their own sources (see bench/extract_docs.py). A page's fold is a hash of its site, so that no
site is on both sides of a split.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

GOLD = Path(__file__).parents[1] / ".bench" / "gold"
FOLDS = 5


@dataclass
class GoldPage:
    """text: the main text; code, math: blocks and formulas that must be found; fold: 0 .. FOLDS - 1."""

    set: str
    name: str
    url: str
    html: str
    text: str
    fold: int
    code: list[str] = field(default_factory=list)
    math: list[str] = field(default_factory=list)


def fold_of(url: str) -> int:
    host = (urlsplit(url).hostname or url).removeprefix("www.")
    site = ".".join(host.split(".")[-2:])
    return hashlib.sha256(site.encode()).digest()[0] % FOLDS


def magic(kind: str) -> list[GoldPage]:
    """kind: article or forum."""
    folder = GOLD / "magic-html" / "benchmark" / "data" / kind
    rows, pages = json.loads((folder / "base.json").read_text(encoding="utf-8")), []
    for name, row in sorted(rows.items()):
        path = folder / "htmls" / f"{name}.html"
        if path.is_file():
            html = path.read_text(encoding="utf-8", errors="replace")
            pages.append(GoldPage(kind + "s", name[:12], row["url"], html, row["content"], fold_of(row["url"])))
    return pages


def scrapinghub() -> list[GoldPage]:
    folder, pages = GOLD / "article-extraction-benchmark", []
    for name, row in sorted(json.loads((folder / "ground-truth.json").read_text(encoding="utf-8")).items()):
        html = gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()).decode("utf-8", "replace")
        pages.append(GoldPage("news", name[:12], row["url"], html, row["articleBody"], fold_of(row["url"])))
    return pages


def shingles(text: str, n: int = 4) -> Counter:
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))) if words else Counter()


def f1(gold: str, text: str) -> float:
    """Overlap of 4-word shingles, as the project's scorer counts it."""
    a, b = shingles(gold), shingles(text)
    if not a or not b:
        return float(not a and not b)
    hit = (a & b).total()
    return 2 * hit / (a.total() + b.total())


if __name__ == "__main__":
    for pages in (magic("article"), magic("forum"), scrapinghub()):
        print(pages[0].set, len(pages), sorted(Counter(p.fold for p in pages).items()))
