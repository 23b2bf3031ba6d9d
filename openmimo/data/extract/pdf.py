"""PDF (papers, books) -> Markdown: columns in order, ligatures and hyphenation undone, code kept, scripts as ^ and _ [R 2.1].

    python -c "from openmimo.data.extract.pdf import extract_pdf; print(extract_pdf('paper.pdf')[:500])"

PDFium (by pypdfium2, the extra `pdf`) reads the characters with their places and fonts; everything after that is here: pieces of
lines, reading order by cutting the page at its gutters, paragraphs by indentation and gaps, code by fixed-width fonts. Formulas
come as far as their text goes: no layout of fractions or matrices is recovered.
"""

from __future__ import annotations

import re
import statistics
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from openmimo.data.extract.code_blocks import fence
from openmimo.data.extract.pdf_layout import Piece, reading_order
from openmimo.data.extract.pdf_pieces import pieces_of
from openmimo.errors import UserError

MAX_PAGES = 3_000
_PAGE_NUMBER = re.compile(r"(?:page|p\.)?\s*[ivxlc\d]{1,5}(?:\s*(?:/|of)\s*\d+)?|[-–]\s*\d+\s*[-–]", re.I)
_BULLET = re.compile(r"^[•‣◦▪●∙·–]\s*(?=\S)")
_LABEL = re.compile(r"^(\(?\d{1,3}[.)]|\[\d{1,3}\]|[a-z][.)])\s")


@dataclass
class _Line:
    text: str
    piece: Piece


def extract_pdf(source: str | Path | bytes) -> str:
    """Markdown of a PDF, by path or content. One that is missing, broken or locked is a UserError."""
    where = "PDF" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes):
        if not Path(source).is_file():
            raise UserError(f"{where}: no such file; give a PDF")
        source = Path(source).read_bytes()
    pages = [reading_order(pieces) for pieces in pieces_of(source, where, MAX_PAGES)]
    _drop_running_heads(pages)
    words = Counter(w for page in pages for p in page for w in re.findall(r"[^\W\d_]+(?:-[^\W\d_]+)*", p.text.lower()))
    return _to_markdown(pages, words)


def _drop_running_heads(pages: list[list[Piece]]) -> None:
    """Lines at the top or bottom that come on many pages, digits aside, and bare page numbers."""
    seen: Counter = Counter()
    edges = []
    for page in pages:
        tops = sorted({round(p.y) for p in page if p.text.strip()}, reverse=True)
        edge = set(tops[:2] + tops[-2:])
        edges.append(edge)
        seen.update({re.sub(r"\d+|\b[ivxlc]+\b", "#", p.text.strip().lower()) for p in page if round(p.y) in edge})
    often = max(3, len(pages) // 5)
    for page, edge in zip(pages, edges, strict=True):
        page[:] = [
            p
            for p in page
            if round(p.y) not in edge
            or not (
                _PAGE_NUMBER.fullmatch(p.text.strip())
                or seen[re.sub(r"\d+|\b[ivxlc]+\b", "#", p.text.strip().lower())] >= often
            )
        ]


def _to_markdown(pages: list[list[Piece]], words: Counter) -> str:
    body = statistics.median([p.size for page in pages for p in page for _ in range(1 + len(p.text) // 20)] or [10.0])
    blocks: list[str] = []
    paragraph: list[Piece] = []
    code: list[Piece] = []

    def end_code() -> None:
        if code:
            blocks.append(_code_block(code))
            code.clear()

    def end_paragraph() -> None:
        if paragraph:
            text = _joined(paragraph, words)
            size = paragraph[0].size
            is_heading = size > 1.15 * body and len(text) < 150
            blocks.append(("## " if is_heading else "") + text)
            paragraph.clear()

    for page in pages:
        for piece in page:
            if piece.mono:
                end_paragraph()
                if code and (code[-1].y - piece.y > 2.6 * piece.size) and code[-1].page == piece.page:
                    end_code()
                code.append(piece)
                continue
            if code and not piece.text.strip():
                continue
            end_code()
            if paragraph and _begins_paragraph(paragraph, piece):
                end_paragraph()
            paragraph.append(piece)
    end_paragraph()
    end_code()
    return "\n\n".join(b for b in blocks if b.strip())


def _begins_paragraph(paragraph: list[Piece], piece: Piece) -> bool:
    last = paragraph[-1]
    if abs(last.size - piece.size) > 0.08 * last.size or _BULLET.match(piece.text) or _LABEL.match(piece.text):
        return True
    if last.page != piece.page or piece.y > last.y:  # the next column or page: goes on unless a sentence ended
        return bool(re.search(r"[.!?:]$", last.text)) and (piece.text[:1].isupper() or not piece.text[:1].isalpha())
    gap = last.y - piece.y
    if gap > 1.75 * piece.size or gap < 0:
        return True
    left = min(p.x0 for p in paragraph[1:]) if len(paragraph) > 1 else None
    if left is not None and piece.x0 - left > 0.8 * piece.size:
        return True
    right = max(p.x1 for p in paragraph)
    return (
        len(paragraph) > 1
        and last.x1 < right - 0.25 * (right - min(p.x0 for p in paragraph))
        and last.text[-1:] in ".!?:"
    )


def _joined(pieces: list[Piece], words: Counter) -> str:
    """Lines of a paragraph as one text; a word that was broken at the end of a line is whole again."""
    text = ""
    for piece in pieces:
        line = piece.text.strip()
        if re.search(r"[^\W\d_][-\u00ad\u2010]$", text) and re.match(r"[^\W\d_]", line):
            head, tail = re.search(r"([^\W\d_]+)[-\u00ad\u2010]$", text)[1], re.match(r"[^\W\d_]+", line)[0]
            whole, compound = (head + tail).lower(), f"{head}-{tail}".lower()
            keep = line[0].isupper() or (words[compound] > words[whole])
            text = text[:-1] + ("-" if keep else "") + line
        else:
            text += (" " if text else "") + line
    return _BULLET.sub("- ", clean(text))


def clean(text: str) -> str:
    """Ligatures and other presentation forms as plain letters, soft hyphens gone."""
    text = "".join(unicodedata.normalize("NFKC", c) if "\ufb00" <= c <= "\ufb4f" else c for c in text)
    return re.sub(r"[ \t\xa0]+", " ", text.replace("\u00ad", ""))


def _code_block(pieces: list[Piece]) -> str:
    """Fixed-width lines with their indentation; an empty line for each gap of a line."""
    width = statistics.median([p.width for p in pieces])
    left = min(p.x0 for p in pieces)
    pitches = [a.y - b.y for a, b in zip(pieces, pieces[1:], strict=False) if 0.5 * a.size < a.y - b.y < 2 * a.size]
    pitch = statistics.median(pitches) if pitches else 1.2 * pieces[0].size
    lines: list[str] = []
    for last, piece in zip([None, *pieces], pieces, strict=False):
        if last is not None and last.page == piece.page and abs(last.y - piece.y) < 0.4 * piece.size:
            column = round((piece.x0 - left) / width)
            lines[-1] = lines[-1].ljust(column) + piece.text
            continue
        if last is not None and last.page == piece.page:
            lines += [""] * min(max(round((last.y - piece.y) / pitch) - 1, 0), 3)
        lines.append(" " * round((piece.x0 - left) / width) + piece.text)
    return fence("\n".join(line.rstrip() for line in lines).replace("\u2019", "'").replace("\u2018", "'"))
