"""MBPP+ and HumanEval+ (evalplus' rows): argument lists and a golden solution, whose results are the expected values.

JSON has neither tuples nor complex numbers, so MBPP+ needs its arguments converted, problem by problem; the tables below
say which, as evalplus does. Results are compared as evalplus does: with Python's `==` (a list is no tuple), floats to
the row's `atol`, or 1e-6, or a relative 1e-7. For eight problems results are compared as sets, for three the result may be any value
that is None or not; text added to the program makes it so.

Not as evalplus: it accepts anything for Mbpp/164, a second answer for 295, 558 and 581, and any zero of the polynomial
for HumanEval/32; here the golden solution's value alone is right.

Limits: of CPU time four times what the golden solution took for its slowest test, at least 1 s; 1,024 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from openmimo.judge import wire
from openmimo.judge.formats.limits import limits
from openmimo.rows import Problem, Test

MEMORY_MB = 1024
AS_SET = "similar_elements find_char_long common_in_nested_lists extract_singly larg_nnum intersection_array find_dissimilar Diff"
AS_BOOL = "check_str text_match_three text_starta_endb"
SET_CODE = "\n\ndef {0}(*arguments, _of={0}):\n    return set(_of(*arguments))\n"
BOOL_CODE = """

def {0}(*arguments, _of={0}):
    found = _of(*arguments)
    return found if isinstance(found, bool) else found is not None
"""


def list_of_tuples(value: list) -> list:
    return [tuple(item) for item in value]


def tuple_of_tuples(value: list) -> tuple:
    return tuple(tuple(item) for item in value)


def tuple_of_some_tuples(value: list) -> tuple:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def deep_tuple(value: Any) -> Any:
    return tuple(map(deep_tuple, value)) if isinstance(value, list) else value


def list_of_sets(value: list) -> list:
    """An empty list stands for an empty dict there."""
    return [set(item) if isinstance(item, list) and item else {} for item in value]


def dict_of_tuples(value: dict) -> dict:
    return {key: tuple(item) for key, item in value.items()}


Table = dict[Callable[[Any], Any], str]
EVERY: Table = {  # argument, by the numbers of MBPP's problems
    tuple: "2 116 132 143 222 261 273 394 399 421 424 429 470 560 579 596 616 630 726 740 744 809",
    list_of_tuples: "63 64 70 94 120 237 272 299 400 409 417 438 473 614 780",
    tuple_of_tuples: "259 401 445",
    deep_tuple: "580 615 791",
}
FIRST: Table = {
    tuple: "250 307 405 446 617 720 763 808",
    list_of_tuples: "75 413 444 753",
    tuple_of_some_tuples: "278",
    list_of_sets: "115",
    dict_of_tuples: "722",
    complex: "252",
    float: "124",
}
SECOND: Table = {tuple: "106 750", complex: "124"}


def converters(table: Table) -> dict[str, Callable[[Any], Any]]:
    """Task id -> what converts the argument."""
    return {f"Mbpp/{number}": convert for convert, numbers in table.items() for number in numbers.split()}


PLACES = [converters(EVERY), converters(FIRST), converters(SECOND)]


def arguments(task_id: str, given: list[Any]) -> list[Any]:
    """A test's arguments as the problem's function wants them."""
    every, first, second = (place.get(task_id) for place in PLACES)
    found = [every(value) for value in given] if every else list(given)
    for position, convert in enumerate((first, second)):
        if convert and position < len(found):
            found[position] = convert(found[position])
    return found


def name(row: dict[str, Any], _: int) -> str:
    return row["task_id"]


def problem(row: dict[str, Any], task_id: str, where: str) -> Problem:
    """The row as a Problem whose expected values are still to be computed (`golden`). Test ids: `base/0`, `plus/0` on.
    HumanEval's golden solution is the rest of its prompt."""
    entry_point, prompt = row["entry_point"], row["prompt"]
    tests = [
        Test(f"{side}/{number}", "call", wire.encode(arguments(task_id, given)), None)
        for side in ("base", "plus")
        for number, given in enumerate(row[f"{side}_input"] or [])
    ]
    tags: dict[str, Any] = {
        "python_equality": True,
        "rtol": 1e-7,
        "atol": row.get("atol") or 1e-6,
        "expected": "golden",
    }
    if after := SET_CODE if entry_point in AS_SET.split() else BOOL_CODE if entry_point in AS_BOOL.split() else "":
        tags["after"] = after.format(entry_point)
    golden = (prompt if task_id.startswith("HumanEval/") else "") + row["canonical_solution"]
    return Problem(
        task_id, "code", [{"role": "user", "content": prompt}], entry_point=entry_point, tests=tests,
        limits=limits(1.0, MEMORY_MB), golden=golden, source="evalplus", tags=tags, split="test",
    )  # fmt: skip
