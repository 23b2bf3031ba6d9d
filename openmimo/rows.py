"""The two shapes of data that every room shares: Problem and Rollout. JSONL and Parquet, both ways.

    python -c "from openmimo.rows import read_rows, Problem; print(next(read_rows('problems.jsonl', Problem)))"

A row is a frozen dataclass; `to_dict` drops nothing and `from_dict` refuses what it does not know. In Parquet the
nested fields (messages, tests, ...) are JSON text columns, so that any reader can open the file.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from openmimo.errors import UserError

TEST_KINDS = ("stdin", "call", "checker")


@dataclass(frozen=True)
class Test:
    """One test of a code problem. kind `stdin`: input and output are text; `call`: input is the list of arguments
    and output the expected result, as JSON data; `checker`: output is a list of accepted outputs (stdin text)."""

    __test__ = False  # not a pytest class
    id: str
    kind: str
    input: Any
    output: Any


@dataclass(frozen=True)
class Limits:
    """What a candidate program may use for one test."""

    cpu_s: float = 1.0
    wall_s: float = 5.0
    memory_mb: int = 256
    output_kb: int = 1024


@dataclass(frozen=True)
class Problem:
    """A verifiable problem. kind `math` has `answer` (text or LaTeX); kind `code` has `tests` and maybe `entry_point`.

    messages: chat messages `{"role", "content"}` without the response. golden: the reference solution (worked text
    or program). tags: free data such as `family`, `difficulty` (int, higher = harder). split: `train` or `test`.
    """

    id: str
    kind: str
    messages: list[dict[str, str]]
    answer: str | None = None
    entry_point: str | None = None
    tests: list[Test] = field(default_factory=list)
    limits: Limits = field(default_factory=Limits)
    golden: str | None = None
    source: str = ""
    tags: dict[str, Any] = field(default_factory=dict)
    split: str = "train"

    def __post_init__(self):
        if self.kind not in ("math", "code"):
            raise UserError(f"problem {self.id!r}: kind {self.kind!r} is not known; use 'math' or 'code'")
        if not is_chat(self.messages):
            raise UserError(f"problem {self.id!r}: messages must be a non-empty list of {{role, content}}")
        if self.kind == "math" and not isinstance(self.answer, str):
            raise UserError(f"problem {self.id!r}: a math problem needs `answer`, as text")
        if not isinstance(self.limits, Limits):
            raise UserError(f"problem {self.id!r}: limits must be an object, such as {{'cpu_s': 1.0}}")
        for t in self.tests:
            if t.kind not in TEST_KINDS:
                raise UserError(f"problem {self.id!r}, test {t.id!r}: kind {t.kind!r} is not one of {TEST_KINDS}")
        if self.split not in ("train", "test"):
            raise UserError(f"problem {self.id!r}: split {self.split!r} is not known; use 'train' or 'test'")
        if any(t.kind == "call" for t in self.tests) and not self.entry_point:
            raise UserError(f"problem {self.id!r}: call tests need `entry_point`, the function's name")


@dataclass(frozen=True)
class TestVerdict:
    """What became of one test: AC, WA, TLE, MLE, OLE, RE or IE (our fault: never a reward). rung: the isolation that it
    ran under (openmimo/judge/confine.py)."""

    __test__ = False
    test_id: str
    verdict: str
    cpu_s: float = 0.0
    wall_s: float = 0.0
    memory_mb: float = 0.0
    rung: str = ""


@dataclass(frozen=True)
class Rollout:
    """One sampled response. `task` numbers the group in start order, `sample` the response within the group."""

    problem_id: str
    model: str
    version: int
    step: int
    task: int
    sample: int
    token_ids: list[int]
    logprobs: list[float]
    finish_reason: str  # "stop" or "length"
    reward: float | None = None
    text: str = ""
    verdicts: list[TestVerdict] = field(default_factory=list)


Row = TypeVar("Row", Problem, Rollout)
_NESTED = {Problem: {"tests": Test}, Rollout: {"verdicts": TestVerdict}}
_JSON_COLUMNS = {Problem: {"messages", "tests", "limits", "tags"}, Rollout: {"verdicts"}}


def to_dict(row: Problem | Rollout) -> dict[str, Any]:
    """A row as plain data (JSON-serialisable when its inputs and outputs are)."""
    return dataclasses.asdict(row)


def from_dict(data: dict[str, Any], row_type: type[Row], where: str = "row") -> Row:
    """Plain data -> row. Raises UserError that names `where` for a missing or an unknown field."""
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a JSON object, got {type(data).__name__}")
    fields = {f.name: f for f in dataclasses.fields(row_type)}
    if unknown := sorted(set(data) - set(fields)):
        raise UserError(f"{where}: unknown field {unknown[0]!r}; a {row_type.__name__} has {', '.join(fields)}")
    required = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [n for n in required if n not in data]:
        raise UserError(f"{where}: field {missing[0]!r} is missing; a {row_type.__name__} needs {', '.join(required)}")
    data = dict(data)
    if row_type is Problem and isinstance(data.get("answer"), int | float):
        data["answer"] = str(data["answer"])
    if not isinstance(data.get("id", ""), str) or not isinstance(data.get("tags", {}), dict):
        raise UserError(f"{where}: `id` must be text and `tags` an object")
    try:
        for name, inner in _NESTED[row_type].items():
            if name in data:
                data[name] = [inner(**item) for item in data[name] or []]
        if row_type is Problem and isinstance(data.get("limits"), dict):
            data["limits"] = Limits(**data["limits"])
        elif row_type is Problem and data.get("limits") is None:
            data.pop("limits", None)
        return row_type(**data)
    except TypeError as error:
        raise UserError(f"{where}: {error}") from None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def read_rows(path: str | Path, row_type: type[Row]) -> Iterator[Row]:
    """Rows of a .jsonl or .parquet file, in order. A bad line is a UserError with its number."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .jsonl or .parquet file of {row_type.__name__} rows")
    if path.suffix == ".parquet":
        yield from _read_parquet(path, row_type)
        return
    for where, data in read_jsonl(path):
        yield from_dict(data, row_type, where)


def _read_parquet(path: Path, row_type: type[Row]) -> Iterator[Row]:
    """Nested columns may be JSON text (what `write_rows` writes) or native lists and structs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches():
            for data in batch.to_pylist():
                number += 1
                for column in _JSON_COLUMNS[row_type] & set(data):
                    if isinstance(data[column], str):
                        data[column] = json.loads(data[column])
                yield from_dict(data, row_type, f"{path}:{number}")
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{number}: column {column!r} is not JSON ({error.msg}); write the file again") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(f"{path}: not a Parquet file ({str(error)[:80]}); give a .parquet or .jsonl file") from None


def write_rows(path: str | Path, rows: Iterable[Row]) -> int:
    """Writes rows to a .jsonl or .parquet file (whole or not at all); returns how many."""
    path, rows = Path(path), list(rows)
    if path.suffix != ".parquet":
        return write_jsonl(path, map(to_dict, rows))
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _JSON_COLUMNS[type(rows[0])] if rows else set()
    table = [{k: json.dumps(v) if k in columns else v for k, v in to_dict(r).items()} for r in rows]
    part = path.with_name(path.name + ".part")
    pq.write_table(pa.Table.from_pylist(table), part)
    part.replace(path)
    return len(rows)


def is_chat(messages: Any) -> bool:
    """Whether it is a non-empty list of `{"role", "content"}`, both text."""
    if not isinstance(messages, list) or not messages:
        return False
    return all(isinstance(m, dict) and isinstance(m.get(k), str) for m in messages for k in ("role", "content"))


def check_problems(problems: list[Problem], where: str) -> None:
    """Raises UserError where no answer could be judged: no problems, an id that comes twice, code without tests."""
    if not problems:
        raise UserError(f"{where}: there are no problems; give a file with at least one row")
    seen: set[str] = set()
    for problem in problems:
        if problem.id in seen:
            raise UserError(f"{where}: problem {problem.id!r} comes twice; give each problem an id of its own")
        if problem.kind == "code" and not problem.tests:
            raise UserError(f"{where}: problem {problem.id!r} is code without `tests`; add some, or leave it out")
        seen.add(problem.id)


def read_jsonl(path: str | Path) -> Iterator[tuple[str, Any]]:
    """(`path:line`, value) for each non-blank line of a JSONL file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .jsonl file")
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    try:
                        yield f"{path}:{number}", json.loads(line)
                    except json.JSONDecodeError as error:
                        raise UserError(
                            f"{path}:{number}: not JSON ({error.msg}); one object a line is needed"
                        ) from None
        except UnicodeDecodeError:
            raise UserError(f"{path}: not UTF-8 text; a .jsonl file is needed") from None


def write_jsonl(path: str | Path, values: Iterable[Any]) -> int:
    """One JSON value a line, whole or not at all; returns how many."""
    path = Path(path)
    part, count = path.with_name(path.name + ".part"), 0
    with part.open("w", encoding="utf-8") as out:
        for value in values:
            out.write(json.dumps(value, ensure_ascii=False) + "\n")
            count += 1
    part.replace(path)
    return count
