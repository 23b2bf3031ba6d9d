"""Document: the shape of data that the steps of this room share, and its JSONL file.

    python -c "from openmimo.data.document import read_documents; print(next(read_documents('pages.jsonl')).title)"

A step takes documents and returns documents and a Counter of what it kept and dropped, by reason. What a step learns
about a document (tags, the size of its duplicate cluster) goes into `meta`, never into `text`: tagging again rewrites
nothing. A raw page is a Document whose text is HTML and whose meta has `format: "html"`; extraction [R 2.1] turns it
into one of `format: "markdown"`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from openmimo.errors import UserError
from openmimo.rows import read_jsonl, write_jsonl


@dataclass(frozen=True)
class Document:
    """One page, file or passage. `source` names where it came from (such as `stdlib-code`), `meta` is JSON data."""

    id: str
    url: str
    title: str
    text: str
    source: str
    meta: dict[str, Any] = field(default_factory=dict)

    def with_meta(self, **entries: Any) -> Document:
        """A copy whose meta has these entries too."""
        return dataclasses.replace(self, meta={**self.meta, **entries})


_TEXT_FIELDS = ("id", "url", "title", "text", "source")


def document_id(*parts: str) -> str:
    """16 hex digits that depend on the parts alone (source and URL, say): the same in every run and machine."""
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def document_from_dict(data: Any, where: str = "document") -> Document:
    """Plain data -> Document; a missing, unknown or wrongly typed field is a UserError that names `where`."""
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a JSON object, got {type(data).__name__}")
    if unknown := sorted(set(data) - {*_TEXT_FIELDS, "meta"}):
        raise UserError(f"{where}: unknown field {unknown[0]!r}; a Document has {', '.join(_TEXT_FIELDS)}, meta")
    for name in _TEXT_FIELDS:
        if not isinstance(data.get(name), str):
            raise UserError(f"{where}: field {name!r} is missing or not text; give a string (it may be empty)")
    if not isinstance(data.get("meta", {}), dict):
        raise UserError(f"{where}: field 'meta' must be an object, got {type(data['meta']).__name__}")
    return Document(**data)


def read_documents(path: str | Path) -> Iterator[Document]:
    """Documents of a .jsonl file, in order. A bad line is a UserError with its number."""
    for where, data in read_jsonl(path):
        yield document_from_dict(data, where)


def write_documents(path: str | Path, documents: Iterable[Document]) -> int:
    """Writes a .jsonl file, whole or not at all; returns how many documents."""
    return write_jsonl(path, map(dataclasses.asdict, documents))


def in_batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of `size`, the last one shorter."""
    items = iter(items)
    while batch := list(islice(items, size)):
        yield batch
