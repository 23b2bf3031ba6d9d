"""Extraction beside its peers, in one run: code kept verbatim, formulas kept, main text found (F1), pages a second.

    bash bench/peers/extract.sh && .bench/extract/bin/python bench/extract.py [--sets pages docs rd articles news forums] [--peers ...]

pages: the gold pages of ../shared/data/pages (code, Q&A, math); docs: Sphinx pages of Debian packages, gold from their .rst;
rd: R's manual, gold from its .Rd (bench/extract_rd.py);
articles, news, forums: public gold pages, each extracted by the model of the fold that it was not in (bench/train_blocks.py
--folds). The block classifier saw none of `pages` and none of the packages of `docs`. A page that a peer cannot do counts 0.
`code` and `math` are shares of all gold blocks and formulas; `f1` the mean over pages of the overlap of 4-word shingles; `f1_gold` the
same without the pages whose gold text is empty. Intervals: 95 %, bootstrap over pages. Last line: JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from extract_gold import FOLDS, GoldPage, f1, magic, scrapinghub, shingles

ROOT = Path(__file__).parents[1]
PAGES = ROOT.parent / "shared" / "data" / "pages"
sys.path.insert(0, str(ROOT))

from openmimo.data.extract import (  # noqa: E402
    block_model,
    extract_html,  # noqa: E402
    main_content,
)


def squeeze(text: str) -> str:
    """LaTeX without blanks and layout commands, as the project's scorer compares it."""
    text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    text = re.sub(r"\\(displaystyle|textstyle|left|right|limits|,|;|!|quad|qquad)(?![a-zA-Z])", "", text)
    return re.sub(r"[^0-9A-Za-z\\^_+\-*/=<>]", "", text)


def lines(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines())


def shared_pages() -> list[GoldPage]:
    out = []
    for path in sorted((PAGES / "html").glob("*.html")):
        gold = json.loads((PAGES / "gold" / f"{path.stem}.json").read_text(encoding="utf-8"))
        html = path.read_text(encoding="utf-8", errors="replace")
        out.append(GoldPage("pages", path.stem, gold["url"], html, gold["text"], -1, gold["code"], gold["math"]))
    return out


def load(name: str) -> list[GoldPage]:
    if name == "docs":
        from extract_docs import TEST
        from extract_docs import pages as docs

        return docs(TEST, 60)
    if name == "rd":
        from extract_rd import r_pages

        return r_pages(60)
    return {
        "pages": shared_pages,
        "news": scrapinghub,
        "articles": lambda: magic("article"),
        "forums": lambda: magic("forum"),
    }[name]()


def ours(page: GoldPage) -> str:
    return extract_html(page.html, page.url or None)


def trafilatura(page: GoldPage) -> str:
    import trafilatura as peer

    return (
        peer.extract(
            page.html,
            url=page.url or None,
            output_format="txt",
            include_comments=page.set == "forums",
            include_formatting=False,
        )
        or ""
    )


def trafilatura_markdown(page: GoldPage) -> str:
    import trafilatura as peer

    return (
        peer.extract(page.html, url=page.url or None, output_format="markdown", include_comments=page.set == "forums")
        or ""
    )


def resiliparse(page: GoldPage) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return extract_plain_text(
        page.html, main_content=True, preserve_formatting=True, comments=page.set in ("forums", "pages")
    )


_magic: list = []


def magic_html(page: GoldPage) -> str:
    import magic_html as peer
    from resiliparse.extract.html2text import extract_plain_text

    if not _magic:
        _magic.append(peer.GeneralExtractor())
    kind = "forum" if page.set == "forums" else "article"
    found = _magic[0].extract(page.html, base_url=page.url or "http://localhost/", html_type=kind)
    return extract_plain_text(found.get("html") or "", main_content=False, preserve_formatting=True)


SIDES: dict[str, Callable[[GoldPage], str]] = {
    "openmimo": ours, "trafilatura": trafilatura, "trafilatura-md": trafilatura_markdown, "resiliparse": resiliparse, "magic-html": magic_html,
}  # fmt: skip


def run_side(name: str, pages: list[GoldPage], repeats: int) -> tuple[list[str], float]:
    """Texts and the seconds of the best of `repeats` passes; ours on a fold's pages with that fold's model."""
    side, seconds, texts = SIDES[name], [], {}
    groups = {fold: [p for p in pages if p.fold == fold] for fold in sorted({p.fold for p in pages})}
    side(pages[0])
    gc.collect()
    for _ in range(repeats):
        spent = 0.0
        for fold, group in groups.items():
            if name == "openmimo":
                trained = ROOT / ".bench" / f"block_model.{fold}.json"
                held_out = pages[0].set not in ("pages", "docs", "rd") and 0 <= fold < FOLDS
                model = block_model.read_model(
                    trained if held_out else ROOT / "openmimo" / "data" / "extract" / "block_model.json"
                )
                main_content.model = lambda m=model: m
            for page in group:
                start = time.perf_counter()
                try:
                    text = side(page)
                except Exception as error:  # a peer's failure is its result
                    print(f"{name}: {page.name}: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
                    text = ""
                spent += time.perf_counter() - start
                texts[id(page)] = text
        seconds.append(spent)
    return [texts[id(p)] for p in pages], min(seconds)


def score(pages: list[GoldPage], texts: list[str]) -> dict:
    code = math = 0
    scores, with_gold = [], []
    for page, text in zip(pages, texts, strict=True):
        flat, plain = squeeze(text), lines(text)
        code += sum(lines(block) in plain for block in page.code)
        math += sum(squeeze(formula) in flat for formula in page.math)
        scores.append(f1(page.text, text))
        if shingles(page.text):
            with_gold.append(scores[-1])
    codes, maths = sum(len(p.code) for p in pages), sum(len(p.math) for p in pages)
    rng = random.Random(0)
    means = sorted(sum(rng.choices(with_gold, k=len(with_gold))) / len(with_gold) for _ in range(1000))
    return {
        "code": round(code / codes, 4) if codes else None, "codes": codes, "math": round(math / maths, 4) if maths else None, "maths": maths,
        "f1": round(sum(scores) / len(scores), 4), "f1_gold": round(sum(with_gold) / len(with_gold), 4),
        "interval": [round(means[25], 3), round(means[974], 3)],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", nargs="+", default=["pages", "docs", "rd", "articles", "news", "forums"])
    parser.add_argument("--peers", nargs="+", default=list(SIDES))
    parser.add_argument("--worst", type=int, default=0, help="print our N worst pages of each set")
    args = parser.parse_args()
    result: dict = {}
    for name in args.sets:
        pages = load(name)
        result[name] = {"pages": len(pages)}
        print(f"{name}: {len(pages)} pages", flush=True)
        for side in args.peers:
            texts, seconds = run_side(side, pages, 3 if name == "pages" and side in ("openmimo", "resiliparse") else 1)
            row = score(pages, texts) | {"pages_per_s": round(len(pages) / seconds, 1)}
            result[name][side] = row
            print(f"  {side:15}" + "  ".join(f"{k} {v}" for k, v in row.items() if v is not None), flush=True)
            if side == "openmimo" and args.worst:
                ranked = sorted(
                    zip((f1(p.text, t) for p, t in zip(pages, texts, strict=True)), pages, strict=True),
                    key=lambda r: r[0],
                )
                for value, page in ranked[: args.worst]:
                    print(f"    {value:.3f} {page.name} {page.url[:70]}")
        if "resiliparse" in result[name] and "openmimo" in result[name]:
            rates = result[name]["openmimo"]["pages_per_s"], result[name]["resiliparse"]["pages_per_s"]
            result[name]["ratio_resiliparse"] = round(rates[0] / rates[1], 3)
    both = [(n, result[n]) for n in ("articles", "news") if n in result]
    if len(both) == 2:
        result["articles_and_news_f1"] = {s: round(sum(r[s]["f1"] * r["pages"] for _, r in both) / sum(r["pages"] for _, r in both), 4) for s in args.peers}  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
