"""PDF extraction beside pdftotext: real PDFs whose source is known, in one and in two columns.

    bash bench/peers/extract.sh && .bench/extract/bin/python bench/extract_pdf.py        # needs chromium

Documentation pages (gold from their .rst, see extract_docs.py) are printed to PDF by Chromium, with hyphenation and justified lines, in one
column and in two. code: blocks of two lines or more found with their indentation; words: the same, blanks aside; f1: overlap of
4-word shingles with the source's text. pdftotext runs as `pdftotext -enc UTF-8` and with `-layout`. Last line: JSON.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from extract import lines
from extract_docs import TEST, pages
from extract_gold import f1

ROOT = Path(__file__).parents[1]
OUT = ROOT / ".bench" / "pdf"
STYLE = """<style>@page {{ size: {size}; margin: 18mm }} div.sphinxsidebar, div.related, div.footer, a.headerlink, nav, script, .mobile-nav, .menu-wrapper, .clearer {{ display: none !important }}
body, div.body, div.document, div.documentwrapper, div.bodywrapper {{ margin: 0 !important; padding: 0 !important; max-width: none !important; min-width: 0 !important; float: none !important }}
div.body {{ columns: {columns}; column-gap: 10mm; text-align: justify; hyphens: auto; font: 10pt serif }} pre {{ white-space: pre !important; font: 8pt monospace; text-align: left; hyphens: none }}</style>"""


def printed(html: Path, columns: int, pdf: Path) -> bool:
    """The page as PDF; false where the browser made none."""
    if not pdf.is_file():
        text = html.read_text(encoding="utf-8", errors="replace")
        style = STYLE.format(columns=columns, size="A4" if columns == 1 else "A3")
        text = (
            re.sub(r"<link[^>]*stylesheet[^>]*>|<script.*?</script>", "", text, flags=re.S)
            .replace("</head>", style + "</head>")
            .replace("<html", '<html lang="en"', 1)
        )
        source = pdf.with_suffix(".html")
        source.write_text(text, encoding="utf-8")
        command = [
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--print-to-pdf={pdf}",
            source.as_uri(),
        ]
        subprocess.run(command, capture_output=True, timeout=120)
    return pdf.is_file()


def pdftotext(path: Path, *options: str) -> str:
    home = ROOT / ".bench" / "docs"
    program = next(home.rglob("usr/bin/pdftotext"), None) or next((ROOT / ".bench").rglob("usr/bin/pdftotext"))
    library = next((ROOT / ".bench").rglob("libpoppler.so*")).parent
    env = dict(os.environ, LD_LIBRARY_PATH=str(library))
    return subprocess.run(
        [str(program), "-enc", "UTF-8", *options, str(path), "-"], capture_output=True, text=True, env=env
    ).stdout


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from openmimo.data.extract.pdf import extract_pdf

    OUT.mkdir(parents=True, exist_ok=True)
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else 6  # pages of each package
    gold = [p for package in TEST for p in pages((package,), limit)]
    docs = ROOT / ".bench" / "docs"
    sides = {"openmimo": extract_pdf, "pdftotext": pdftotext, "pdftotext -layout": lambda p: pdftotext(p, "-layout")}
    result: dict = {}
    for columns in (1, 2):
        made = []
        for page in gold:
            package, _, relative = page.name.partition("/")
            html = next(docs.glob(f"{package}/**/_sources/{relative}")).parents[relative.count("/") + 1] / (
                re.sub(r"(\.rst)?\.txt$", "", relative) + ".html"
            )
            pdf = OUT / f"{re.sub(r'[^a-z0-9]+', '-', page.name.lower())}-{columns}.pdf"
            if printed(html, columns, pdf):
                made.append((page, pdf))
        for name, side in sides.items():
            code = words = codes = 0
            scores = []
            start = time.perf_counter()
            texts = [side(pdf) for _, pdf in made]
            seconds = time.perf_counter() - start
            for (page, _), text in zip(made, texts, strict=True):
                plain, bare = lines(text), re.sub(r"\s", "", text)
                code += sum(lines(b) in plain for b in page.code)
                words += sum(re.sub(r"\s", "", b) in bare for b in page.code)
                codes += len(page.code)
                scores.append(f1(page.text, text))
            row = {
                "code": round(code / codes, 4),
                "words": round(words / codes, 4),
                "codes": codes,
                "f1": round(sum(scores) / len(scores), 4),
                "files_per_s": round(len(made) / seconds, 2),
            }
            result[f"{columns} columns, {name}"] = row | {"files": len(made)}
            print(f"{columns} columns  {name:18}", row, flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
