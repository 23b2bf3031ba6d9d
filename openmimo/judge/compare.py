"""Expected against given, on data alone, in the judge's own process. Nothing a candidate sends is executed or hashed.

Calls are compared as the tagged JSON of `wire`: exact types (True is not 1, 1 is not 1.0, a list is no tuple unless the
problem's tag `tuple_equals_list` says so), floats to a relative 1e-6 or an absolute 1e-9, nan equal to nan. The floats in
a set or in a dict's keys must be equal. Standard output is compared as text, blind to trailing blanks, trailing blank
lines and CRLF.
"""

from __future__ import annotations

import json
import math
from typing import Any

REL_TOL, ABS_TOL = 1e-6, 1e-9
UNORDERED = ("$set", "$frozenset")


def same_value(expected: Any, given: Any, tuple_equals_list: bool = False) -> bool:
    """Whether two values in tagged JSON are equal. `given` may be anything that JSON can hold."""
    if tuple_equals_list:
        expected, given = as_list(expected), as_list(given)
    if type(expected) is not type(given):
        return False
    if type(expected) is float:
        return same_float(expected, given)
    if type(expected) is list:
        return len(expected) == len(given) and all(
            same_value(one, other, tuple_equals_list) for one, other in zip(expected, given, strict=True)
        )
    if type(expected) is not dict:
        return expected == given
    if expected.keys() != given.keys():
        return False
    if len(expected) == 1:
        ((tag, body),) = expected.items()
        if tag in UNORDERED:
            return type(given[tag]) is list and ordered(body) == ordered(given[tag])
        if tag == "$dict":
            return same_pairs(body, given[tag], tuple_equals_list)
    return all(same_value(body, given[key], tuple_equals_list) for key, body in expected.items())


def same_float(expected: float, given: float) -> bool:
    """Equal within the tolerances; nan equals nan, an infinity only itself."""
    if math.isnan(expected) or math.isnan(given):
        return math.isnan(expected) and math.isnan(given)
    return math.isclose(expected, given, rel_tol=REL_TOL, abs_tol=ABS_TOL)


def same_pairs(expected: list, given: Any, tuple_equals_list: bool) -> bool:
    """Whether two dicts written as pairs are equal: the same keys exactly, equal values."""
    if type(given) is not list or any(type(pair) is not list or len(pair) != 2 for pair in given):
        return False
    one, other = (sorted((json.dumps(key), number) for number, (key, _) in enumerate(d)) for d in (expected, given))
    return [key for key, _ in one] == [key for key, _ in other] and all(
        same_value(expected[i][1], given[j][1], tuple_equals_list) for (_, i), (_, j) in zip(one, other, strict=True)
    )


def as_list(value: Any) -> Any:
    """A tuple's elements as a list; any other value as it is."""
    return value["$tuple"] if type(value) is dict and value.keys() == {"$tuple"} else value


def ordered(values: list) -> list[str]:
    """The elements of an unordered collection in one order, each as text."""
    return sorted(json.dumps(value) for value in values)


def same_text(expected: str, given: bytes) -> bool:
    """Whether a program's standard output is the expected text."""
    return lines(expected) == lines(given.decode("utf-8", "surrogateescape"))


def lines(text: str) -> list[str]:
    """A text's lines without trailing blanks, and without blank lines at its end."""
    return [line.rstrip() for line in text.replace("\r\n", "\n").rstrip().split("\n")]
