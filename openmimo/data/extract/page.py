"""HTML -> Markdown with LaTeX, keeping what common extractors lose: code verbatim and formulas [R 2.1].

    python -c "from openmimo.data.extract import extract_file; print(extract_file('page.html'))"

`html_tree` parses, `main_content` finds what is the page's own, `markdown` writes it (with `formulas`, `mathml`, `tables` and
`code_blocks`), `page_facts` and `threads` say what stands beside the text. Any string gives some text, however broken, within
the limits of `html_limits`; only a file that is no text is an error.
"""

from __future__ import annotations

import dataclasses
import gc
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from openmimo.data.document import Document
from openmimo.data.extract.charsets import decode_html
from openmimo.data.extract.html_tree import Page, parse
from openmimo.data.extract.main_content import find_main
from openmimo.data.extract.markdown import to_markdown
from openmimo.data.extract.page_facts import canonical_of, date_of, language_of, title_of
from openmimo.data.extract.text_formulas import reader
from openmimo.data.extract.threads import Post, posts_of
from openmimo.errors import UserError


@dataclass(frozen=True)
class Extracted:
    """text: Markdown with LaTeX; title, date (YYYY-MM-DD), language (ISO 639-1), url (canonical): empty where unknown.

    posts: of a thread in a forum or on a Q&A site, its posts in order.
    """

    text: str
    title: str = ""
    date: str = ""
    language: str = ""
    url: str = ""
    posts: list[Post] = field(default_factory=list)


def extract_html(html: str, url: str | None = None) -> str:
    """The page's main content as Markdown with LaTeX; never fails, whatever the string.

    url: the page's address, where known; links to the page's own sections then do not count as navigation.
    """
    with _no_collection():
        return _extract(parse(html), url)


def extract_page(html: str | bytes, url: str | None = None, charset: str | None = None) -> Extracted:
    """The text and what is known about it. Bytes are decoded as `decode_html` does; charset: what HTTP declared."""
    if isinstance(html, bytes):
        html = decode_html(html, charset=charset)
    with _no_collection():
        page = parse(html)
        posts = posts_of(page)
        text = _extract(page, url)
        return Extracted(text, title_of(page), date_of(page), language_of(page, text), canonical_of(page, url), posts)


def extract_document(document: Document) -> Document:
    """A Document whose text is HTML -> the same with Markdown; title, meta `date`, `lang` and `posts` where it had none
    (meta `language` is a programming language's name)."""
    found = extract_page(document.text, document.url or None)
    facts = {"date": found.date, "lang": found.language}
    facts = {k: v for k, v in facts.items() if v and k not in document.meta}
    if found.posts:
        facts["posts"] = [dataclasses.asdict(post) for post in found.posts]
    document = dataclasses.replace(document, title=document.title or found.title, text=found.text)
    return document.with_meta(format="markdown", **facts)


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
    """Markdown of an HTML file. A file that is missing or binary is a UserError."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an HTML file")
    return extract_html(decode_html(path.read_bytes(), str(path)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the cyclic garbage collector: the tree has no cycles, and walking it costs a fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _extract(page: Page, url: str | None) -> str:
    rewrite = reader(page.scripts, page.script_urls)
    return to_markdown(find_main(page, url), rewrite).strip()
