"""HTML -> Markdown with LaTeX, keeping what common extractors lose: code verbatim and formulas [R 2.1].

    python -c "from openmimo.data.extract import extract_file; print(extract_file('page.html'))"

`html_tree` parses, `main_content` finds what is the page's own, `markdown` writes it (with `formulas`, `mathml`, `tables` and
`code_blocks`). Any string gives some text, however broken; only a file that is no text is an error.
"""

from __future__ import annotations

import codecs
import dataclasses
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from openmimo.data.document import Document
from openmimo.data.html_tree import Page, parse
from openmimo.data.main_content import find_main
from openmimo.data.markdown import to_markdown
from openmimo.errors import UserError

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_META_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})|<\?xml[^>]{0,100}encoding=["']([\w.:-]{2,40})""", re.I
)


def extract_html(html: str, url: str | None = None) -> str:
    """The page's main content as Markdown with LaTeX; never fails, whatever the string.

    url: the page's address, where known; links to the page's own sections then do not count as navigation.
    """
    return _extract(parse(html), url)


def extract_document(document: Document) -> Document:
    """A Document whose text is HTML -> the same with Markdown, the page's title where it had none."""
    page = parse(document.text)
    title = document.title or page_title(page)
    text = _extract(page, document.url or None)
    return dataclasses.replace(document, title=title, text=text).with_meta(format="markdown")


def extract_documents(documents: Iterable[Document]) -> tuple[list[Document], Counter]:
    """Extracts raw pages (meta `format: "html"`), passes others through. Counts kept, passed and pages without text."""
    kept, counts = [], Counter()
    for document in documents:
        if document.meta.get("format") != "html":
            counts["passed, not HTML"] += 1
            kept.append(document)
            continue
        document = extract_document(document)
        if document.text:
            counts["kept"] += 1
            kept.append(document)
        else:
            counts["dropped, no text"] += 1
    return kept, counts


def extract_file(path: str | Path) -> str:
    """Markdown of an HTML file. A file that is missing, binary or in no known encoding is a UserError."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an HTML file")
    return extract_html(decode_html(path.read_bytes(), str(path)))


def decode_html(data: bytes, where: str = "page") -> str:
    """Bytes of a page -> text: byte order mark, then UTF-8, then the charset it declares; otherwise a UserError."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return _decode(data, encoding, where)
    if b"\0" in data[:4096]:
        raise UserError(f"{where}: binary data, not HTML (it has NUL bytes); give an HTML file, or convert it first")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    match = _META_CHARSET.search(data[:4096])
    if match is None:
        raise UserError(
            f"{where}: not UTF-8 and it declares no charset; convert it to UTF-8 (iconv -f latin1 -t utf-8)"
        )
    return _decode(data, (match[1] or match[2]).decode("ascii"), where)


def page_title(page: Page) -> str:
    """The text of <title>, on one line."""
    title = page.first("title")
    return " ".join(title.text().split()) if title else ""


def _decode(data: bytes, encoding: str, where: str) -> str:
    aliases = {
        "gb2312": "gb18030",
        "gbk": "gb18030",
        "iso-8859-1": "cp1252",
        "latin1": "cp1252",
        "ascii": "cp1252",
    }  # as browsers do
    try:
        return data.decode(aliases.get(encoding.lower(), encoding))
    except LookupError:
        raise UserError(f"{where}: charset {encoding!r} is not known; convert the file to UTF-8") from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{where}: byte {error.start} is not {encoding}; convert the file to UTF-8, or repair it"
        ) from None


def _extract(page: Page, url: str | None) -> str:
    return to_markdown(find_main(page, url)).strip()
