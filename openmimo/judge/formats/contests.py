"""Rows of APPS, TACO and CodeContests: mostly programs from standard input to standard output.

Standard output is compared by words: whole numbers exactly, others to a relative or absolute 1e-5, which is CodeContests'
own rule. Calls (APPS, TACO) with Python's `==`, a tuple counting as a list. Where each expected result of a problem is a
list of one element, the list is taken for wrapping, as it is in APPS' rows. Limits: what the row says; else 4 s of CPU
time a test (APPS') and 1,024 MB.
"""

from __future__ import annotations

import json
import re
from typing import Any

from openmimo.errors import UserError
from openmimo.judge.formats.limits import limits
from openmimo.judge.formats.livecodebench import PRELUDE
from openmimo.rows import Problem, Test

CPU_S, MEMORY_MB = 4.0, 1024
TAGS = {"tuple_equals_list": True, "python_equality": True, "tokens": True, "rtol": 1e-5, "atol": 1e-5}
PYTHON3 = 3  # among CodeContests' languages


def apps_name(row: dict[str, Any], number: int) -> str:
    found = next((row[key] for key in ("problem_id", "id") if row.get(key) is not None), number)
    return str(found)


def apps_problem(row: dict[str, Any], task_id: str, where: str) -> Problem:
    """A row of APPS or TACO. `input_output` is JSON text, empty where there are no tests. Test ids: `0`, `1` and on."""
    data = row["input_output"]
    data = json.loads(data or "{}") if isinstance(data, str) else data or {}
    inputs, outputs, entry_point = data.get("inputs", []), data.get("outputs", []), data.get("fn_name")
    if len(inputs) != len(outputs):
        raise UserError(f"{where}: {len(inputs)} inputs and {len(outputs)} outputs; a test needs one of each")
    if entry_point:
        wrapped = all(isinstance(output, list) and len(output) == 1 for output in outputs)
        pairs = [(arguments(i), int_keys(o[0] if wrapped else o)) for i, o in zip(inputs, outputs, strict=True)]
    else:
        pairs = [(as_text(i), as_text(o)) for i, o in zip(inputs, outputs, strict=True)]
    kind = "call" if entry_point else "stdin"
    solutions = row.get("solutions") or []
    solutions = json.loads(solutions) if isinstance(solutions, str) else solutions
    starter = f"\n\n{row['starter_code']}" if row.get("starter_code") else ""
    return Problem(
        task_id, "code", [{"role": "user", "content": row["question"] + starter}], entry_point=entry_point,
        tests=[Test(str(n), kind, *pair) for n, pair in enumerate(pairs)],
        limits=limits(
            quantity(row.get("time_limit"), {"second": 1.0}, CPU_S, where),
            int(quantity(row.get("memory_limit"), {"megabyte": 1.0, "gigabyte": 1024.0}, MEMORY_MB, where)),
            (output for _, output in pairs if kind == "stdin"),
        ),
        golden=solutions[0] if solutions else None, source=str(row.get("source") or "apps"),
        tags=TAGS | {"before": PRELUDE}, split="test",
    )  # fmt: skip


def arguments(given: Any) -> list[Any]:
    """A call's arguments: a list of them, or a JSON value a line."""
    found = [json.loads(line) for line in given.split("\n")] if isinstance(given, str) else list(given)
    return [int_keys(value) for value in found]


def int_keys(value: Any) -> Any:
    """A dict whose keys are all whole numbers as JSON had to write them, with its numbers back; else the value itself."""
    if isinstance(value, dict) and value and all(re.fullmatch(r"-?\d+", key) for key in value):
        return {"$dict": [[int(key), item] for key, item in value.items()]}
    return value


def as_text(given: Any) -> str:
    """A test's text: some rows have it as a list of lines."""
    if isinstance(given, list):
        return "\n".join(map(as_text, given))
    return given if isinstance(given, str) else json.dumps(given)


def quantity(text: Any, units: dict[str, float], default: float, where: str) -> float:
    """`2.0 seconds`, `256 megabytes`: the number in the first unit; the default where the row says nothing."""
    if text in (None, "", "None"):
        return default
    match = re.fullmatch(r"\s*([\d.]+)\s*([a-z]*?)s?\s*", str(text))
    if not match or (match[2] and match[2] not in units):
        raise UserError(f"{where}: the limit {text!r} is not understood; it should read like `2.0 seconds`")
    return float(match[1]) * units.get(match[2], 1.0)


def code_contests_name(row: dict[str, Any], _: int) -> str:
    return row["name"]


def code_contests_problem(row: dict[str, Any], task_id: str, where: str) -> Problem:
    """A row of CodeContests, with its public, private and generated tests. Test ids: `private/0` and on."""
    tests = []
    for side in ("public", "private", "generated"):
        pairs = row.get(f"{side}_tests") or {"input": [], "output": []}
        for number, pair in enumerate(zip(pairs["input"], pairs["output"], strict=True)):
            tests.append(Test(f"{side}/{number}", "stdin", *pair))
    time, memory = row.get("time_limit"), row.get("memory_limit_bytes")
    cpu_s = time["seconds"] + (time.get("nanos") or 0) / 1e9 if time else CPU_S
    found = row.get("solutions") or {"language": [], "solution": []}
    python = [text for language, text in zip(found["language"], found["solution"], strict=True) if language == PYTHON3]
    return Problem(
        task_id, "code", [{"role": "user", "content": row["description"]}], tests=tests,
        limits=limits(cpu_s, memory >> 20 if memory else MEMORY_MB, (test.output for test in tests)),
        golden=python[0] if python else None, source="code_contests", tags=TAGS, split="test",
    )  # fmt: skip
