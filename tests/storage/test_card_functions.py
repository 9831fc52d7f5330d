"""The contract of alc.card, for both databases that hold cards: the file of a home, and rows of PostgreSQL.

What strategies and tools make of it is in tests/worker/database/test_cards.py and tests/server/compat/test_cards.py.
"""

import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from algocline_mcp.config.limits import Limits
from algocline_mcp.session.records import Record
from tests.rig.journals import sid_of
from tests.storage.test_key_values import File, Store

SID, OTHER = sid_of(1), sid_of(2)
LIMITS = Limits(cards=4, card_bytes=5000, samples_bytes=64)


def _store(kind: str, request: pytest.FixtureRequest, directory: Path, owner: str = "ann") -> Store:
    if kind == "file":
        return File(directory, LIMITS)
    from tests.cluster.state_store import StateStore

    return StateStore(request.getfixturevalue("database"), LIMITS, [SID, OTHER], owner)


@pytest.fixture(params=["file", "rows"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = _store(request.param, request, tmp_path)
    yield opened
    opened.close()


def outcome_of(store: Store, function: str, *args: Any, **fields: Any) -> Record:
    """Without what is said of the copy as a file, which only a home has."""
    outcome = store.call(f"card.{function}", *args, **fields)
    if function in ("create", "write_samples") and "result" in outcome:
        for name in ("path", "warning"):
            outcome["result"].pop(name, None)
    return outcome


def card(card_id: str, pkg: str = "p", **fields: Any) -> dict[str, Any]:
    """What a strategy gives, complete."""
    known = {"schema_version": "card/v0", "created_at": "2026", "created_by": "me"}
    return {"card_id": card_id, "pkg": {"name": pkg}, **known, **fields}


Calls = list[tuple[Any, ...]]  # function, arguments, and the result; a text after "!" is the beginning of an error
MISSING = "not found: alc.card.list() tells which there are"


def made(card_id: str, pkg: str = "p", **fields: Any) -> tuple[Any, ...]:
    return ("create", card(card_id, pkg, **fields), {"card_id": card_id})


def line(card_id: str, pkg: str = "p", **fields: Any) -> dict[str, Any]:
    return {"card_id": card_id, "pkg": pkg, "created_at": "2026", **fields}


ALIAS = {"pkg": "p\0é", "note": "\0'%s\\\n"}
LONG = "\0" + "".join(Random(1).choices("0123456789abcdef", k=4000))  # longer than an index takes
ODD = "é'%s\"\\\0\n\u2028🎈"
TABLE: dict[str, Calls] = {
    "a card": [made("a", n=[1, {"x": ODD}]), ("get", "a", card("a", n=[1, {"x": ODD}])), ("get", "b", None)],
    "half a pair": [made("a", n="\ud800"), ("get", "a", card("a", n="?")), made("\ud800"), ("get", "?", card("?"))],
    "odd names": [
        made("é'%s\"", "p'%s\n🎈"),
        ("get", "é'%s\"", card("é'%s\"", "p'%s\n🎈")),
        ("list", {"pkg": "p'%s\n🎈"}, [line("é'%s\"", "p'%s\n🎈")]),
    ],
    "null is left out": [made("a", n=None), ("get", "a", card("a"))],
    "a card is there": [
        made("a"),
        ("create", card("a", "q"), "!alc.card.create: card 'a' already exists (immutable): leave card_id out"),
        ("get", "a", card("a")),
    ],
    "no card": [
        ("create", [1], "!alc.card.create: the card must be a table"),
        ("create", {"pkg": {}}, "!alc.card.create: the card must have a text pkg.name"),
        ("create", card("a", "../p"), "!alc.card.create: Invalid pkg name: '../p'"),
        ("create", card("a\0"), "!alc.card.create: Invalid card_id name"),
        ("list", None, []),
    ],
    "a name that no card can have": [
        *((name, "\0", None) for name in ("get", "get_by_alias")),
        ("get", "a\\b", None),
        ("get", "x" * 10_000, None),
        ("find", {"pkg": "\0"}, []),
        ("lineage", {"card_id": "\0"}, None),
        ("get", 7, "!alc.card.get: the card_id must be a string"),
    ],
    "newest first": [
        made("a", created_at="2026-02"),
        made("b", created_at="2026-01"),
        made("c", created_at="2026-02"),
        made("d", "q", created_at=7),
        ("append", "a", {"n": 1}, card("a", created_at="2026-02", n=1)),
        ("list", None, [{**line(name), "created_at": f"2026-0{n}"} for name, n in (("c", 2), ("a", 2), ("b", 1))]
         + [{"card_id": "d", "pkg": "q"}]),
        ("list", {"pkg": "q"}, [{"card_id": "d", "pkg": "q"}]),
        ("find", {"offset": 1, "limit": 1}, [{**line("a"), "created_at": "2026-02"}]),
        ("find", {"offset": 10**30}, []),
        ("find", {"limit": 0}, []),
    ],
    "by their bytes": [
        made("a", created_at="é"), made("b", created_at="Z"), made("c", created_at="a"),
        ("find", {"limit": 1}, [{**line("a"), "created_at": "é"}]),
        ("find", {"offset": 2}, [{**line("b"), "created_at": "Z"}]),
    ],
    "find": [
        made("a", stats={"pass_rate": 0.5}, model={"id": "gpt-4o"}), made("b", stats={"pass_rate": 0.9}), made("c"),
        ("find", {"where": {"stats": {"pass_rate": {"gte": 0.5}}}, "order_by": "stats.pass_rate"},
         [line("a", pass_rate=0.5, model="gpt-4o"), line("b", pass_rate=0.9)]),
        ("find", {"pkg": "q", "where": {}}, []),
        ("find", {"where": {}, "limit": 1, "offset": 1}, [line("b", pass_rate=0.9)]),
        ("find", {"where": 1}, "!alc.card.find: where must be a table of fields"),
        ("find", {"limit": -1}, "!alc.card.find: limit must be a whole number of at least 0"),
        ("list", {"pkg": 1}, "!alc.card.list: pkg must be a string"),
    ],
    "append": [
        made("a"),
        ("append", "a", {"note": ODD, "nothing": None}, card("a", note=ODD)),
        ("append", "a", {"note": 1}, "!alc.card.append: key 'note' already set on card 'a' (immutable)"),
        ("append", "b", {"note": 1}, f"!alc.card.append: card 'b' {MISSING}"),
        ("append", "a", {"metadata": {"prior_card_id": "p"}, "stats": {"pass_rate": 1}},
         card("a", note=ODD, metadata={"prior_card_id": "p"}, stats={"pass_rate": 1})),
        ("list", None, [line("a", pass_rate=1)]),
        ("get", "a", card("a", note=ODD, metadata={"prior_card_id": "p"}, stats={"pass_rate": 1})),
    ],
    "samples": [
        made("a"), made("b"),
        ("write_samples", "a", [ODD, {"s": 1}, None, {"s": 2}], {"count": 4}),
        ("read_samples", "a", None, [ODD, {"s": 1}, None, {"s": 2}]),
        ("read_samples", "a", {"where": {"s": {"gte": 1}}, "offset": 1}, [{"s": 2}]),
        ("read_samples", "a", {"limit": 1}, [ODD]),
        ("write_samples", "a", [1], "!alc.card.write_samples: samples already exist for card 'a' (write-once)"),
        ("read_samples", "b", None, []),
        ("write_samples", "b", {}, {"count": 0}),
        ("read_samples", "b", None, []),
        ("write_samples", "b", [1], "!alc.card.write_samples: samples already exist for card 'b' (write-once)"),
        ("write_samples", "b", 1, "!alc.card.write_samples: samples must be an array"),
        ("read_samples", "c", None, f"!alc.card.read_samples: card 'c' {MISSING}"),
        ("append", "a", {"n": 1}, card("a", n=1)),
        ("read_samples", "a", {"limit": 1}, [ODD]),
    ],
    "an empty sample": [made("a"), ("write_samples", "a", [""], {"count": 1}), ("read_samples", "a", None, [""])],
    "lineage": [
        made("a", stats={"n": 1}),
        made("b", metadata={"prior_card_id": "a", "prior_relation": "sweep"}),
        made("c", metadata={"prior_card_id": "a"}),
        made("d", metadata={"prior_card_id": LONG}),
        ("lineage", {"card_id": "b"}, {
            "root": "b", "truncated": False, "edges": [{"from": "b", "to": "a", "relation": "sweep"}],
            "nodes": [{"card_id": "b", "pkg": "p", "depth": 0, "prior_card_id": "a", "prior_relation": "sweep"},
                      {"card_id": "a", "pkg": "p", "depth": -1, "stats": {"n": 1}}]}),
        ("lineage", {"card_id": "a", "direction": "down", "include_stats": False}, {
            "root": "a", "truncated": False,
            "edges": [{"from": "c", "to": "a"}, {"from": "b", "to": "a", "relation": "sweep"}],
            "nodes": [{"card_id": "a", "pkg": "p", "depth": 0},
                      {"card_id": "c", "pkg": "p", "depth": 1, "prior_card_id": "a"},
                      {"card_id": "b", "pkg": "p", "depth": 1, "prior_card_id": "a", "prior_relation": "sweep"}]}),
        ("lineage", {"card_id": "e"}, None),
        ("lineage", {"card_id": "a", "direction": "x"}, "!alc.card.lineage: direction must be 'up', 'down', or 'both'"),
    ],
    "too many arguments": [("get", "a", 1, "!host function 'card.get' cannot take 2 such arguments")],
    "too few arguments": [("create", "!host function 'card.create' cannot take 0 such arguments")],
    "too many cards": [
        *(made(f"{n}") for n in range(4)),
        ("create", card("4"), "!alc.card.create: 'p' has 4 cards, at most 4: raise ALC_CARDS"),
        made("4", "q"),
        ("find", {"limit": 9, "offset": 4}, [line("0")]),
    ],
    "a card that is too long": [
        ("create", card("a", text="é" * 2500), "!alc.card.create: a card of 5"),
        made("a"),
        ("append", "a", {"text": "é" * 2500}, "!alc.card.append: a card of 5"),
        ("get", "a", card("a")),
        ("write_samples", "a", ["é" * 40], "!alc.card.write_samples: samples of 82 bytes as JSON, at most 64"),
        ("read_samples", "a", None, []),
        ("write_samples", "a", [1], {"count": 1}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("calls", TABLE.values(), ids=TABLE.keys())
def test_functions_return(store: Store, calls: Calls) -> None:
    for function, *args, expected in calls:
        outcome = outcome_of(store, function, *args)
        if isinstance(expected, str) and expected.startswith("!"):
            assert outcome["error"].startswith(expected[1:]), (function, args)
        else:
            assert outcome == {"result": expected}, (function, args)


def test_an_alias_names_one_card_and_the_one_that_was_set_last_is_the_last(store: Store) -> None:
    for name in ("a", "b"):
        outcome_of(store, "create", card(name))
    for name, card_id, options in (("x", "a", None), ("é'%s", "a", ALIAS), ("x", "b", {"pkg": "q"})):
        alias = outcome_of(store, "alias_set", name, card_id, options)["result"]
        assert time.strptime(alias.pop("set_at"), "%Y-%m-%dT%H:%M:%SZ")
        assert alias == {"name": name, "card_id": card_id, **(options or {})}
    listed = outcome_of(store, "alias_list", None)["result"]

    assert [(alias["name"], alias["card_id"], alias.get("note")) for alias in listed] == [
        ("é'%s", "a", ALIAS["note"]),
        ("x", "b", None),
    ]
    assert outcome_of(store, "alias_list", {"pkg": ALIAS["pkg"]})["result"] == listed[:1]
    assert outcome_of(store, "get_by_alias", "x") == {"result": card("b")}
    assert outcome_of(store, "get_by_alias", "y") == {"result": None}
    for name, card_id in (("../x", "a"), ("\0", "a"), ("x", "c")):
        assert "error" in outcome_of(store, "alias_set", name, card_id, None)
    assert outcome_of(store, "alias_list", None)["result"] == listed


def test_what_is_left_out_is_filled_in(store: Store) -> None:
    card_id = outcome_of(store, "create", {"pkg": {"name": "cot"}, "params": {"b": 1, "a": 2}})["result"]["card_id"]
    stored = outcome_of(store, "get", card_id)["result"]

    assert re.fullmatch(r"cot_model_\d{8}T\d{6}_[0-9a-f]{6}", card_id)
    assert sorted(stored) == [
        *("card_id", "created_at", "created_by", "param_fingerprint", "params", "pkg", "schema_version")
    ]


# ── each change happens once ──────────────────────────────────────────────────────────────────────────────

CHANGES: dict[str, tuple[Any, ...]] = {
    "create": ({"pkg": {"name": "p"}},),
    "append": ("a", {"note": 1}),
    "write_samples": ("a", [1]),
    "alias_set": ("x", "a", None),
}


@pytest.mark.parametrize(("function", "args"), CHANGES.items(), ids=CHANGES.keys())
def test_a_change_that_is_sent_again_has_happened_once(store: Store, function: str, args: tuple[Any, ...]) -> None:
    outcome_of(store, "create", card("a"), n=1)
    first = outcome_of(store, function, *args, n=2)
    again = [outcome_of(store, function, *args, n=2) for _ in range(2)]

    assert "result" in first
    assert again == [first, first]
    assert len(outcome_of(store, "list", None)["result"]) == (2 if function == "create" else 1)


def test_the_same_card_of_another_change_is_another_card(store: Store) -> None:
    fields: list[dict[str, Any]] = [{"n": 1}, {"n": 2}, {"sid": OTHER, "n": 1}, {"stream": "1", "n": 1}]
    ids = {outcome_of(store, "create", {"pkg": {"name": "p"}}, **each)["result"]["card_id"] for each in fields}

    assert len(ids) == 4
    assert {each["card_id"] for each in store.reader.cards()} == ids


def test_another_change_under_a_mark_is_seen_and_not_made(store: Store) -> None:
    outcome_of(store, "create", card("a"), n=1)

    assert store.call("card.create", card("b"), n=1) == {"differs": {"called": "card.create", "n": 1}}
    assert store.reader.card("b") == []


def test_a_refused_change_leaves_nothing(store: Store) -> None:
    refused = outcome_of(store, "append", "a", {"n": 1}, n=1)
    outcome_of(store, "create", card("a"), sid=OTHER)

    assert "error" in refused
    assert outcome_of(store, "append", "a", {"n": 1}, n=1) == {"result": card("a", n=1)}


def test_readers_list_summaries_newest_first_and_show_one_card(store: Store) -> None:
    assert store.reader.cards() == store.reader.card("a") == store.reader.card("\0") == []
    for name in ("a", "b"):
        outcome_of(store, "create", card(name, model={"id": "m"}))

    assert store.reader.cards() == [line("b", model="m"), line("a", model="m")]
    assert store.reader.card("a") == [card("a", model={"id": "m"})]
    assert store.reader.card("\ud800") == []


# ── both are the same ─────────────────────────────────────────────────────────────────────────────────────

_EXAMPLE = count()
_NAMES = st.sampled_from(["a", "b", "é", "\0", "", "x\ud800"])
_TEXTS = st.sampled_from(["2026-01", "2026-02", "é", ""])
_CARDS = st.builds(
    lambda name, pkg, created_at, prior, rate: card(
        name, pkg, created_at=created_at, metadata={"prior_card_id": prior}, stats={"pass_rate": rate}
    ),
    st.sampled_from(["a", "b", "c", "é"]),
    st.sampled_from(["p", "q"]),
    _TEXTS,
    _NAMES,
    st.sampled_from([0.5, 1, "x"]),
)
_OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "pkg": st.sampled_from(["p", "q", "\0"]),
        "limit": st.integers(0, 3),
        "offset": st.integers(0, 3),
        "order_by": st.sampled_from(["card_id", "-stats.pass_rate"]),
        "where": st.sampled_from([{}, {"stats": {"pass_rate": 1}}]),
    },
)
_CALLS = st.one_of(
    st.tuples(st.just("create"), _CARDS),
    st.tuples(st.just("create"), _CARDS),
    st.tuples(st.just("append"), _NAMES, st.dictionaries(st.sampled_from(["x", "pkg", "é"]), st.text(max_size=3))),
    st.tuples(st.just("write_samples"), _NAMES, st.lists(st.text(max_size=3), max_size=3)),
    st.tuples(st.sampled_from(["get", "get_by_alias"]), _NAMES),
    st.tuples(st.just("read_samples"), _NAMES, _OPTIONS),
    st.tuples(st.sampled_from(["list", "find"]), _OPTIONS),
    st.builds(
        lambda name, way: ("lineage", {"card_id": name, "direction": way}), _NAMES, st.sampled_from(["up", "both"])
    ),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=st.lists(_CALLS, max_size=25))
def test_the_same_calls_have_the_same_outcomes_in_both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[Any, ...]]
) -> None:
    rows = _store("rows", request, Path(), owner=f"example {next(_EXAMPLE)}")
    file = _store("file", request, tmp_path_factory.mktemp("home"))
    try:
        for name, *args in calls:
            assert outcome_of(file, name, *args) == outcome_of(rows, name, *args), (name, args)
        assert file.reader.cards() == rows.reader.cards()
    finally:
        rows.close()
        file.close()
