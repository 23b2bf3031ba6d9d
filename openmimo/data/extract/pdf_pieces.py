"""Pieces of lines on each page of a PDF, from PDFium's characters [R 2.1].

python -c "from openmimo.data.extract.pdf_pieces import *; print(len(list(pieces_of(open('a.pdf', 'rb').read(), 'a.pdf', 10))))"
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from dataclasses import dataclass

from openmimo.data.extract.pdf_layout import Piece
from openmimo.errors import UserError

_MONO = re.compile(r"mono|courier|consol|typewriter|menlo|fixed|code|inconsol|nimbusmon|[a-z0-9]tt(?:\d|-|_|$)", re.I)
_MAX_CHARACTERS = 60_000  # of a page


def pieces_of(data: bytes, where: str, max_pages: int) -> Iterator[list[Piece]]:
    """For each page its pieces, in the order of the file. A document that does not open is a UserError."""
    try:
        import pypdfium2
    except ImportError:
        raise UserError("PDF needs pypdfium2; pip install 'openmimo[pdf]'") from None
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        raise UserError(f"{where}: no PDF that opens ({error}); repair or unlock it (qpdf --decrypt)") from None
    try:
        for number in range(min(len(document), max_pages)):
            try:
                page = document[number]
            except pypdfium2.PdfiumError:  # a broken page: the others may be whole
                continue
            text = page.get_textpage()
            yield _pieces(text.raw, number)
            text.close()
            page.close()
    finally:
        document.close()


@dataclass(frozen=True)
class _Glyph:
    character: str
    x0: float
    x1: float
    y: float
    size: float
    font: bytes


def _glyphs(text) -> list[_Glyph]:
    """The characters that the page's content draws, without those that PDFium adds."""
    import pypdfium2.raw as pdfium

    name, flags, x, y, box = (
        ctypes.create_string_buffer(128),
        ctypes.c_int(),
        ctypes.c_double(),
        ctypes.c_double(),
        pdfium.FS_RECTF(),
    )
    out = []
    for i in range(min(pdfium.FPDFText_CountChars(text), _MAX_CHARACTERS)):
        code = pdfium.FPDFText_GetUnicode(text, i)
        if (
            code in (0, 10, 13)
            or 0xD800 <= code < 0xE000
            or code > 0x10FFFF
            or pdfium.FPDFText_IsGenerated(text, i) == 1
        ):
            continue
        pdfium.FPDFText_GetCharOrigin(text, i, x, y)
        pdfium.FPDFText_GetLooseCharBox(text, i, box)
        pdfium.FPDFText_GetFontInfo(text, i, name, 128, flags)
        size, height = pdfium.FPDFText_GetFontSize(text, i), abs(box.top - box.bottom)
        size = min(size if size > 2 else height, height) if height else size  # a size of 1 is scaled by a matrix
        character = "-" if code in (2, 0xFFFE) else chr(code)  # PDFium's marks of a hyphen at the end of a line
        out.append(_Glyph(character, box.left, box.right, y.value, size or 10.0, name.value))
    return out


def _fixed_fonts(glyphs: list[_Glyph]) -> set[bytes]:
    """Fonts whose letters are all as wide as each other, or whose name says so."""
    widths: dict[bytes, dict[str, float]] = {}
    for glyph in glyphs:
        if glyph.character.isalpha() and glyph.character.isascii():
            widths.setdefault(glyph.font, {})[glyph.character] = (glyph.x1 - glyph.x0) / glyph.size
    fixed = set()
    for font, by_letter in widths.items():
        found = by_letter.values()
        if _MONO.search(font.decode("utf-8", "replace")) or (
            len(found) >= 5 and max(found) - min(found) < 0.04 * max(found)
        ):
            fixed.add(font)
    return fixed


def _pieces(text, page: int) -> list[Piece]:
    """Runs of characters: a new one where the baseline changes or a wide gap opens."""
    glyphs = _glyphs(text)
    fixed = _fixed_fonts(glyphs)
    runs = _Runs(page)
    for glyph in glyphs:
        runs.add(glyph, glyph.font in fixed)
    runs.end()
    return runs.pieces


class _Runs:
    """The run that is being collected: its baseline, size, kind of font, open sub- or superscript."""

    def __init__(self, page: int):
        self.page, self.pieces = page, []
        self.run: list[tuple[str, float, float]] = []
        self.base = self.size = 0.0
        self.mono, self.script = False, ""

    def add(self, glyph: _Glyph, mono: bool) -> None:
        blank = not glyph.character.strip()
        if self.run:
            last = self.run[-1][2]
            shift, gap, size = glyph.y - self.base, glyph.x0 - last, self.size
            is_script = (
                glyph.size < 0.82 * size
                and 0.08 * size < abs(shift) < 0.75 * size
                and -0.2 * size < gap < 0.5 * size
                and not self.mono
            )
            changes = mono != self.mono and not blank and gap > 0.9 * size
            wide = (12.0 if self.mono else 1.0) * size
            if not is_script and (abs(shift) > 0.3 * max(size, glyph.size) or not -1.5 * size < gap < wide or changes):
                self.end()
            else:
                self._continue(glyph, gap, ("^" if shift > 0 else "_") if is_script else "")
                self.fixed_width += (glyph.x1 - glyph.x0) * (mono and not blank)
                self.all_width += (glyph.x1 - glyph.x0) * (not blank)
        if not self.run:
            if blank:
                return
            self.base, self.size, self.mono, self.script = glyph.y, glyph.size, mono, ""
            self.all_width = glyph.x1 - glyph.x0
            self.fixed_width = self.all_width * mono
        self.run.append((glyph.character, glyph.x0, glyph.x1))

    def _continue(self, glyph: _Glyph, gap: float, script: str) -> None:
        last = self.run[-1][2]
        if script != self.script:
            if self.script:
                self.run.append(("}", last, last))
            if script:
                self.run.append((script + "{", last, last))
            self.script = script
            if not script:
                self.size = max(self.size, glyph.size)
        if self.mono and gap > 0.4 * glyph.size:
            width = max(self.run[-1][2] - self.run[-1][1], 0.45 * glyph.size)
            self.run.append((" " * max(1, round(gap / width)), last, glyph.x0))
        elif (
            not self.mono
            and not script
            and gap > 0.12 * self.size
            and self.run[-1][0] != " "
            and glyph.character != " "
        ):
            self.run.append((" ", last, glyph.x0))

    def end(self) -> None:
        """Closes the run: a piece of a line, of code where nearly all of it is in fixed-width type."""
        run = self.run
        if not run:
            return
        if self.script:
            run.append(("}", run[-1][2], run[-1][2]))
        string = "".join(c for c, _, _ in run)
        if string.strip():
            inked = [r for r in run if r[0].strip()]
            width = max((inked[-1][2] - inked[0][1]) / max(len(string.strip()), 1), 0.5)
            string = re.sub(r"([\^_])\{(.)\}", r"\1\2", string).rstrip()
            mono = self.fixed_width > 0.9 * self.all_width
            self.pieces.append(Piece(string, inked[0][1], inked[-1][2], self.base, self.size, mono, width, self.page))
        self.run = []
