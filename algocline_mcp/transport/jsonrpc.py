"""Checks and repairs a line of the host before the SDK reads it. Pure.

Contract. The SDK drops a line that it cannot decode, or takes a request for a notification (an id of a wrong type), and
the host then waits until its own timeout. `message_of` names what is wrong with a line, and `replies` are the JSON-RPC
errors that the host gets. The cost of a line is judged before anything builds its values: the SDK decodes a line on the
event loop, which nothing may hold for 50 ms, and 100,000 values with their checks took 0.3 to 2 s. A long text costs
little, so texts are limited by their length alone.

A line is scanned in pieces, because one call of a regular expression or of a decoder keeps every other thread, and so
the event loop, from running. Of a line over `WHOLE_BYTES` only the skeleton is decoded here: the line with its long
texts left out. The SDK gets the line with its escapes resolved: 30 MB of them held the event loop for 0.2 to 1 s.
"""

import json
import re
from typing import Any, NamedTuple

from algocline_mcp.transport.lines import EDGE_BYTES, edge_id, readable

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603
# The SDK's decoder fails at 200 levels, and the envelope of a request takes up to five of them.
DEPTH_MAX = 195
# It also fails at integers of more than 4,300 digits, as Python does.
DIGITS_MAX = 4300
# Values and names of one line. The dearest kind, objects of two fields, takes 0.6 µs each in the SDK's decoder alone.
VALUES_MAX = 50_000
WHOLE_BYTES = 64 * 1024
# The texts of one message, as the SDK gets them. The largest limits are 4 MiB of answers, and 1 MiB of code with 2 MiB
# of ctx. The SDK decodes this much within 15 ms (ASCII) to 40 ms (emoji).
TEXTS_MAX_BYTES = 6 * 1024 * 1024
# What is not in a text: 50,000 numbers of 80 digits. 30 MB of blanks held the event loop for 0.2 s.
BARE_MAX_BYTES = 4 * 1024 * 1024
REPLIES_MAX = 100  # to the requests of one batch
_SHORT_TEXT = 256  # bytes of a text that a skeleton keeps
_SHOWN_BYTES = 60

# At most 2 MiB of a JSON text, as far as it is valid. No piece ends within a character or a pair of surrogates.
_TEXT = re.compile(
    rb'(?:[^"\\\x00-\x1f]{1,4096}[\x80-\xbf]{0,3}'
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb'|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){0,512}'
)
_BARE = re.compile(rb'[^"]{0,65536}')  # what stands between two texts
_BRACKET = re.compile(rb"[\[\]{}]")
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (DIGITS_MAX + 1))
_KINDS: dict[type, str] = {
    dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number",
    type(None): "null",
}  # fmt: skip


class Message(NamedTuple):
    """`text`: the line for the SDK, without its line feed. `fields`: the same decoded; of a line over WHOLE_BYTES the
    texts of more than 256 bytes are empty there."""

    text: str
    fields: dict[str, Any]


class Problem(NamedTuple):
    """`ids`: the requests that get the error; None where there is no id to name. Empty: nothing is replied."""

    reason: str
    code: int = INVALID_REQUEST
    ids: tuple[str | int | None, ...] = (None,)


def message_of(line: bytes) -> Message | Problem:
    """`line` (which is not blank) for the SDK, or why the SDK would not read it as the host meant it."""
    skeleton: bytes | None = line
    scan = None
    if not _is_cheap(line):
        scan = _Scan(line)
        reason = scan.run()
        if reason is not None:
            return Problem(reason, ids=(_edge_id(line),))
        skeleton = scan.skeleton
    try:
        if skeleton is not None:
            fields = json.loads(skeleton.decode("utf-8", "replace"))
            return _problem_of_message(fields) or Message(readable(line) if scan is None else scan.text, fields)
    except (ValueError, RecursionError):
        pass
    return Problem(_why_not_json(line), PARSE_ERROR, (_edge_id(line),))


def _is_cheap(line: bytes) -> bool:
    """True for nearly all lines: they need no scan."""
    is_short = len(line) <= WHOLE_BYTES
    return is_short and line.count(b"[") + line.count(b"{") <= DEPTH_MAX and _LONG_NUMBER.search(line) is None


def costly(text: str) -> str | None:
    """Why a text would cost too much to be decoded as JSON; None where it does not. Takes 0.1 s for 6 MiB of escapes,
    in pieces: a text over WHOLE_BYTES belongs on a thread."""
    line = text.encode("utf-8", "replace")
    return None if _is_cheap(line) else _Scan(line).run()


def replies(problem: Problem) -> bytes:
    """The lines that the host gets."""
    error = {"code": problem.code, "message": problem.reason}
    messages = [{"jsonrpc": "2.0", "id": number, "error": error} for number in problem.ids]
    return "".join(f"{json.dumps(message, separators=(',', ':'))}\n" for message in messages).encode()


def report(line: bytes, problem: Problem) -> str:
    """The sentence for stderr. What arrived is shown as ASCII and cut, so that it cannot command a terminal."""
    rest = f" and {len(line) - _SHOWN_BYTES} more bytes" if len(line) > _SHOWN_BYTES else ""
    return f"alc: the host sent a line that is not served: {problem.reason}. It begins {line[:_SHOWN_BYTES]!r}{rest}"


class _Scan:
    """One pass over a line: counts values and levels outside of its texts, leaves the long texts out, and repairs."""

    def __init__(self, line: bytes) -> None:
        self._line = line
        self._skeleton: list[bytes] = []
        self._text: list[str] = []
        self._values = self._texts = self._text_bytes = self._bare_bytes = self._depth = 0
        self._is_broken = False

    @property
    def skeleton(self) -> bytes | None:
        """None if a text is not valid or has no end."""
        return None if self._is_broken else b"".join(self._skeleton)

    @property
    def text(self) -> str:
        """The whole line, with its escapes resolved and its texts made Unicode."""
        return "".join(self._text)

    def run(self) -> str | None:
        """The reason why the line is refused for its cost, or None."""
        position = 0
        while position < len(self._line) and not self._is_broken:
            bare = _BARE.match(self._line, position)
            assert bare is not None  # it matches nothing, too
            self._skeleton.append(bare[0])
            self._text.append(bare[0].decode("utf-8", "replace"))
            reason = self._count(bare[0], position)
            if reason is not None:
                return reason
            position = bare.end()
            if self._line[position : position + 1] == b'"':
                position = self._read_text(position + 1)
                if self._text_bytes > TEXTS_MAX_BYTES:
                    return f"the texts of the message have more than {TEXTS_MAX_BYTES} bytes: shorten them"
        return None

    def _count(self, bare: bytes, position: int) -> str | None:
        # A comma or a colon stands before each value and name but the first of a list or an object.
        self._values += bare.count(b",") + bare.count(b":") + bare.count(b"[") + bare.count(b"{")
        self._texts += 1
        self._bare_bytes += len(bare)
        if self._bare_bytes > BARE_MAX_BYTES:
            return f"the message has more than {BARE_MAX_BYTES} bytes outside of its texts: send it without blanks"
        if max(self._values, self._texts) > VALUES_MAX:
            return f"more than {VALUES_MAX} values in one message: send fewer, or long lists as one text"
        if len(bare) > DIGITS_MAX and _LONG_NUMBER.search(self._line, position, position + len(bare) + DIGITS_MAX):
            return f"a number has more than {DIGITS_MAX} digits: send it as a string"
        for bracket in _BRACKET.findall(bare):
            self._depth += 1 if bracket in b"[{" else -1
            if self._depth < 0:
                self._is_broken = True
                return None
            if self._depth > DEPTH_MAX:
                return f"the arguments nest more than {DEPTH_MAX} levels deep: flatten them"
        return None

    def _read_text(self, start: int) -> int:
        """The position after the text whose content begins at `start`."""
        end = start
        self._text.append('"')
        while (match := _TEXT.match(self._line, end)) is not None and match.end() > end:
            end = match.end()
            piece = _without_escapes(match[0])
            self._text.append(piece)
            self._text_bytes += len(piece) if piece.isascii() else len(piece.encode())
            if self._text_bytes > TEXTS_MAX_BYTES:
                return len(self._line)
        if self._line[end : end + 1] != b'"':
            self._is_broken = True
            return len(self._line)
        self._text.append('"')
        self._skeleton.append(b'"%s"' % (self._line[start:end] if end - start <= _SHORT_TEXT else b""))
        return end + 1


def _without_escapes(piece: bytes) -> str:
    """`piece` of a JSON text with the fewest escapes. Bytes and escapes that are not Unicode become U+FFFD."""
    text = piece.decode("utf-8", "replace")
    if "\\u" not in text:
        return text
    from algocline_mcp.errors import whole  # 0.3 ms of the 4 ms that the front takes to start: few lines need it

    return whole(json.dumps(json.loads(f'"{text}"'), ensure_ascii=False)[1:-1])


def _why_not_json(line: bytes) -> str:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or line[1:2] == b"\0":
        return "the line is UTF-16: send UTF-8"
    if line[:15].lower() == b"content-length:":
        return "Content-Length headers are not read: send each message as one line of JSON"
    return "the line is not JSON: send each message as one line of JSON, ended by a line feed"


def _problem_of_message(message: Any) -> Problem | None:
    if isinstance(message, list):
        ids = [item["id"] for item in message if isinstance(item, dict) and "id" in item and _is_id(item["id"])]
        return Problem(
            "batches are not read: send each message on a line of its own", ids=(*ids[:REPLIES_MAX],) or (None,)
        )
    if not isinstance(message, dict):
        return Problem(f"the message is {_KINDS[type(message)]}: send an object")
    if "method" not in message and ("result" in message or "error" in message):
        return None if message.get("jsonrpc") == "2.0" else Problem('a reply lacks "jsonrpc": "2.0"', ids=())
    number = message.get("id")
    reason = _why_invalid(message)
    return None if reason is None else Problem(reason, ids=(number if _is_id(number) else None,))


def _why_invalid(message: dict[str, Any]) -> str | None:
    if message.get("jsonrpc") != "2.0":
        return 'the message lacks "jsonrpc": "2.0": add it'
    if not isinstance(method := message.get("method"), str):
        return "the message has no method" if method is None else f"method is {_KINDS[type(method)]}: give its name"
    number, params = message.get("id"), message.get("params")
    is_lenient = number is None and method.startswith("notifications/")  # some hosts send `"id": null` with them
    if "id" in message and not _is_id(number) and not is_lenient:
        kind = "a number with a fraction" if isinstance(number, float) else _KINDS[type(number)]
        return f"id is {kind}: give a string or a whole number"
    if params is not None and not isinstance(params, dict):
        return f"params is {_KINDS[type(params)]}: give an object"
    return None


def _is_id(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _edge_id(line: bytes) -> str | int | None:
    text = edge_id(line[:EDGE_BYTES], line[-EDGE_BYTES:])
    if text is None:
        return None
    number: str | int = json.loads(text.decode("utf-8", "replace"))
    return number
