"""The contract of alc.state, for both databases that hold it: the file of a home, and rows of PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algocline_mcp.config.limits import Limits
from algocline_mcp.history.database_reader import SHOWN_CHARS, StateFile, StateReader
from algocline_mcp.session.records import Record
from algocline_mcp.worker.database.call_context import CardDirectories, EffectMark
from algocline_mcp.worker.database.connection import FUNCTIONS, Database, MarkDiffers
from algocline_mcp.worker.engine.messages import Call
from tests.rig.journals import sid_of

SID, OTHER = sid_of(1), sid_of(2)
LIMITS = Limits(state_keys=3)


class Store(Protocol):
    reader: StateReader

    def call(
        self, name: str, *args: Any, namespace: str = "default", sid: str = SID, stream: str = "", n: int | None = None
    ) -> Record:
        """The outcome, or `{differs}`. `n`: number of the change in its stream; None: the next one."""
        ...

    def close(self) -> None: ...


class File:
    def __init__(self, directory: Path, limits: Limits = LIMITS) -> None:
        path = directory / "state.db"
        self.reader: StateReader = StateFile(path)
        self._database = Database(path, limits, CardDirectories(directory / "cards"))
        self._next = 0

    def call(
        self, name: str, *args: Any, namespace: str = "default", sid: str = SID, stream: str = "", n: int | None = None
    ) -> Record:
        mark = None
        if FUNCTIONS[name]:
            self._next = max(self._next, n or 0) + 1
            mark = EffectMark(sid, stream, self._next if n is None else n)
        try:
            return self._database.perform(Call(name, args), namespace, mark)
        except MarkDiffers as exc:
            return {"differs": exc.recorded}

    def close(self) -> None:
        self._database.close()


@pytest.fixture(params=["file", "rows"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "file":
        opened: Store = File(tmp_path)
    else:
        from tests.cluster.state_store import StateStore

        opened = StateStore(request.getfixturevalue("database"), LIMITS, [SID, OTHER])
    yield opened
    opened.close()


Calls = list[tuple[Any, ...]]  # function, arguments, and at the end the result; a text after "!" is that of an error
NO_NUMBER = "!incr: value at 'k' is not a number"
TOO_FAR = "!incr: value at 'k' would leave the range of numbers"
DEEP = [1, "é", None, {"b": {}, "a": 1.5}]
TABLE: dict[str, Calls] = {
    "a value": [("set", "k", DEEP, None), ("get", "k", [DEEP])],
    "no value": [("get", "k", []), ("has", "k", False), ("keys", []), ("delete", "k", False)],
    "null is a value": [("set", "k", None, None), ("get", "k", [None]), ("has", "k", True)],
    "a value is replaced": [("set", "k", 1, None), ("set", "k", "x", None), ("get", "k", ["x"])],
    "set_nx": [("set_nx", "k", 1, True), ("set_nx", "k", 2, False), ("get", "k", [1])],
    "delete": [("set", "k", 1, None), ("delete", "k", True), ("has", "k", False), ("delete", "k", False)],
    "incr": [("incr", "k", 1, 0, 1.0), ("incr", "k", -2.5, 0, -1.5), ("get", "k", [-1.5])],
    "incr from a default": [("incr", "k", 1, 10, 11.0), ("incr", "k", 1, 10, 12.0)],
    "incr of a text": [("set", "k", "x", None), ("incr", "k", 1, 0, NO_NUMBER), ("get", "k", ["x"])],
    "incr of a truth": [("set", "k", True, None), ("incr", "k", 1, 0, NO_NUMBER)],
    "incr by a text": [("incr", "k", "1", 0, "!incr: delta is not a number"), ("has", "k", False)],
    "incr out of range": [("incr", "k", 1.7e308, 1.7e308, TOO_FAR), ("has", "k", False)],
    "incr of a long whole": [("set", "k", 10**400, None), ("incr", "k", 1, 0, TOO_FAR)],
    "swap": [("swap", "k", [], [1], True), ("swap", "k", [2], [3], False), ("swap", "k", [1], [2], True)],
    "swap compares content": [("set", "k", {"b": 1, "a": 2}, None), ("swap", "k", [{"a": 2, "b": 1}], [0], True)],
    "swap to nothing": [("set", "k", 1, None), ("swap", "k", [1], [], True), ("has", "k", False)],
    "swap of nothing": [("swap", "k", [], [], True), ("swap", "k", [1], [], False), ("has", "k", False)],
    "swap of no lists": [
        ("swap", "k", 1, [2], "!swap: the old and the new value are each a list of one value or none")
    ],
    "keys by their bytes": [*(("set", key, 1, None) for key in ("é", "B", "a")), ("keys", ["B", "a", "é"])],
    "a key with NUL": [("set", "a\0b", "\0", None), ("keys", ["a\0b"]), ("get", "a\0b", ["\0"]), ("has", "a", False)],
    "a key beyond the first plane": [("set", "🎈", "🎈", None), ("set", "\uffff", 1, None), ("keys", ["\uffff", "🎈"])],
    "half a pair": [("set", "\ud800", "\ud800", None), ("get", "?", ["?"]), ("keys", ["?"])],
    "an empty key": [("set", "", 0, None), ("get", "", [0])],
    "a key like SQL": [("set", "%s'\\", "%s'\\", None), ("get", "%s'\\", ["%s'\\"]), ("keys", ["%s'\\"])],
    "a key that is no text": [
        ("set", 7, 1, "!alc.state.set: a key is a string"),
        ("get", None, "!alc.state.get: a key"),
    ],
    "too few arguments": [("set", "k", "!host function 'state.set' cannot take 1 such arguments")],
    "too many arguments": [("keys", 1, "!host function 'state.keys' cannot take 1 such arguments")],
    "too many keys": [
        *(("set", f"k{n}", n, None) for n in range(3)),
        (
            "set",
            "k3",
            3,
            "!alc.state.set: namespace 'default' has 3 keys, at most 3: delete some, or raise ALC_STATE_KEYS",
        ),
        ("incr", "k3", 1, 0, "!alc.state.incr: namespace 'default' has 3 keys, at most 3"),
        ("set", "k2", "again", None),
        ("delete", "k0", True),
        ("swap", "k3", [], [3], True),
        ("keys", ["k1", "k2", "k3"]),
    ],
}


@pytest.mark.parametrize("calls", TABLE.values(), ids=TABLE.keys())
def test_functions_return(store: Store, calls: Calls) -> None:
    for function, *args, expected in calls:
        outcome = store.call(f"state.{function}", *args)
        if isinstance(expected, str) and expected.startswith("!"):
            assert outcome["error"].startswith(expected[1:]), (function, args)
        else:
            assert outcome == {"result": expected}, (function, args)


@pytest.mark.parametrize("namespace", ["../evil", "a/b", "a\\b", "", "a\0b", ".."])
@pytest.mark.parametrize("call", [("state.set", "k", 1), ("state.get", "k")])
def test_a_namespace_that_could_be_a_path_is_refused(store: Store, namespace: str, call: tuple[Any, ...]) -> None:
    outcome = store.call(*call, namespace=namespace)

    assert outcome["error"].startswith(f"Invalid namespace: '{namespace}': ctx._ns is a text")
    assert store.reader.namespaces() == {}


def test_namespaces_are_separate(store: Store) -> None:
    for namespace in ("b", "a", "é\ud800"):
        store.call("state.incr", "k", 1, 0, namespace=namespace)

    assert store.call("state.incr", "k", 1, 0, namespace="a") == {"result": 2.0}
    assert store.call("state.get", "k", namespace="b") == {"result": [1.0]}
    assert store.reader.namespaces() == {"a": 1, "b": 1, "é?": 1}


# ── each change happens once ──────────────────────────────────────────────────────────────────────────────


def test_a_change_that_is_sent_again_has_happened_once(store: Store) -> None:
    outcomes = [store.call("state.incr", "k", 1, 0, n=1) for _ in range(3)]

    assert outcomes == [{"result": 1.0}] * 3
    assert store.call("state.get", "k") == {"result": [1.0]}


def test_a_change_that_is_sent_again_gets_its_outcome_whatever_others_have_done(store: Store) -> None:
    first = store.call("state.swap", "k", [], [1], n=1)
    store.call("state.delete", "k", sid=OTHER, n=1)

    assert store.call("state.swap", "k", [], [1], n=1) == first == {"result": True}
    assert store.call("state.has", "k") == {"result": False}


@pytest.mark.parametrize("again", [{"n": 2}, {"stream": "1", "n": 1}, {"sid": OTHER, "n": 1}])
def test_another_number_stream_or_session_is_another_change(store: Store, again: dict[str, Any]) -> None:
    store.call("state.incr", "k", 1, 0, n=1)

    assert store.call("state.incr", "k", 1, 0, **again) == {"result": 2.0}


DIFFERENT: dict[str, dict[str, Any]] = {
    "arguments": {"args": ("state.incr", "k", 2, 0)},
    "function": {"args": ("state.set", "k", 2)},
    "namespace": {"namespace": "other"},
    "number": {"n": 1},
}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=DIFFERENT.keys())
def test_another_change_under_a_mark_is_seen_and_not_made(store: Store, change: dict[str, Any]) -> None:
    store.call("state.incr", "k", 1, 0, n=2)
    fields: dict[str, Any] = {"args": ("state.incr", "k", 1, 0), "n": 2} | change
    outcome = store.call(*fields.pop("args"), **fields)

    assert outcome == {"differs": {"called": "state.incr", "n": 2}}
    assert store.call("state.get", "k") == {"result": [1.0]}
    assert store.reader.namespaces() == {"default": 1}


def test_a_refused_change_leaves_no_mark(store: Store) -> None:
    store.call("state.set", "k", "text", n=1)
    refused = store.call("state.incr", "k", 1, 0, n=2)
    store.call("state.delete", "k", sid=OTHER, n=1)

    assert "error" in refused
    assert store.call("state.incr", "k", 1, 0, n=2) == {"result": 1.0}


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_stored_is_listed_by_pages_and_found_by_a_part_of_its_key(store: Store) -> None:
    for key in ("Alpha", "alpha2", "b\0alphA"):
        store.call("state.set", key, {"of": key})

    def listed(**query: Any) -> tuple[list[str], int]:
        fields: dict[str, Any] = {"query": "", "after": "", "limit": 9}
        page, total = store.reader.keys("default", **fields | query)
        return [key for key, _ in page], total

    assert listed() == (["Alpha", "alpha2", "b\0alphA"], 3)
    assert listed(limit=2) == (["Alpha", "alpha2"], 3)
    assert listed(limit=2, after="alpha2") == (["b\0alphA"], 3)
    assert listed(query="ALPHA", after="A") == (["Alpha", "alpha2", "b\0alphA"], 3)
    assert listed(query="2") == (["alpha2"], 1)
    assert listed(query="none") == ([], 0)
    assert store.reader.names("default") == ["Alpha", "alpha2", "b\0alphA"]
    assert store.reader.keys("default", query="2", after="", limit=1)[0] == [("alpha2", '{"of":"alpha2"}')]
    assert store.reader.value("default", "b\0alphA") == [{"of": "b\0alphA"}]


def test_a_long_value_is_listed_by_its_beginning(store: Store) -> None:
    store.call("state.set", "k", "é" * 2 * SHOWN_CHARS)

    assert store.reader.keys("default", query="", after="", limit=1)[0] == [("k", '"' + "é" * (SHOWN_CHARS - 1))]


@pytest.mark.parametrize("namespace", ["none", "a\0b", "\ud800", ""])
def test_what_is_not_there_is_read_as_nothing(store: Store, namespace: str) -> None:
    store.call("state.set", "k", 1)

    assert store.reader.names(namespace) == []
    assert store.reader.keys(namespace, query="\0", after="\ud800", limit=1) == ([], 0)
    assert store.reader.value(namespace, "k") == []
    assert store.reader.value("default", "\0") == []


# ── both are the same ─────────────────────────────────────────────────────────────────────────────────────

_KEYS = st.sampled_from(["a", "A", "é", "\0", ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
_SOME = st.lists(st.sampled_from([1, 2.0, "x", None]), max_size=1)
_CALLS = st.one_of(
    st.tuples(st.just("state.set"), _KEYS, _VALUES),
    st.tuples(st.just("state.set_nx"), _KEYS, _VALUES),
    st.tuples(st.sampled_from(["state.get", "state.has", "state.delete"]), _KEYS),
    st.tuples(st.just("state.keys")),
    st.tuples(st.just("state.incr"), _KEYS, st.integers() | st.floats(allow_nan=False), st.just(0)),
    st.tuples(st.just("state.swap"), _KEYS, _SOME, _SOME),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(_CALLS, max_size=25))
def test_the_same_calls_have_the_same_outcomes_in_both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, ...]]
) -> None:
    from tests.cluster.state_store import StateStore

    rows = StateStore(request.getfixturevalue("database"), LIMITS, [SID, OTHER], owner=f"of {len(calls)} {id(calls)}")
    file = File(tmp_path_factory.mktemp("home"))
    try:
        for name, *args in calls:
            assert file.call(name, *args) == rows.call(name, *args), (name, args)
        assert file.reader.namespaces() == rows.reader.namespaces()
    finally:
        rows.close()
        file.close()
