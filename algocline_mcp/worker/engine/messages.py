"""The messages of an engine, parsed and checked. Pure.

Contract: the keeper trusts no byte of an engine before `parse` has checked it. `parse` returns an Ask, Wait, Call,
Fork, Log or End, made of plain JSON values within the limits, or raises ProtocolError: then the engine is broken or
hostile, and the keeper kills it. A mistake that an honest strategy can make (a prompt too long or empty, too many
prompts) does not break the protocol: `problem_of` returns a sentence, and the strategy gets it as an error.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from algocline_mcp.errors import ProtocolError
from algocline_mcp.protocol import messages
from algocline_mcp.session.digests import json_size
from algocline_mcp.session.records import ON_ERROR, Record
from algocline_mcp.session.usage import byte_size
from algocline_mcp.session.waits import WAKE_S

_STRATEGY = re.compile(r"[A-Za-z0-9_]+")
_OPTION_TYPES = (str, int, float, bool)
_EXAMPLE = 'say what the model shall do, as in alc.llm("Summarise in one line: …")'
_WHOLE = range(-(1 << 63), 1 << 63)  # integers of Lua; a longer one comes from an engine that is broken or hostile
_LEVELS = ("error", "warn", "info", "debug")
PHASE_CHARS = 1 << 10  # of the name of a phase; an engine cuts it at fewer
_LOG_CHARS = 1 << 17  # of one log line or report of progress; an engine cuts them at half of it
_ERROR_CHARS = 4 << 20  # of the text of an error: with escapes it fits a line to the server
_WARNINGS, _WARNINGS_BYTES = 64, 1 << 20  # of one end; an engine sends at most twenty
_NAME_CHARS, _ARGS = 64, 8  # of a host function: its name, and how many arguments it has
_SCHEMA_BYTES = 64 << 10
_OWN_KEYS = ("op", "id", "query_id", "digest", "stream")  # fields that the session adds; a strategy cannot set them


@dataclass(frozen=True, slots=True)
class Ask:
    queries: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Asks, and goes on with any answer to what its stream has asked by waits, or after `wake_s` seconds. The reply is
    `{answered: [[n, {response | refuse}], …], woke}`; `n` counts the stream's queries of waits, from 0. Withdraws
    queries that are not answered yet; any other number in `withdrawn` has no effect."""

    queries: tuple[Record, ...]  # maybe none
    wake_s: float | None
    withdrawn: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    args: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Fork:
    strategies: tuple[str, ...]
    ctx: Record
    on_error: str


@dataclass(frozen=True, slots=True)
class Log:
    entry: Record  # {level, message, warning?, phase?} or {progress: {step, total, message}}


@dataclass(frozen=True, slots=True)
class End:
    outcome: Record  # {result, stats?, warnings?} or {error, warnings?}


Message = Ask | Wait | Call | Fork | Log | End


def parse(line: bytes, *, json_depth: int) -> Message:
    """The message of one line, without its newline. Raises ProtocolError."""
    raw = messages.decode(line)
    reader = _READERS.get(str(raw.get("op")))
    if reader is None:
        raise ProtocolError(f"engine sent unknown op {raw.get('op')!r}")
    if messages.is_deeper(raw, json_depth + 3):  # levels around the strategy's own value, as in {args: [key, [value]]}
        raise ProtocolError(f"engine sent a message nested over {json_depth} levels")
    return reader(raw)


def problem_of(message: Message, limits: Mapping[str, int], *, ends_bytes: int = 0) -> str | None:
    """Returns a sentence for the strategy where a message asks nothing or is over a limit of its session, else None.

    `limits` are those that the session's header recorded. `ends_bytes`: size of the results that other children of the
    same fork have returned, where the message comes from a child.
    """
    if isinstance(message, Wait) and not 0 <= (message.wake_s or 0) <= WAKE_S:
        return f"wait: a timer of {message.wake_s:g} s, at least 0 and at most {WAKE_S} (a day): set one in that range"
    if isinstance(message, Ask | Wait):
        for n, query in enumerate(message.queries, 1):
            if not query["prompt"] or query["prompt"].isspace():
                where = f"item {n}: " if len(message.queries) > 1 else ""
                return f"alc.llm: {where}the prompt is empty: {_EXAMPLE}"
        size = sum(map(json_size, message.queries))  # the whole frame: options and their names too
        if len(message.queries) > limits["queries"]:
            return f"alc.llm: {len(message.queries)} prompts at once, at most {limits['queries']}: ask in parts"
        if size > limits["prompt_bytes"]:
            return f"alc.llm: prompt of {size} bytes with its options, at most {limits['prompt_bytes']}: ask in parts"
    if isinstance(message, Call):
        return (_too_large_for_state if message.name.startswith("state.") else _too_large_call)(message, limits)
    if isinstance(message, Fork):
        longest = max(map(len, message.strategies))
        if longest > limits["state_key_bytes"]:
            return f"alc.fork: a name of {longest} bytes, at most {limits['state_key_bytes']}: use a shorter one"
        size = json_size(message.ctx)
        if size > limits["ctx_bytes"]:
            return f"alc.fork: ctx of {size} bytes as JSON, at most {limits['ctx_bytes']}: make it smaller"
    if isinstance(message, End) and ("result" in message.outcome or ends_bytes):
        size = len(messages.encode(message.outcome))
        if size + ends_bytes > limits["result_bytes"]:
            beside = f" beside {ends_bytes} of other children" if ends_bytes else ""
            cure = "return less of it" if ends_bytes else "return less of it, no answer is lost"
            limit = f"at most {limits['result_bytes']} (ALC_RESULT_BYTES)"
            return f"result of {size} bytes as JSON in ASCII{beside}, {limit}: {cure}"
    return None


def _too_large_call(call: Call, limits: Mapping[str, int]) -> str | None:
    """Checks the arguments of every other function: texts of env, module and card.* are names, the rest is content."""
    for arg in call.args:
        is_name = isinstance(arg, str)
        size, limit = json_size(arg) - 2 * is_name, limits["state_key_bytes" if is_name else "prompt_bytes"]
        if size > limit:
            return f"alc.{call.name}: an argument of {size} bytes, at most {limit}: use a shorter one"
    return None


def _too_large_for_state(call: Call, limits: Mapping[str, int]) -> str | None:
    """Checks the arguments of alc.state: the first is a key, the others are values."""
    names = ["key", *["value"] * len(call.args)]
    for name, value in zip(names, call.args, strict=False):
        size = byte_size(json.dumps(value, ensure_ascii=False)) - 2 * isinstance(value, str)
        if size > limits[f"state_{name}_bytes"]:
            limit = limits[f"state_{name}_bytes"]
            return f"alc.{call.name}: a {name} of {size} bytes as JSON, at most {limit}: use a shorter one"
    return None


def _ask(raw: Record) -> Ask:
    queries = _typed(raw, "queries", list)
    if not queries:
        raise ProtocolError("engine asked without a query")
    return Ask(tuple(_query(query) for query in queries))


def _wait(raw: Record) -> Wait:
    wake_s = raw.get("wake_s")
    if wake_s is not None:
        wake_s = _typed(raw, "wake_s", float if isinstance(wake_s, float) else int)
    withdrawn = _typed(raw, "withdrawn", list) if "withdrawn" in raw else ()
    if not all(type(number) is int for number in withdrawn):
        raise ProtocolError("engine sent 'wait' with a bad 'withdrawn'")
    return Wait(tuple(_query(query) for query in _typed(raw, "queries", list)), wake_s, tuple(withdrawn))


def _query(raw: Any) -> Record:
    if not isinstance(raw, dict):
        raise ProtocolError("engine asked with a query that is not an object")
    query: Record = {
        "prompt": _typed(raw, "prompt", str),
        "system": None if raw.get("system") is None else _typed(raw, "system", str),
        "max_tokens": _typed(raw, "max_tokens", int),
    }
    for name, value in raw.items():
        if name in query or name in _OWN_KEYS:
            continue
        if name == "schema" and isinstance(value, dict):
            if json_size(value) <= _SCHEMA_BYTES:  # of a larger one the answer is checked by the strategy alone
                query[name] = value
            continue
        if not isinstance(value, _OPTION_TYPES) or (isinstance(value, int) and value not in _WHOLE):
            raise ProtocolError(f"engine asked with a bad option {name!r}")
        query[name] = value
    return query


def _call(raw: Record) -> Call:
    name, args = _typed(raw, "name", str), _typed(raw, "args", list)
    if len(name) > _NAME_CHARS or len(args) > _ARGS:
        raise ProtocolError(f"engine called a function with {len(name)} characters and {len(args)} arguments")
    return Call(name, tuple(args))


def _fork(raw: Record) -> Fork:
    strategies, on_error = _typed(raw, "strategies", list), _typed(raw, "on_error", str)
    is_named = all(isinstance(name, str) and _STRATEGY.fullmatch(name) for name in strategies)
    if not strategies or not is_named or on_error not in ON_ERROR:
        raise ProtocolError("engine forked something that is not a strategy")
    return Fork(tuple(strategies), _typed(raw, "ctx", dict), on_error)


def _log(raw: Record) -> Log:
    entry = {"level": _typed(raw, "level", str), "message": _message(raw)}
    if entry["level"] not in _LEVELS:
        raise ProtocolError("engine sent a log line with a bad 'level'")
    if "phase" in raw:
        entry["phase"] = _typed(raw, "phase", str)
        if not 0 < len(entry["phase"]) <= PHASE_CHARS:
            raise ProtocolError(f"engine sent a phase of {len(entry['phase'])} characters")
    return Log(entry | ({"warning": True} if raw.get("warning") is True else {}))


def _progress(raw: Record) -> Log:
    step, total = _typed(raw, "step", int), _typed(raw, "total", int)
    message = None if raw.get("message") is None else _message(raw)
    return Log({"progress": {"step": step, "total": total, "message": message}})


def _message(raw: Record) -> str:
    """Of a log line or of progress. Not more than a host is shown at once: waiting calls get it as it is."""
    message: str = _typed(raw, "message", str)
    if len(message) > _LOG_CHARS:
        raise ProtocolError(f"engine sent a message of {len(message)} characters, at most {_LOG_CHARS}")
    return message


def _end(raw: Record) -> End:
    outcome: Record
    if "error" in raw:
        outcome = {"error": _typed(raw, "error", str)[:_ERROR_CHARS]}
    elif "result" in raw:
        outcome = {"result": raw["result"]}
        if "stats" in raw:
            outcome["stats"] = _typed(raw, "stats", dict)
    else:
        raise ProtocolError("engine ended with neither result nor error")
    if "warnings" in raw:
        outcome["warnings"] = _typed(raw, "warnings", list)
        if not all(isinstance(warning, str) for warning in outcome["warnings"]):
            raise ProtocolError("engine sent warnings that are not texts")
        if len(outcome["warnings"]) > _WARNINGS or json_size(outcome["warnings"]) > _WARNINGS_BYTES:
            raise ProtocolError(f"engine sent over {_WARNINGS} warnings, or over {_WARNINGS_BYTES} bytes of them")
    return End(outcome)


def _typed(raw: Record, name: str, kind: type) -> Any:
    value = raw.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value not in _WHOLE):
        raise ProtocolError(f"engine sent {raw.get('op')!r} with a bad {name!r}")
    return value


_READERS: dict[str, Callable[[Record], Message]] = {
    "ask": _ask,
    "wait": _wait,
    "call": _call,
    "fork": _fork,
    "log": _log,
    "progress": _progress,
    "end": _end,
}
