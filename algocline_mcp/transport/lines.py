"""Repair and inspection of JSON-RPC lines between the host and the SDK. Pure.

Contract. The SDK's decoder drops and its writer ends at text that is not Unicode, so `readable` and `writable` repair
what can be repaired. What cannot be repaired is refused by jsonrpc.py. `edge_id` and `split_reply` read the id of a
line without decoding the line. Ids are bytes exactly as in the line, quotes included.
"""

import re

_ESCAPED_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPES = re.compile(
    rb"\\\\"  # an escaped backslash: the next character is plain text
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of a pair
)
_SEPARATORS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_ID = rb'"id"\s*:\s*(-?[0-9]{1,20}|"[^"\\]{0,200}")'
# A quote inside a JSON string is escaped, so only real keys match; before the first nested value and after the
# last one they are keys of the message itself.
_ID_FIRST = re.compile(rb"\A\s*\{[^{}\[\]\\]*?" + _ID)
_ID_LAST = re.compile(rb",\s*" + _ID + rb"(?:\s*,\s*\"(?:jsonrpc|method)\"\s*:\s*\"[^\"\\]*\")*\s*\}\s*\Z")
_REPLY = re.compile(rb'\{"jsonrpc":"2\.0","id":(-?[0-9]+|"(?:[^"\\]|\\.)*"|null)(?=,"(?:result|error)":)')
# What the server says to the front beside JSON-RPC: that it reads, and, followed by the params {"id": ID}, that it has
# not carried a request out because the program on disk is another one now.
READY = b"\n"
OUTDATED = b'{"jsonrpc":"2.0","method":"alc/outdated","params":'
# A notification of MCP. From the server: the front may know an old list. The front tells the host if it did.
PROMPTS_CHANGED = b'{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}\n'
EDGE_BYTES = 4096  # the id is searched in this much of both ends of a line


def readable(line: bytes) -> str:
    """`line` as text for the SDK: invalid UTF-8 and halves of surrogate pairs become U+FFFD, the rest is unchanged."""
    if _ESCAPED_SURROGATE.search(line):
        line = _ESCAPES.sub(lambda match: b"\\ufffd" if match[1] else match[0], line)
    return line.decode("utf-8", "replace")


def writable(text: str) -> bytes:
    """JSON as UTF-8; half of a surrogate pair becomes U+FFFD. U+0085, U+2028 and U+2029 become escapes, because many
    readers of lines, Python's `splitlines` among them, end a line there."""
    try:
        line = text.encode()
    except UnicodeEncodeError:
        from algocline_mcp.errors import whole  # nearly no text needs it, and the front's start does without

        line = whole(text).encode()
    for separator, escape in _SEPARATORS:
        line = line.replace(separator, escape)
    return line


def edge_id(head: bytes, tail: bytes) -> bytes | None:
    """The id of a request with these two ends; None if neither contains it."""
    match = _ID_FIRST.search(head) or _ID_LAST.search(tail)
    return match[1] if match else None


def split_reply(line: bytes) -> tuple[bytes, bytes] | None:
    """The id that `line`, written by the SDK, replies to, and what follows the id; None if `line` is no reply."""
    match = _REPLY.match(line)
    return (match[1], line[match.end() :]) if match else None
