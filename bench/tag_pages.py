"""The pages of bench/tag.py, labelled by where they are from. Two sides: no package or site is on both.

Nobody rated these pages: "good" means "a page of a manual's explaining part, of 600 characters or more", "thin" means
"an index or contents page, or what a news page holds beside its article". Read from .bench/ (bench/peers/tag.sh).
"""

from __future__ import annotations

import gzip
import json
import random
import re
from dataclasses import dataclass
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser

from openmimo.data.extract import decode_html, extract_html
from openmimo.errors import UserError

BENCH = Path(__file__).parents[1] / ".bench"
DOC = BENCH / "docs" / "usr" / "share"
INDEX = re.compile(r"^(genindex.*|.*modindex|index.*|search|contents|.*[-_]index|chapInd_mj|chap0_mj|toc.*|keyword_index|docs|sitemap|doclist|man_index|applications)$", re.I)  # fmt: skip
LEAST = 600
SIDES = {  # side -> label -> [(glob under the documentation, at most)]
    "train": {
        "math": [("doc/python-sympy-doc/html/**/*.html", 220), ("doc/maxima-doc/html/*.html", 220), ("doc/python-statsmodels-doc/html/*.html", 60)],
        "code": [("doc/postgresql-doc-15/html/*.html", 220), ("doc/octave/octave.html/*.html", 160), ("doc/python-pandas-doc/html/user_guide/*.html", 30), ("doc/python-pandas-doc/html/whatsnew/*.html", 40)],
    },
    "test": {
        "math": [("doc/python-scipy-doc/html/tutorial/**/*.html", 60), ("gap/doc/ref/*_mj.html", 20), ("doc/python-mpmath-doc/html/**/*.html", 20)],
        "code": [("doc/python3.11/html/**/*.html", 60), ("doc/sqlite3/*.html", 20), ("doc/erlang-doc/lib/*/doc/html/*.html", 20)],
    },
}  # fmt: skip
INDEXES = {"train": ["python-sympy-doc", "maxima-doc", "python-statsmodels-doc", "postgresql-doc-15", "octave", "python-pandas-doc", "r-doc-html"],
           "test": ["python-scipy-doc", "python-mpmath-doc", "python3.11", "sqlite3", "erlang-doc"]}  # fmt: skip


@dataclass
class Page:
    """html is None where the text is a part of a page (an article, or what stands around it)."""

    id: str
    side: str
    label: str
    text: str
    html: str | None = None


def pages(seed: int = 0) -> list[Page]:
    """Chosen by the seed, before anything is looked at; 200 good pages are on the test side."""
    if not (BENCH / "docs" / ".ready").is_file() or not (BENCH / "pages").is_dir():
        raise UserError("the pages are not here; run bash bench/peers/tag.sh")
    rng, found = random.Random(seed), []
    for side, labels in SIDES.items():
        for label, groups in labels.items():
            for pattern, most in groups:
                files = [
                    p
                    for p in sorted(DOC.glob(pattern))
                    if not INDEX.match(p.stem) and p.is_file() and "_sources" not in p.parts
                ]
                rng.shuffle(files)
                count = 0
                for path in files:
                    page = _page(path, side, label)
                    if count < most and page and len(page.text) >= LEAST:
                        found.append(page)
                        count += 1
                    if count == most:
                        break
        for package in INDEXES[side]:
            files = [p for p in sorted((DOC / "doc" / package).rglob("*.html")) if INDEX.match(p.stem) and p.is_file()]
            rng.shuffle(files)
            found += filter(None, (_page(path, side, "thin", whole=True) for path in files[:30]))
    found += articles("train", _magic_html()) + articles("test", _scrapinghub())
    return found


def _page(path: Path, side: str, label: str, whole: bool = False) -> Page | None:
    html = decode_html(path.read_bytes()[:2_000_000], str(path))
    text = extract_html(html)
    if whole and len(text) < 50:
        text = full_text(html)
    return Page(str(path.relative_to(DOC)), side, label, text, html) if text.strip() else None


def full_text(html: str) -> str:
    """All text of a page, a line a block."""
    tree = LexborHTMLParser(html)
    for node in tree.css("script, style, noscript, template"):
        node.decompose()
    text = tree.body.text(separator="\n") if tree.body else ""
    return re.sub(r"\n\s*\n+", "\n", re.sub(r"[ \t\xa0]+", " ", text)).strip()


def articles(side: str, pages: list[tuple[str, str, str]]) -> list[Page]:
    """(name, html, article) -> the article as news; what the page holds beside it as thin."""
    found = []
    for name, html, article in pages:
        inside = re.sub(r"\s+", "", article)
        rest = "\n".join(line for line in full_text(html).split("\n") if re.sub(r"\s+", "", line) not in inside)
        if len(article) >= LEAST:
            found.append(Page(f"{name} article", side, "news", article))
        if len(rest) >= LEAST:
            found.append(Page(f"{name} around it", side, "thin", rest[:20_000]))
    return found


def _magic_html() -> list[tuple[str, str, str]]:
    folder = BENCH / "pages" / "magic-html" / "benchmark" / "data" / "article"
    gold = json.loads((folder / "base.json").read_text(encoding="utf-8"))
    return [(name, decode_html((folder / "htmls" / f"{name}.html").read_bytes(), name), row["content"])
            for name, row in sorted(gold.items()) if (folder / "htmls" / f"{name}.html").is_file()]  # fmt: skip


def _scrapinghub() -> list[tuple[str, str, str]]:
    folder = BENCH / "pages" / "article-extraction-benchmark"
    gold = json.loads((folder / "ground-truth.json").read_text(encoding="utf-8"))
    return [(name, decode_html(gzip.decompress((folder / "html" / f"{name}.html.gz").read_bytes()), name), row["articleBody"])
            for name, row in sorted(gold.items())]  # fmt: skip
