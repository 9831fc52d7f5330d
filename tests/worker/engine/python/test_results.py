"""Results of a strategy in Python: what becomes JSON, and what is refused with its path."""

import collections
import dataclasses
import datetime
import enum
import types
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import pytest

from algocline_mcp.worker.engine.python.results import ResultError, to_json


@dataclasses.dataclass
class Point:
    x: int
    tags: Any = ()


class Pair(NamedTuple):
    a: int
    b: Any


class Color(enum.Enum):
    RED = "red"
    BOTH = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    def __str__(self) -> str:
        return "other"


class Slots:
    __slots__ = ("a",)


async def later() -> None: ...


async def many() -> AsyncIterator[int]:
    yield 1


NAN = float("nan")
VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (5, 5),
    (1.5, 1.5),
    (-(1 << 63), -(1 << 63)),
    ("tëxt", "tëxt"),
    (Text("own"), "own"),
    ((1, (2, 3)), [1, [2, 3]]),
    ({"a": {"b": []}}, {"a": {"b": []}}),
    ({3, 1, 2}, [1, 2, 3]),
    ({"b", 2, None, "a", 1.5, (1,)}, [1.5, 2, "a", "b", [1], None]),
    (frozenset({"b", "a"}), ["a", "b"]),
    ({"b": 1, "a": 2}.keys(), ["b", "a"]),
    ({"b": 1, "a": 2}.values(), [1, 2]),
    ({"b": 1, "a": 2}.items(), [["b", 1], ["a", 2]]),
    (range(3), [0, 1, 2]),
    (collections.deque([1, 2]), [1, 2]),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (collections.OrderedDict(a=1), {"a": 1}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (collections.ChainMap({"a": 1}), {"a": 1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (types.SimpleNamespace(a=1), {"a": 1}),
    ((n * n for n in range(3)), [0, 1, 4]),
    (map(str, [1, 2]), ["1", "2"]),
    (zip("ab", [1, 2], strict=True), [["a", 1], ["b", 2]]),
    (enumerate("a"), [[0, "a"]]),
    (Point(1, [Pair(1, {"c": Color.RED})]), {"x": 1, "tags": [{"a": 1, "b": {"c": "red"}}]}),
    (Color.BOTH, [1, 2]),
    (Level.LOW, 1),
    (datetime.date(2026, 1, 2), "2026-01-02"),
    (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00+00:00"),
    (datetime.time(3, 4), "03:04:00"),
    (datetime.timedelta(minutes=1.5), 90.0),
    (Decimal("1.50"), "1.50"),
    (Fraction(1, 3), "1/3"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (PurePosixPath("a/b"), "a/b"),
    (b"t\xc3\xab", "të"),
    ([NAN, float("inf"), -float("inf")], [None, None, None]),
    ("\ud83d\ude00 \ud800", "😀 \ufffd"),
    ({1: "a", 1.5: "b", None: "c", Color.RED: "d"}, {"1": "a", "1.5": "b", "null": "c", "red": "d"}),
    ({True: 1, False: 2}, {"true": 1, "false": 2}),
    ({datetime.date(2026, 1, 2): 1}, {"2026-01-02": 1}),
    ({"\ud800": 1}, {"\ufffd": 1}),
]


@pytest.mark.parametrize(("value", "json"), VALUES)
def test_a_value_of_python_becomes_json(value: Any, json: Any) -> None:
    result = to_json(value)

    assert result == json
    assert type(result) is type(json)


loop: list[Any] = [1]
loop.append({"again": loop})
REFUSED: list[tuple[Any, str]] = [
    (object(), "result: cannot return object; return dict, list, text, number, bool, None, or a dataclass"),
    ({"a": [1, object()]}, "result.a[1]: cannot return object; return dict"),
    ({"a b": {"c": 1j}}, 'result["a b"].c: cannot return complex;'),
    (Point(1, [Slots()]), "result.tags[0]: cannot return Slots;"),
    (loop, "result[1].again: contains itself"),
    (1 << 63, "result: an integer of 64 bits, at most 63 and a sign: return str(n)"),
    ({"n": 10**5000}, "result.n: an integer of 16610 bits"),
    (b"\xff", "result: bytes that are no UTF-8: return base64.b64encode(value).decode()"),
    ({(1, 2): 3}, "result: has a key of type tuple, (1, 2): keys are texts and numbers"),
    ({"a": {1: 1, "1": 2}}, 'result.a: has two keys that JSON writes as "1"'),
    ([to_json], "result[0]: is the function to_json: call it, to_json(…)"),
    (Point, "result: is the class Point: return a value of it"),
    (types, "result: is the module types"),
    (ValueError("x"), "result: cannot return ValueError: return str(error)"),
    (many(), "result: cannot return async_generator: write [x async for x in …]"),
]


@pytest.mark.parametrize(("value", "sentence"), REFUSED)
def test_a_value_without_json_is_refused_with_its_path(value: Any, sentence: str) -> None:
    with pytest.raises(ResultError) as caught:
        to_json(value)

    assert str(caught.value).startswith(sentence)


def test_a_coroutine_is_not_awaited_by_the_result_and_says_so() -> None:
    coroutine = later()

    with pytest.raises(ResultError, match=r"result.a: is the coroutine later: write await later\(…\)"):
        to_json({"a": coroutine})

    coroutine.close()


def test_nesting_ends_at_the_limit_of_json() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = [value]
        return value

    assert to_json(nested(128)) == nested(128)
    with pytest.raises(ResultError, match="nested deeper than 128 levels"):
        to_json(nested(129))


def test_the_same_value_twice_is_no_loop() -> None:
    shared = [1]

    assert to_json([shared, shared]) == [[1], [1]]
