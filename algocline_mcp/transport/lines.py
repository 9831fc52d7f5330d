"""Repair and inspection of JSON-RPC lines between the host and the SDK. Pure.

Contract. The SDK drops a request that it cannot decode, and the host then waits until its own timeout; the SDK's writer
ends at text that is not Unicode. Therefore `readable` and `writable` repair what can be repaired, `why_unreadable`
names the reason why the SDK would drop a line, and `refusal` is the reply to such a line. `request_id`, `reply_id` and
`split_reply` read the id of a line without decoding the line. Ids are bytes exactly as in the line, quotes included.
"""

import re

# The SDK's decoder fails at 200 levels, and the envelope of a request takes up to five of them.
DEPTH_MAX = 195
# It also fails at integers of more than 4,300 digits, as Python does.
DIGITS_MAX = 4300

_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"\\\\"  # an escaped backslash: the next character is plain text
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of a pair
)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NESTING = re.compile(rb"[\[\]{}]")
_LONG_NUMBER = re.compile(rb"[0-9]{%d}" % (DIGITS_MAX + 1))
_ID = rb'"id"\s*:\s*(-?[0-9]{1,20}|"[^"\\]{0,200}")'
# A quote inside a JSON string is escaped, so only real keys match; before the first nested value and after the
# last one they are keys of the message itself.
_ID_FIRST = re.compile(rb"\A\s*\{[^{}\[\]\\]*?" + _ID)
_ID_LAST = re.compile(rb",\s*" + _ID + rb"(?:\s*,\s*\"(?:jsonrpc|method)\"\s*:\s*\"[^\"\\]*\")*\s*\}\s*\Z")
_REPLY = re.compile(rb'\{"jsonrpc":"2\.0",' + _ID)
EDGE_BYTES = 4096  # the id is searched in this much of both ends of a line


def readable(line: bytes) -> str:
    """`line` as text for the SDK: invalid UTF-8 and halves of surrogate pairs become U+FFFD, the rest is unchanged."""
    if _ESCAPED_SURROGATE.search(line):
        line = _ESCAPES.sub(lambda match: b"\\ufffd" if match[1] else match[0], line)
    return line.decode("utf-8", "replace")


def writable(text: str) -> bytes:
    """`text` as UTF-8; half of a surrogate pair becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def why_unreadable(line: bytes) -> str | None:
    """The reason why the SDK's decoder would drop `line` although the line is JSON; None if the SDK reads it."""
    has_long_number = _LONG_NUMBER.search(line) is not None
    if not has_long_number and line.count(b"[") + line.count(b"{") <= DEPTH_MAX:
        return None
    bare = _STRING.sub(b"", line)
    if _LONG_NUMBER.search(bare):
        return f"a number has more than {DIGITS_MAX} digits: send it as a string"
    depth = 0
    for bracket in _NESTING.findall(bare):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            return f"the arguments nest more than {DEPTH_MAX} levels deep: flatten them"
    return None


def refusal(head: bytes, tail: bytes, reason: str) -> bytes | None:
    """The JSON-RPC error line for a request with these two ends; None if neither contains the id. `reason`: ASCII."""
    match = _ID_FIRST.search(head) or _ID_LAST.search(tail)
    if match is None:
        return None
    error = b'{"jsonrpc":"2.0","id":%s,"error":{"code":-32600,"message":"%s"}}\n'
    return error % (match[1], reason.encode("ascii"))


def request_id(line: bytes) -> bytes | None:
    """The id of the request in `line`; None for a notification or a reply."""
    if b'"method"' not in line:
        return None
    match = _ID_FIRST.search(line) or _ID_LAST.search(line, max(0, len(line) - EDGE_BYTES))
    return match[1] if match else None


def split_reply(line: bytes) -> tuple[bytes, bytes] | None:
    """The id that `line` replies to and the rest of the line after the id; None if `line` is not a reply."""
    match = _REPLY.match(line)
    return (match[1], line[match.end() :]) if match else None


def reply_id(line: bytes) -> bytes | None:
    """The id that `line`, of the SDK or of `refusal`, replies to; None if `line` is not a reply."""
    match = _REPLY.match(line)
    return match[1] if match else None
