"""What fuzzers feed to every reader of bytes from outside, and what must hold. For test_fuzz.py and bench/fuzz.py.

A property is a strategy of hypothesis and a check, which raises where something else happens than a value or an error
of its own: whatever is read, no other exception leaves a reader, and a journal that a keeper wrote can be read back.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, ProtocolError
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.pool.replies import result_of
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import LineBuffer, PoolRequest, PoolResponse
from algocline_mcp.session.events import Answer, Continue
from algocline_mcp.session.records import ON_ERROR, SHAPES, Record
from algocline_mcp.session.results import view
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import journal, journal_lines
from algocline_mcp.worker.database.connection import FUNCTIONS
from algocline_mcp.worker.keeper import engine_start
from algocline_mcp.worker.keeper.inherited import Inherited
from algocline_mcp.worker.keeper.replay import Replay
from tests.attacks.in_process import SID, Scene, scene
from tests.rig.journals import answered, final

JOURNALS = Path(__file__).parent.parent / "journals"

# ── values ────────────────────────────────────────────────────────────────────────────────────────────────

texts = st.sampled_from(["", " ", "p", "A", "k", "../x", "a\0", "\ud800", "é" * 9, "x" * 70]) | st.text(max_size=6)
numbers = (
    st.sampled_from([0, 1, -1, 5, 1 << 53, 1 << 63, -(1 << 64), 10**30, 10**400])
    | st.floats(allow_nan=False)
    | st.integers()
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


def _line(value: Any) -> bytes:
    """Infinity is a token that Python writes and no reader here may take."""
    return json.dumps(value).encode() + b"\n"


@st.composite
def _broken(draw: st.DrawFn, whole: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """An object with up to two fields dropped, replaced or added."""
    value = dict(draw(whole))
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from([*value, "extra", "stream", "id"]))
        if draw(st.booleans()):
            value[name] = draw(values)
        else:
            value.pop(name, None)
    return value


# ── the protocol between server and worker ────────────────────────────────────────────────────────────────

_answers = st.fixed_dictionaries({"query_id": texts, "response": texts}, optional={"usage": values, "by": texts})
_requests = st.fixed_dictionaries(
    {"op": st.sampled_from(messages.OPS), "id": st.integers(0, 9), "sid": texts, "protocol": st.just(1)},
    optional={"wait_s": numbers, "answers": st.lists(_broken(_answers), max_size=2), "mode": texts, "version": texts},
)
_identity = {"protocol": st.just(1), "version": texts, "sid": texts, "pid": st.integers(), "start_time": st.integers()}
_responses = st.fixed_dictionaries(
    _identity | {"id": st.integers(), "data": values, "error": st.none(), "code": values}
)
protocol_streams = st.lists(_broken(_requests | _responses).map(_line) | st.binary(max_size=30), max_size=4).map(
    b"".join
)


def read_protocol(stream: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        for line in LineBuffer(1 << 16).feed(stream):
            for kind in (PoolRequest, PoolResponse):
                with contextlib.suppress(ProtocolError):
                    message = kind.decode(line)
                    assert kind.decode(message.encode()[:-1]) == message


# ── the messages of an engine ─────────────────────────────────────────────────────────────────────────────

_functions = (
    st.sampled_from([*FUNCTIONS, "env", "module", "scenario", "time", "budget", "llm_calls", "llm", "fork"]) | texts
)
_names = (
    "pkg",
    "where",
    "order_by",
    "limit",
    "offset",
    "card_id",
    "relation_filter",
    "depth",
    "direction",
    "sink",
    "a.b",
)
_args = st.lists(values, max_size=3) | st.lists(
    st.dictionaries(st.sampled_from(_names), values, max_size=3)
    | st.fixed_dictionaries({"pkg": st.fixed_dictionaries({"name": st.sampled_from(["p", "q"])}), "a": values}),
    min_size=1,
    max_size=2,
)
_options = st.dictionaries(texts, values, max_size=2)
_query = st.builds(lambda prompt, more: {"max_tokens": 5, **more, "prompt": prompt}, texts, _options)
_messages: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "ask": {"queries": st.lists(_broken(_query), min_size=1, max_size=3)},
    "call": {"name": _functions, "args": _args},
    "fork": {"strategies": st.lists(st.sampled_from(["a", "b"]), max_size=3), "ctx": _options,
             "on_error": st.sampled_from(ON_ERROR)},
    "log": {"level": st.sampled_from(["info", "warn"]), "message": texts, "warning": st.booleans()},
    "progress": {"step": numbers, "total": numbers, "message": st.none() | texts},
    "end": {"result": values, "stats": _options},
    "end ": {"error": texts, "warnings": st.lists(texts, max_size=2)},
}  # fmt: skip
_message = st.one_of(
    [_broken(st.fixed_dictionaries({"op": st.just(op.strip()), **fields})) for op, fields in _messages.items()]
)
_sent = st.lists(_message.map(_line) | st.binary(max_size=12), min_size=1, max_size=3).map(b"".join)
_steps = st.tuples(st.sampled_from(["", "", "", "0", "1"]), _sent) | st.tuples(
    st.sampled_from(["answer", "die", "due", "revive"]), st.just(b"")
)
engine_plays = st.lists(_steps, max_size=8)

_LIMITS = Limits(
    strikes=2, notes_bytes=200, state_keys=3, cards=3, journal_bytes=1 << 16, children_max=4, line_bytes=1 << 16
)
_STRATEGY = Strategy("return 1", ctx={"env": {"inject": {"A": "b"}}, "budget": {"max_llm_calls": 4}})


def play_engine(play: list[tuple[str, bytes]]) -> None:
    """A session whose engines send this, while a host answers, engines die and workers are replaced."""
    with tempfile.TemporaryDirectory(prefix="alc-fuzz-") as root, scene(Path(root), _LIMITS, _STRATEGY) as played:
        for step, content in play:
            if step in _ACTS:
                _ACTS[step](played)
            else:
                played.send(step, content)
            _check_view(played)
        _check_journal(played)


def _answer(played: Scene) -> None:
    """As the request of a host, see request_runner.py."""
    runner = played.runner
    if runner.session.phase is not Phase.STUCK:
        runner.start_engines()
    played.read()
    if runner.fatal is None and runner.step_error is None and not runner.is_replaying:
        decision = runner.apply(Continue(tuple(Answer(one, "A") for one in runner.session.pending), 2e9))
        if decision.is_retry:
            runner.start_engines()
    runner.step_error = None
    played.read()


def _die(played: Scene) -> None:
    for far in played.far:
        far.close()
    for engine in list(played.runner.engines.by_stream.values()):
        if played.runner.engines.is_current(engine):
            played.runner.read(engine)


def _pass_time(played: Scene) -> None:
    for engine in played.runner.engines.by_stream.values():
        engine.ends_at = engine.sample_at = 0.0
    played.runner.process_due()


_ACTS: dict[str, Callable[[Scene], None]] = {"answer": _answer, "die": _die, "due": _pass_time, "revive": Scene.revive}


def _check_view(played: Scene) -> None:
    feed_result = json.loads(messages.encode(played.runner.feed_result()))
    result_of(SID, {"feed_result": feed_result})


def _check_journal(played: Scene) -> None:
    session = played.runner.session
    read = fold(journal.read(played.path, is_for_host=False))
    assert (read.final is None) == (session.final is None)
    for name in ("phase", "pending", "answered", "notes_bytes", "streams", "warnings", "crash"):
        assert getattr(read, name) == getattr(session, name), name


# ── journals ──────────────────────────────────────────────────────────────────────────────────────────────

_whole = [path.read_bytes() for path in sorted(JOURNALS.glob("*/*.journal"))]
_records = [
    *map(list, (answered(SID, 2), [*answered(SID, 1), final()])),
    *(journal_lines.scan(one).records for one in _whole),
]
_damage = st.tuples(
    st.sampled_from(["flip", "cut", "drop", "insert", "repeat"]), st.floats(0, 1), st.binary(max_size=9)
)
damaged_journals = st.tuples(st.sampled_from(_whole), st.lists(_damage, max_size=3))


def read_damaged(case: tuple[bytes, list[tuple[str, float, bytes]]]) -> None:
    """Damage is named as such: what is read is a beginning of what was written."""
    content, damage = case
    whole = journal_lines.scan(content).records
    for kind, place, more in damage:
        at = int(place * max(0, len(content) - 1))
        content = _damaged(content, kind, at, more)
    scan = journal_lines.scan(content)
    scanner = journal_lines.Scanner()
    parts = [content[at : at + 7] for at in range(0, len(content), 7)]
    assert [record for part in parts for record in scanner.feed(part)] == scan.records
    if not any(kind in ("repeat", "drop") for kind, _, _ in damage):
        assert scan.records == whole[: len(scan.records)]
    _use(scan.records)


def _damaged(content: bytes, kind: str, at: int, more: bytes) -> bytes:
    match kind:
        case "flip" if content:
            return content[:at] + bytes([content[at] ^ (more[0] if more else 1)]) + content[at + 1 :]
        case "cut":
            return content[:at]
        case "drop":
            return content[:at] + content[at + len(more) * 40 :]
        case "repeat":
            return content[:at] + content[max(0, at - 400) : at] + content[at:]
        case _:
            return content[:at] + more + content[at:]


@st.composite
def forged_records(draw: st.DrawFn) -> list[Record]:
    """Records of a real journal, some of them changed, in another order, or made up. Their checksums are right."""
    records = [dict(record) for record in draw(st.sampled_from(_records))]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(records) - 1))
        match draw(st.sampled_from(["break", "break", "swap", "drop", "repeat", "make"])):
            case "break":
                records[at] = draw(_broken(st.just(records[at])))
            case "swap":
                records[at], records[-1] = records[-1], records[at]
            case "drop" if len(records) > 1:
                del records[at]
            case "make":
                fields = SHAPES[kind := draw(st.sampled_from(list(SHAPES)))]
                named = dict.fromkeys([*fields.required, *fields.optional])
                records.insert(at, {"kind": kind} | {name: draw(values) for name in named})
            case _:
                records.insert(at, records[at])
    return records


def read_forged(records: list[Record]) -> None:
    with contextlib.suppress(ValueError):  # an infinity is no JSON: such a journal cannot be written
        content = b"".join(journal_lines.encode({**record, "s": 0}, 0) for record in records)
        _use(journal_lines.scan(content).records)


def _use(records: list[Record]) -> None:
    """As a worker, or a reader of a finished session, does."""
    try:
        session = fold(records)
    except AlcError:
        return
    if records:
        messages.encode(view(session, now_s=2e9))
        replay, inherited = Replay(lambda place: records[place]), Inherited(records[0])
        for place, record in enumerate(records):
            replay.add(record, place)
            inherited.add(record)
        with contextlib.suppress(KeyError):  # `language` and `s`: of another program, which is told apart before
            engine_start.of_strategy(records[0])


# ── playing ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Property:
    cases: st.SearchStrategy[Any]
    check: Callable[[Any], None]
    examples: int  # some seven seconds on one idle core

    def play(self, examples: int, number: int | None = None) -> None:
        """`number`: a seed; None: the same cases each time."""
        checked = given(self.cases)(lambda case: self.check(case))
        if number is not None:
            checked = seed(number)(checked)
        settings(
            max_examples=examples,
            derandomize=number is None,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(checked)()


PROPERTIES = {
    "protocol": Property(protocol_streams, read_protocol, 350),
    "engine": Property(engine_plays, play_engine, 200),
    "damaged journal": Property(damaged_journals, read_damaged, 1500),
    "forged journal": Property(forged_records(), read_forged, 900),
}
