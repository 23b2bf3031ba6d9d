"""Expected against given, on data alone, in the judge's own process. Nothing a candidate sends is executed or hashed.

Calls are compared as the tagged JSON of `wire`: exact types (True is not 1, 1 is not 1.0, a list is no tuple), floats to
a relative 1e-6 or an absolute 1e-9, nan equal to nan. The floats in a set or in a dict's keys must be equal. Standard
output is compared as text, blind to trailing blanks, trailing blank lines and CRLF. A problem's tags may say otherwise,
see `Rules`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

UNORDERED = ("$set", "$frozenset")


class Rules(NamedTuple):
    """How a problem's results are compared; each is a tag of the problem."""

    tuple_equals_list: bool = False
    python_equality: bool = False  # numbers by value, as `==` does: True, 1 and 1.0 are equal; so are set and frozenset
    tokens: bool = False  # standard output: words between blanks, of which numbers are compared by value
    rtol: float = 1e-6  # of floats, and of tokens that are not both whole numbers
    atol: float = 1e-9

    @classmethod
    def of(cls, tags: Mapping[str, Any]) -> Rules:
        return cls(**{name: tags[name] for name in cls._fields if name in tags})


EXACT = Rules()


def same_value(expected: Any, given: Any, rules: Rules = EXACT) -> bool:
    """Whether two values in tagged JSON are equal. `given` may be anything that JSON can hold."""
    if rules.tuple_equals_list:
        expected, given = as_list(expected), as_list(given)
    if rules.python_equality:
        one, other = number(expected), number(given)
        if one is not None and other is not None:
            return same_number(one, other, rules)
        expected, given = as_set(expected), as_set(given)
    if type(expected) is not type(given):
        return False
    if type(expected) is float:
        return same_float(expected, given, rules)
    if type(expected) is list:
        return len(expected) == len(given) and all(
            same_value(one, other, rules) for one, other in zip(expected, given, strict=True)
        )
    if type(expected) is not dict:
        return expected == given
    if expected.keys() != given.keys():
        return False
    if len(expected) == 1:
        ((tag, body),) = expected.items()
        if tag in UNORDERED:
            return type(given[tag]) is list and ordered(body, rules) == ordered(given[tag], rules)
        if tag == "$dict":
            return same_pairs(body, given[tag], rules)
    return all(same_value(body, given[key], rules) for key, body in expected.items())


def same_float(expected: float, given: float, rules: Rules = EXACT) -> bool:
    """Equal within the tolerances; nan equals nan, an infinity only itself."""
    if math.isnan(expected) or math.isnan(given):
        return math.isnan(expected) and math.isnan(given)
    return math.isclose(expected, given, rel_tol=rules.rtol, abs_tol=rules.atol)


def same_number(expected: complex, given: complex, rules: Rules) -> bool:
    """Equal by value, whatever the type; whole numbers exactly."""
    if isinstance(expected, int) and isinstance(given, int):
        return expected == given
    try:
        one, other = complex(expected), complex(given)
    except OverflowError:  # a whole number beyond every float
        return False
    return same_float(one.real, other.real, rules) and same_float(one.imag, other.imag, rules)


def number(value: Any) -> complex | None:
    """The number that tagged JSON stands for (bools too); None where it stands for something else."""
    if isinstance(value, bool | int | float):
        return value
    if type(value) is dict and len(value) == 1:
        ((tag, body),) = value.items()
        if tag == "$int" and type(body) is str:
            return int(body, 16)
        if tag == "$complex" and type(body) is list and [type(part) for part in body] == [float, float]:
            return complex(*body)
    return None


def same_pairs(expected: list, given: Any, rules: Rules) -> bool:
    """Whether two dicts written as pairs are equal: the same keys exactly, equal values."""
    if type(given) is not list or any(type(pair) is not list or len(pair) != 2 for pair in given):
        return False
    one, other = (sorted((text(key, rules), i) for i, (key, _) in enumerate(pairs)) for pairs in (expected, given))
    return [key for key, _ in one] == [key for key, _ in other] and all(
        same_value(expected[i][1], given[j][1], rules) for (_, i), (_, j) in zip(one, other, strict=True)
    )


def as_list(value: Any) -> Any:
    """A tuple's elements as a list; any other value as it is."""
    return value["$tuple"] if type(value) is dict and value.keys() == {"$tuple"} else value


def as_set(value: Any) -> Any:
    """A frozenset as a set; any other value as it is."""
    return {"$set": value["$frozenset"]} if type(value) is dict and value.keys() == {"$frozenset"} else value


def ordered(values: list, rules: Rules = EXACT) -> list[str]:
    """The elements of an unordered collection in one order, each as text."""
    return sorted(text(value, rules) for value in values)


def text(value: Any, rules: Rules) -> str:
    """A set's element or a dict's key as text, the same for what is equal."""
    return json.dumps(by_value(value) if rules.python_equality else value)


def by_value(value: Any) -> Any:
    """Bools and whole floats as the ints that they equal, also inside tuples."""
    if isinstance(value, bool) or (type(value) is float and value.is_integer()):
        return int(value)
    if type(value) is dict:
        return {tag: by_value(body) for tag, body in as_set(value).items()}
    return [by_value(item) for item in value] if type(value) is list else value


def same_text(expected: str, given: bytes, rules: Rules = EXACT) -> bool:
    """Whether a program's standard output is the expected text."""
    found = given.decode("utf-8", "surrogateescape")
    if not rules.tokens:
        return lines(expected) == lines(found)
    one, other = expected.split(), found.split()
    return len(one) == len(other) and all(same_token(a, b, rules) for a, b in zip(one, other, strict=True))


def same_token(expected: str, given: str, rules: Rules) -> bool:
    """The same word, or the same number: whole ones exactly, others within the tolerances."""
    if expected == given:
        return True
    try:
        one, other = Decimal(expected), Decimal(given)
    except InvalidOperation:
        return False
    if not (one.is_finite() and other.is_finite()):
        return False
    if one == other:
        return True
    if all(token.lstrip("+-").isdigit() for token in (expected, given)):
        return False
    return math.isclose(one, other, rel_tol=rules.rtol, abs_tol=rules.atol)


def lines(text: str) -> list[str]:
    """A text's lines without trailing blanks, and without blank lines at its end."""
    return [line.rstrip() for line in text.replace("\r\n", "\n").rstrip().split("\n")]
