"""Values cross as data with their exact types, and are compared as data."""

import json
import math

import pytest

from openmimo.judge import wire
from openmimo.judge.compare import Rules, same_text, same_value

VALUES = [
    None, True, False, 0, 1, -1, 2**63, 2**64, -(2**300), 0.0, 1.0, 0.1, math.inf, -math.inf, "", "a", "$", "ü\n\0",
    [], [1], [[1]], (), (1,), ((1,),), [(1,)], set(), {1}, {(1, 2)}, frozenset(), frozenset({1}), {}, {"a": 1},
    {"b": 1}, {1: "a"}, {1.5: 1}, {None: 1}, {(1,): 1}, {True: 1}, {"$tuple": [1]}, {"$a": {"$b": 2}}, b"", b"a",
    1j, 0j,
]  # fmt: skip


def crossed(value):
    return json.loads(json.dumps(wire.encode(value)))


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_survives_by_exact_type(value):
    back = wire.decode(crossed(value))
    assert type(back) is type(value) and repr(back) == repr(value)


def test_only_itself_is_equal():
    for one in VALUES:
        for other in VALUES:
            assert same_value(crossed(one), crossed(other)) == (one is other), (one, other)


def test_subclasses_cross_as_their_base_and_others_do_not():
    import collections
    import enum

    Point = collections.namedtuple("Point", "x y")
    assert wire.encode(Point(1, 2)) == {"$tuple": [1, 2]}
    assert wire.encode(collections.OrderedDict(a=1)) == {"a": 1}
    assert wire.encode(enum.IntEnum("E", "a").a) == 1
    for value in (object(), len, iter([]), range(3), [lambda: 0]):
        with pytest.raises(TypeError):
            wire.encode(value)
    loop: list = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        wire.encode(loop)


def test_rows_may_hold_tagged_json_or_values():
    assert wire.encode({"$tuple": [1]}, escape=False) == {"$tuple": [1]} == wire.encode((1,), escape=False)
    assert wire.decode({"$dict": [["$tuple", [1]]]}) == {"$tuple": [1]}


def test_floats_have_a_tolerance_and_integers_none():
    assert same_value(0.3, 0.1 + 0.2) and same_value([1e9], [1e9 + 1]) and same_value(math.nan, math.nan)
    assert not same_value(0.3, 0.3001) and not same_value(math.inf, 1e308) and not same_value(0.0, math.nan)
    assert not same_value(10**12, 10**12 + 1)
    assert same_value(crossed({1: 0.3}), crossed({1: 0.1 + 0.2})) and same_value(crossed(0.3j), crossed(0.1j + 0.2j))


def test_order_counts_only_where_it_exists():
    assert same_value({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert same_value(crossed({1: "a", 2: "b"}), crossed({2: "b", 1: "a"}))
    assert same_value({"$set": [1, 2, 3]}, {"$set": [3, 1, 2]})
    assert not same_value([1, 2], [2, 1])


def test_tuples_equal_lists_where_stated():
    assert same_value(crossed([(1, [2])]), crossed(([1, (2,)],)), Rules(tuple_equals_list=True))
    assert not same_value(crossed((1, 2)), crossed({1, 2}), Rules(tuple_equals_list=True))


@pytest.mark.parametrize(
    "given", [{"$set": 1}, {"$dict": [1]}, {"$dict": [[1]]}, {"$tuple": None}, {"$int": 1}, {"$x": 1}]
)
def test_malformed_data_is_unequal(given):
    for value in VALUES:
        assert not same_value(crossed(value), given)


def test_text_is_blind_to_trailing_blanks_only():
    assert same_text("1 2\n3", b"1 2 \r\n3\n\n") and same_text("", b"\n ")
    assert not same_text("1 2", b"1  2") and not same_text("1\n2", b"1 2") and not same_text("1", b" 1")
    assert not same_text("1\n\n2", b"1\n2") and not same_text("1", b"1\xff")
