"""Rows of a file as they are, whatever their format: JSONL, a JSON list, both also gzipped, or Parquet."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from openmimo.errors import UserError


def read_raw(path: Path) -> Iterator[tuple[str, Any]]:
    """(`path:row`, row) for each row, in order; a UserError for a file that is not what its ending says."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .jsonl, .json, .jsonl.gz or .parquet file of problems")
    if path.suffix == ".parquet":
        yield from read_parquet(path)
        return
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    number = 0
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            if plain.suffix == ".json":
                rows = json.load(file)
                if not isinstance(rows, list):
                    raise UserError(f"{path}: a .json file must hold a list of rows; use .jsonl for one row a line")
                for number, row in enumerate(rows, 1):
                    yield f"{path}:{number}", row
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{max(1, number)}: not JSON ({error.msg}); one object a line is needed") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; give a .jsonl, .json, .jsonl.gz or .parquet file") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: not a whole gzip file ({error}); get it again") from None


def read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a Parquet file; JSON text in a column stays text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", row
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({str(error)[:80]}); give a .parquet or .jsonl file") from None
