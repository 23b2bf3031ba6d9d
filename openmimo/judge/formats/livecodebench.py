"""LiveCodeBench's rows: tests as JSON text, the private ones mostly zlib-compressed pickles of that text in base64.

Nothing is unpickled that is not plain text: the unpickler knows no class and no function, so a row from anywhere can
make it fail but not run anything.

Compared as LiveCodeBench does: `functional` results with Python's `==` where a tuple counts as a list, standard output
by words with numbers by value. (Its own rule for words goes line by line.) Its programs find the common names of the
standard library imported, so ours do. Limits: 6 s of CPU time a test, its own; 1,024 MB.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from typing import Any

from openmimo.errors import UserError
from openmimo.judge.formats.limits import limits
from openmimo.rows import Problem, Test

CPU_S, MEMORY_MB = 6.0, 1024
LARGEST = 1 << 30  # bytes of one problem's decompressed tests
MODULES = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools operator io sys json"
)
STARRED = "typing string re collections heapq bisect copy math statistics itertools functools operator"
PRELUDE = "".join(f"from {m} import *\n" for m in STARRED.split()) + f"import {', '.join(MODULES.split())}\n"
TAGS = {"tuple_equals_list": True, "python_equality": True, "tokens": True, "rtol": 0.0, "atol": 0.0, "before": PRELUDE}


class TextOnly(pickle.Unpickler):
    """Unpickles what needs no class and no function: text, numbers, lists, dicts."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, and tests are text alone")


def name(row: dict[str, Any], _: int) -> str:
    return str(row["question_id"])


def problem(row: dict[str, Any], task_id: str, where: str) -> Problem:
    """The row as a Problem. Test ids: `public/0`, `private/0` and on."""
    entry_point = (json.loads(row.get("metadata") or "{}") or {}).get("func_name")
    tests = []
    for side in ("public", "private"):
        for number, case in enumerate(cases(row[f"{side}_test_cases"], where)):
            tests.append(test(f"{side}/{number}", case, where))
    if any(t.kind == "call" for t in tests) and not entry_point:
        raise UserError(f"{where}: functional tests need `func_name` in the row's metadata")
    starter = f"\n\n{row['starter_code']}" if row.get("starter_code") else ""
    return Problem(
        task_id, "code", [{"role": "user", "content": row["question_content"] + starter}], entry_point=entry_point,
        tests=tests, limits=limits(CPU_S, MEMORY_MB, (case.output for case in tests if case.kind == "stdin")),
        source="livecodebench", tags=TAGS, split="test",
    )  # fmt: skip


def test(test_id: str, case: dict[str, str], where: str) -> Test:
    """One test: a functional one has a JSON value a line for the arguments, and one for the result."""
    if case["testtype"] == "stdin":
        return Test(test_id, "stdin", case["input"], case["output"])
    if case["testtype"] == "functional":
        arguments = [json.loads(line) for line in case["input"].split("\n")]
        return Test(test_id, "call", arguments, json.loads(case["output"]))
    raise UserError(f"{where}, test {test_id}: testtype {case['testtype']!r} is neither stdin nor functional")


def cases(text: str, where: str) -> list[dict[str, str]]:
    """The list of tests: JSON as it stands, or compressed."""
    try:
        return json.loads(text if text.lstrip().startswith("[") else unpacked(text))
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, json.JSONDecodeError) as error:
        raise UserError(
            f"{where}: the tests are neither JSON nor a packed text of it ({error}); get it again"
        ) from None


def unpacked(text: str) -> str:
    """The JSON text in a base64 of a zlib stream of a pickled text."""
    stream = zlib.decompressobj()
    data = stream.decompress(base64.b64decode(text, validate=True), LARGEST)
    if not stream.eof:
        raise pickle.UnpicklingError(f"it holds more than {LARGEST >> 20} MB or is cut short")
    found = TextOnly(io.BytesIO(data)).load()
    if not isinstance(found, str):
        raise pickle.UnpicklingError(f"it holds a {type(found).__name__}, not text")
    return found
