"""Protocol of JSON lines between server and worker: framing, codec, requests and responses. Pure: no input or output.

Contract: one JSON object per line, ASCII with escapes (a lone surrogate must not stop a writer), LF at the end. A
request names the protocol, its own `id` and its session `sid`, so handshake and request travel together. A response
names the protocol, the program's version and the worker. The envelope `{ok, data: {kind, …}, error}` and the ops are
those of upstream's `pool-worker`. A malformed line raises ProtocolError, whose sentence may be sent to the other side.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from algocline_mcp.errors import ProtocolError

PROTOCOL = 1
WRONG_PROGRAM = 3  # exit code of a worker that a server of another program version has started
NO_MEMORY = 4  # exit code of a worker that had no memory left
MAX_WAIT_S = 86_400.0  # a day: a client that wants to wait longer asks again

Op = Literal["run", "continue", "status", "shutdown"]
OPS: tuple[Op, ...] = ("run", "continue", "status", "shutdown")


def encode(value: Mapping[str, Any]) -> bytes:
    """One line with its LF. `value` is JSON without NaN or infinities."""
    return _encoder.encode(value).encode("ascii") + b"\n"


def decode(line: bytes, *, yields: bool = False) -> dict[str, Any]:
    """The object on one line. Raises ProtocolError for other JSON, for NaN and for very deep nesting. `yields`: other
    threads run meanwhile."""
    decoder = _yielding_decoder if yields else _decoder
    try:
        text = line.decode("utf-8")
        # White space around the object: only in lines of other programs, and `raw_decode` takes none before it.
        is_bare = text[:1] == "{"
        value, end = decoder.raw_decode(text) if is_bare else (None, 0)
        if not is_bare or end < len(text):
            value = decoder.decode(text)
    except RecursionError as exc:
        raise ProtocolError("malformed request: nested too deeply") from exc
    except ValueError as exc:
        raise ProtocolError(f"malformed request: {exc}") from exc
    if not isinstance(value, dict):
        raise ProtocolError(f"malformed request: expected an object, got {type(value).__name__}")
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _integer(digits: str) -> int:
    return int(digits)


def _same(value: dict[str, Any]) -> dict[str, Any]:
    return value


# Made once: json.dumps and json.loads make new ones for each call that differs from their defaults.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
# The decoder in C does not let go of the interpreter, but a function in Python does: 11 MB of numbers or objects kept
# all other threads waiting for 0.3 to 0.45 s, and so for 0.02 to 0.09 s. It takes up to twice the time.
_yielding_decoder = json.JSONDecoder(
    parse_constant=_no_constant, parse_float=_finite, parse_int=_integer, object_hook=_same
)


def is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects nest more than `depth` levels. Walks level by level, never recursing."""
    level = [value]
    for _ in range(depth + 1):
        level = [value for value in level if isinstance(value, (dict, list))]
        if not level:
            return False
        level = [inner for outer in level for inner in (outer.values() if isinstance(outer, dict) else outer)]
    return True


class LineBuffer:
    """Cuts a byte stream into lines. Holds at most `limit` bytes of an unfinished line.

    In about as many bytes of memory: as a list of parts, a line that came two bytes at a time took 20 times its size.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Each line that `chunk` completes, without its LF. Raises ProtocolError for a line longer than the limit."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            self._check(end - start)
            line = chunk[start:end]
            if self._held:
                line = bytes(self._held + line)
                self._held = bytearray()
            yield line
            start = end + 1
        if start < len(chunk):
            self._check(len(chunk) - start)
            self._held += chunk[start:]

    def _check(self, more: int) -> None:
        if len(self._held) + more > self._limit:
            self._held = bytearray()
            raise ProtocolError(f"line longer than {self._limit} bytes", code="too_large")


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """A request of a client to a worker.

    run: reply at the next pause (may be sent again). continue: accept `answers`, then as run. status: what continue
    would reply now. shutdown: `mode` hibernate, cancel, or make_room, which hibernates a worker without another request
    and is refused as busy otherwise. `answers`: the items of one alc_continue, `{query_id, response | refuse, usage?,
    by?}`. `wait_s`: seconds that the worker may wait before it replies. `check`: an answer that does not fit the schema
    of its prompt is refused.
    """

    op: Op
    id: int
    sid: str
    wait_s: float = 0.0
    answers: Sequence[Mapping[str, Any]] = ()
    mode: str = "hibernate"
    protocol: int = PROTOCOL
    version: str = ""
    check: bool = False

    def encode(self) -> bytes:
        return encode(_shallow(self))

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """Raises ProtocolError, naming the field that does not fit."""
        raw = decode(line)
        request = cls(
            op=_field(raw, "op", str),
            id=_field(raw, "id", int),
            sid=_field(raw, "sid", str),
            wait_s=_field(raw, "wait_s", (int, float), 0.0),
            answers=_field(raw, "answers", list, []),
            mode=_field(raw, "mode", str, "hibernate"),
            protocol=_field(raw, "protocol", int),
            version=_field(raw, "version", str, ""),
            check=raw.get("check") is True,
        )
        if request.op not in OPS:
            raise ProtocolError(f"malformed request: unknown op {request.op!r}; known are {', '.join(OPS)}")
        if request.mode not in ("hibernate", "make_room", "cancel"):
            raise ProtocolError(f"malformed request: unknown mode {request.mode!r}")
        if not 0 <= request.wait_s <= MAX_WAIT_S:
            raise ProtocolError(f"malformed request: wait_s {request.wait_s} is not between 0 and {MAX_WAIT_S}")
        for answer in request.answers:
            _check_answer(answer)
        return request


def _shallow(value: "PoolRequest | WorkerIdentity") -> dict[str, Any]:
    """As dataclasses.asdict, without copies of the values."""
    return {name: getattr(value, name) for name in value.__slots__}


def _check_answer(raw: Any) -> None:
    """`{query_id?, response | refuse, usage?: {name: count}, by?}`."""
    if not isinstance(raw, dict):
        raise ProtocolError("malformed request: each answer must be an object")
    if not all(isinstance(raw.get(name), str | None) for name in ("query_id", "response", "refuse", "by")):
        raise ProtocolError("malformed request: query_id, response, refuse and by of an answer are texts")
    if (raw.get("response") is None) == (raw.get("refuse") is None):
        raise ProtocolError("malformed request: an answer has either a response or a refuse")
    usage = raw.get("usage")
    counts = list(usage.values()) if isinstance(usage, dict) else [] if usage is None else [None]
    if not all(type(count) is int and 0 <= count < 1 << 53 for count in counts):
        raise ProtocolError("malformed request: usage of an answer is an object of counts")


def _field(raw: Mapping[str, Any], name: str, kind: Any, default: Any = None) -> Any:
    value = raw.get(name, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ProtocolError(f"malformed request: field {name!r} is missing or of the wrong type")
    return value


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """The worker that replies: protocol, version, session, and its process (start time in clock ticks)."""

    protocol: int
    version: str
    sid: str
    pid: int
    start_time: int


@dataclass(frozen=True, slots=True)
class PoolResponse:
    """A reply of a worker. `data` is tagged by `kind` (feed, shutdown, progress); `error` comes with `code`.

    Any number of responses of kind progress may precede the reply.
    """

    id: int
    worker: WorkerIdentity
    data: Mapping[str, Any] | None = None
    error: str | None = None
    code: str | None = None

    @property
    def is_ok(self) -> bool:
        return self.error is None

    @property
    def is_progress(self) -> bool:
        return self.data is not None and self.data.get("kind") == "progress"

    def encode(self) -> bytes:
        envelope = {"id": self.id, "ok": self.is_ok, "data": self.data, "error": self.error, "code": self.code}
        return encode(_shallow(self.worker) | envelope)

    @classmethod
    def decode(cls, line: bytes, *, yields: bool = False) -> Self:
        """Raises ProtocolError, naming the field that does not fit. `yields`: as for `decode`."""
        raw = decode(line, yields=yields)
        data, error, code = raw.get("data"), raw.get("error"), raw.get("code")
        if data is not None and not isinstance(data, dict):
            raise ProtocolError("malformed response: data is not an object")
        if (data is None) == (error is None) or not isinstance(error, str | None):
            raise ProtocolError("malformed response: exactly one of data and error is needed")
        worker = WorkerIdentity(
            protocol=_field(raw, "protocol", int),
            version=_field(raw, "version", str),
            sid=_field(raw, "sid", str),
            pid=_field(raw, "pid", int),
            start_time=_field(raw, "start_time", int),
        )
        return cls(
            id=_field(raw, "id", int),
            worker=worker,
            data=data,
            error=error,
            code=code if isinstance(code, str) else None,
        )
