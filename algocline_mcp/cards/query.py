"""The query language of `alc.card.find`: which cards `where` selects, and how `order_by` sorts them. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from algocline_mcp.cards.card import value_at

Predicate = Callable[[Any], bool]
OrderKey = tuple[tuple[str, ...], bool]  # path, whether the largest value comes first


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return type(value).__name__


def _is_equal(a: Any, b: Any) -> bool:
    return _kind(a) == _kind(b) and bool(a == b)


def _is_comparable(a: Any, b: Any) -> bool:
    return _kind(a) == _kind(b) and _kind(a) in ("bool", "number", "str")


def _holds(container: Any, item: Any) -> bool:
    if isinstance(container, str):
        return isinstance(item, str) and item in container
    return isinstance(container, list) and any(_is_equal(element, item) for element in container)


def _is_in(value: Any, among: Any) -> bool:
    return isinstance(among, list) and any(_is_equal(value, element) for element in among)


# Operator -> (actual value or None, wanted value) -> whether it holds. A missing field is never equal, less, greater or
# in; so it is `ne` and `nin`.
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": _is_equal,
    "ne": lambda actual, wanted: not _is_equal(actual, wanted),
    "lt": lambda actual, wanted: _is_comparable(actual, wanted) and actual < wanted,
    "lte": lambda actual, wanted: _is_comparable(actual, wanted) and actual <= wanted,
    "gt": lambda actual, wanted: _is_comparable(actual, wanted) and actual > wanted,
    "gte": lambda actual, wanted: _is_comparable(actual, wanted) and actual >= wanted,
    "in": lambda actual, wanted: actual is not None and _is_in(actual, wanted),
    "nin": lambda actual, wanted: actual is None or not _is_in(actual, wanted),
    "exists": lambda actual, wanted: (actual is not None) == (wanted is not False),
    "contains": _holds,
    "starts_with": lambda actual, wanted: (
        isinstance(actual, str) and isinstance(wanted, str) and actual.startswith(wanted)
    ),
}


def predicate(where: Any) -> Predicate:
    """`{stats = {pass_rate = {gte = 0.8}}, pkg = {name = "cot"}, _or = {…, …}}`: every key holds at its path.

    Raises ValueError.
    """
    return _all(_clauses(where, ()))


def _all(clauses: Iterable[Predicate]) -> Predicate:
    all_clauses = tuple(clauses)
    return lambda card: all(clause(card) for clause in all_clauses)


def _any(clauses: Iterable[Predicate]) -> Predicate:
    any_clause = tuple(clauses)
    return lambda card: any(clause(card) for clause in any_clause)


def _not(clause: Predicate) -> Predicate:
    return lambda card: not clause(card)


def _clauses(where: Any, path: tuple[str, ...]) -> Iterator[Predicate]:
    if not isinstance(where, dict):
        raise ValueError("where must be a table of fields")
    for key, wanted in where.items():
        if key in ("_and", "_or"):
            if not isinstance(wanted, list) and wanted != {}:
                raise ValueError(f"{key} must be an array of tables")
            groups = [_all(_clauses(sub, path)) for sub in wanted]
            yield _all(groups) if key == "_and" else _any(groups)
        elif key == "_not":
            yield _not(_all(_clauses(wanted, path)))
        elif isinstance(wanted, dict) and wanted and wanted.keys() <= _OPERATORS.keys():
            yield from (_comparison((*path, key), name, value) for name, value in wanted.items())
        elif isinstance(wanted, dict):
            yield from _clauses(wanted, (*path, key))
        else:
            yield _comparison((*path, key), "eq", wanted)


def _comparison(path: tuple[str, ...], name: str, wanted: Any) -> Predicate:
    operator = _OPERATORS[name]
    return lambda card: operator(value_at(card, path), wanted)


def order_keys(order_by: Any) -> list[OrderKey]:
    """Keys for sort_rows, the most important first; `{}` is Lua's empty array. Raises ValueError."""
    if order_by is None or order_by == {}:
        return []
    keys = [order_by] if isinstance(order_by, str) else order_by
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("order_by must be a string or an array of strings")
    parsed = [(tuple(key.removeprefix("-").split(".")), key.startswith("-")) for key in keys]
    for key, (path, _) in zip(keys, parsed, strict=True):
        if not all(path):
            raise ValueError(f"invalid order_by key: '{key}': write it as 'stats.pass_rate' or '-stats.pass_rate'")
    return parsed


def sort_rows(rows: Iterable[tuple[Any, Sequence[Any]]], keys: Sequence[OrderKey]) -> list[Any]:
    """The first item of each row, sorted by the values of the second, one per key: cards are too large to be held.

    Equal rows keep their order; a row that lacks a value is last in either direction.
    """
    result = list(rows)
    for i, (_, is_descending) in reversed(list(enumerate(keys))):
        having = [row for row in result if row[1][i] is not None]
        lacking = [row for row in result if row[1][i] is None]
        having.sort(key=lambda row: _rank(row[1][i]), reverse=is_descending)
        result = having + lacking
    return [item for item, _ in result]


def _rank(value: Any) -> tuple[str, Any]:
    """A key that can be compared with every other key."""
    kind = _kind(value)
    return (kind, value) if kind in ("bool", "number", "str") else (kind, "")
