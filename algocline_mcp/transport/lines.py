"""What a line from or to the host needs so that the SDK reads every request and can write every reply. Pure.

Contract: the SDK drops a line that it cannot decode, and the host waits until its own time-out. So what can be
repaired is repaired (`readable`), and for the rest `why_unreadable` gives a reason and `refusal` the reply.
"""

import re

# The SDK's decoder gives up at 200 levels and the envelope takes up to five of them.
DEPTH_MAX = 195
# ... and at integers of more than 4,300 digits, as Python does.
DIGITS_MAX = 4300

_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"\\\\"  # an escaped backslash: what follows it is text
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a whole pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one
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
EDGE_BYTES = 4096  # this much of both ends of a line is searched for its id


def readable(line: bytes) -> str:
    """`line` as the text that the SDK accepts: what is no Unicode becomes U+FFFD, everything else stays."""
    if _ESCAPED_SURROGATE.search(line):
        line = _ESCAPES.sub(lambda found: b"\\ufffd" if found[1] else found[0], line)
    return line.decode("utf-8", "replace")


def writable(text: str) -> bytes:
    """`text` as UTF-8; half of a surrogate pair becomes U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").encode()


def why_unreadable(line: bytes) -> str | None:
    """Why the SDK's decoder would drop `line` although it is JSON; None if it would not."""
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
    """The JSON-RPC error for a request of which only both ends are known; None if its id is not among them."""
    found = _ID_FIRST.search(head) or _ID_LAST.search(tail)
    if found is None:
        return None
    error = b'{"jsonrpc":"2.0","id":%s,"error":{"code":-32600,"message":"%s"}}\n'
    return error % (found[1], reason.encode("ascii"))


def request_id(line: bytes) -> bytes | None:
    """The id of a request as it stands in `line`; None for a notification and for what is no request."""
    if b'"method"' not in line:
        return None
    found = _ID_FIRST.search(line) or _ID_LAST.search(line, max(0, len(line) - EDGE_BYTES))
    return found[1] if found else None


def split_reply(line: bytes) -> tuple[bytes, bytes] | None:
    """The id that a line replies to, and what follows it; None for any other line."""
    found = _REPLY.match(line)
    return (found[1], line[found.end() :]) if found else None


def reply_id(line: bytes) -> bytes | None:
    """The id that a line of the SDK or of `refusal` replies to."""
    found = _REPLY.match(line)
    return found[1] if found else None
