"""Documents from and to files: JSONL, Parquet and WARC, plain, gzip or zstandard, local or any fsspec path.

    python -c "from openmimo.data.pipeline.files import read_file; print(next(read_file('pages.jsonl.zst')))"

Files are written whole or not at all (local ones by renaming), and the same documents give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from openmimo.data.document import Document, document_id
from openmimo.data.extract import decode_html
from openmimo.data.pipeline.settings import Input
from openmimo.errors import UserError

_FIELDS = ("id", "url", "title", "source")
_ENCODE = json.JSONEncoder(ensure_ascii=False).encode
_HTML_TYPES = ("text/html", "application/xhtml+xml")
_LARGEST_PAGE = 64 << 20  # bytes


def list_files(patterns: Iterable[str]) -> list[str]:
    """The files that the patterns name, each once, in order; a pattern that names none is a UserError."""
    import fsspec

    found: dict[str, None] = {}
    for pattern in patterns:
        try:
            system, path = fsspec.core.url_to_fs(pattern)
            paths = sorted(system.glob(path)) if any(c in path for c in "*?[") else [path] * system.isfile(path)
        except (ImportError, ValueError) as error:
            raise UserError(f"{pattern}: {error}; give a local path, or install what reads this kind") from None
        if not paths:
            raise UserError(f"{pattern}: no such file; check the path or pattern")
        found |= dict.fromkeys(path if is_local(pattern) else system.unstrip_protocol(path) for path in paths)
    return list(found)


def is_local(path: str) -> bool:
    return "://" not in path or path.startswith("file://")


def read_file(path: str, settings: Input | None = None, dropped: Counter | None = None) -> Iterator[Document]:
    """The file's documents in order. `dropped` counts what is none, by reason: WARC records that are no HTML pages, and bad lines
    where `skip_bad` is set."""
    settings = settings or Input(files=[path])
    dropped = Counter() if dropped is None else dropped
    stem = path.lower().removesuffix(".gz").removesuffix(".zst")
    if stem.endswith(".warc"):
        yield from _read_warc(path, settings, dropped)
        return
    if stem.endswith(".parquet"):
        rows = _read_parquet(path)
    elif stem.endswith((".jsonl", ".ndjson", ".json")):
        rows = _read_jsonl(path)
    else:
        raise UserError(
            f"{path}: its name ends in none of .jsonl, .parquet and .warc (.gz, .zst); rename or convert it"
        )
    name = path.rsplit("/", 1)[-1]
    for number, row in enumerate(rows, 1):
        try:
            if isinstance(row, UserError):
                raise row
            yield document_of(row, settings, f"{path}:{number}", f"{name}:{number}")
        except UserError as error:
            if not settings.skip_bad:
                raise UserError(f"{error}; or set input.skip_bad = true to drop such rows") from None
            dropped["dropped, bad row"] += 1


def read_rows_of(path: str) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL, JSON or Parquet file as they are; a bad one is a UserError."""
    for row in _read_parquet(path) if ".parquet" in path else _read_jsonl(path):
        if isinstance(row, UserError):
            raise row
        yield row


def document_of(row: Any, settings: Input, where: str, place: str) -> Document:
    """A row of ours, of datatrove's or of anybody's (unknown columns go to meta) as a Document."""
    if not isinstance(row, dict):
        raise UserError(f"{where}: expected a JSON object, got {type(row).__name__}")
    text = row.pop(settings.text, None)
    if not isinstance(text, str):
        raise UserError(
            f"{where}: column {settings.text!r} is missing or not text; name the text's column as input.text"
        )
    meta = {}
    for inner in ("metadata", "meta"):
        value = row.pop(inner, None)
        if isinstance(value, str):
            value = json.loads(value)
        meta |= value or {}
    if settings.url != "url" and settings.url in row:
        row["url"] = row.pop(settings.url)
    own = {k: v if isinstance(v := row.pop(k, None) or meta.pop(k, None) or "", str) else str(v) for k in _FIELDS}
    meta |= {k: v for k, v in row.items() if v is not None}
    if settings.html:
        meta.setdefault("format", "html")
    own["id"] = own["id"] or document_id(settings.source, place)
    return Document(text=text, meta=meta, **{**own, "source": own["source"] or settings.source})


def write_file(path: str, documents: Iterable[Document]) -> int:
    """Writes .jsonl (.gz, .zst) or .parquet; returns how many. In Parquet `meta` is JSON text."""
    count = 0
    with whole_file(path) as raw:
        if path.endswith(".parquet"):
            return _write_parquet(raw, documents)
        with _compressed(raw, path) as out:
            for document in documents:
                out.write((_ENCODE(vars(document)) + "\n").encode("utf-8", "surrogatepass"))
                count += 1
    return count


@contextmanager
def whole_file(path: str) -> Iterator[IO[bytes]]:
    """A file to write that appears when it is whole."""
    import fsspec

    if not is_local(path):
        with fsspec.open(path, "wb") as out:
            yield out
        return
    target = Path(path.removeprefix("file://"))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _compressed(raw: IO[bytes], path: str) -> Iterator[IO[bytes]]:
    if path.endswith(".gz"):
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as out:
            yield out
    elif path.endswith(".zst"):
        import zstandard

        with zstandard.ZstdCompressor(level=3).stream_writer(raw, closefd=False) as out:
            yield out
    else:
        yield raw


def _open(path: str) -> IO[bytes]:
    """The file's bytes, without gzip or zstandard (of many frames, too)."""
    import fsspec

    try:
        raw = fsspec.open(path, "rb").open()
        if path.lower().endswith(".gz"):
            return gzip.GzipFile(fileobj=raw)
        if path.lower().endswith(".zst"):
            import zstandard

            stream = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True, closefd=True)
            return io.BufferedReader(stream, 1 << 20)
        return raw
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; check the path") from None
    except (ImportError, ValueError) as error:
        raise UserError(f"{path}: {error}; `pip install 'openmimo[data]'` brings zstandard") from None


def _read_jsonl(path: str) -> Iterator[Any]:
    """Values, or for a line that is no JSON the UserError."""
    with _open(path) as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield json.loads(line.decode("utf-8", "surrogatepass"))
                    except ValueError as error:
                        reason = getattr(error, "msg", None) or "not UTF-8"
                        yield UserError(f"{path}:{number}: not JSON ({reason}); one object a line is needed")
        except _damage() as error:
            raise UserError(f"{path}: damaged ({str(error)[:80]}); fetch or write it again") from None


def _damage() -> tuple[type[Exception], ...]:
    """What reading a torn or foreign file raises."""
    try:
        from zstandard import ZstdError
    except ImportError:
        return (OSError, EOFError, zlib.error)
    return (OSError, EOFError, zlib.error, ZstdError)


def _read_parquet(path: str) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _open(path) as raw:
        try:
            for batch in pq.ParquetFile(raw).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{path}: not a Parquet file ({str(error)[:80]}); give .parquet or .jsonl") from None


def _write_parquet(raw: IO[bytes], documents: Iterable[Document]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in ("id", "url", "title", "text", "source", "meta")])
    count, batch = 0, []

    def flush(writer):
        writer.write_table(pa.Table.from_pylist(batch, schema))
        batch.clear()

    with pq.ParquetWriter(raw, schema, compression="zstd") as writer:
        for document in documents:
            batch.append(vars(document) | {"meta": json.dumps(document.meta, ensure_ascii=False)})
            count += 1
            if len(batch) == 4096:
                flush(writer)
        flush(writer)
    return count


def _read_warc(path: str, settings: Input, dropped: Counter) -> Iterator[Document]:
    """HTML pages of the response records, decoded."""
    try:
        from fastwarc.warc import ArchiveIterator, WarcRecordType
    except ImportError:
        raise UserError(f"{path}: reading WARC needs fastwarc; `pip install 'openmimo[data]'`") from None
    with _open(path) as raw:
        try:
            for record in ArchiveIterator(raw, record_types=WarcRecordType.response, auto_decode="all"):
                page = _page(record, settings.source)
                if isinstance(page, str):
                    dropped[page] += 1
                else:
                    yield page
        except _damage() as error:
            raise UserError(f"{path}: damaged ({str(error)[:80]}); fetch it again") from None


def _page(record: Any, source: str) -> Document | str:
    """The page of a response record, or why it is none."""
    status = record.http_headers.status_code if record.http_headers else None
    if (record.http_content_type or "").lower() not in _HTML_TYPES or status not in (200, None):
        return "dropped, no HTML page"
    url = record.headers.get("WARC-Target-URI", "")
    try:
        text = decode_html(record.reader.read(_LARGEST_PAGE), url)
    except UserError:
        return "dropped, unknown encoding"
    own_id = record.record_id.removeprefix("<urn:uuid:").removesuffix(">")
    return Document(own_id, url, "", text, source, {"format": "html", "date": record.headers.get("WARC-Date", "")})
