"""Digests and sizes of queries and answers. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from algocline_mcp.session.usage import byte_size


def query_digest(query: Mapping[str, Any]) -> str:
    """Digest of prompt, system and options; the order of the options does not matter. 32 hexadecimal digits.

    Without a label, a name for people: who renames a prompt keeps its answers. Without a schema: the prompt asks for
    its form, and journals of before hold no more.
    """
    if isinstance(query.get("label"), str):
        query = {key: value for key, value in query.items() if key != "label"}
    return digest_with_label(query)


def digest_with_label(query: Mapping[str, Any]) -> str:
    """As journals and recordings of before have it, whose digests counted the label."""
    if isinstance(query.get("schema"), Mapping):
        query = {key: value for key, value in query.items() if key != "schema"}
    return _digest(query)


def recorded_digest(query: Mapping[str, Any]) -> str:
    """Of a query in a record: computed anew where the recorded one may count the label."""
    if not isinstance(query.get("label"), str):
        return str(query["digest"])
    return query_digest({key: value for key, value in query.items() if key not in ("id", "digest", "stream")})


def answer_digest(item: Mapping[str, Any]) -> str:
    """Digest of `response` or `refuse`; `usage` and `by` may differ in a repeat. 32 hexadecimal digits."""
    return _digest([item.get("response"), item.get("refuse")])


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical.encode(value).encode()).hexdigest()[:32]


_canonical = json.JSONEncoder(sort_keys=True)


def json_size(value: Any) -> int:
    """Bytes of a JSON value in UTF-8, without blanks, and without the escapes that its texts may need: the size of what
    was given, whoever writes it down."""
    if isinstance(value, str):
        return byte_size(value) + 2
    if isinstance(value, Mapping):
        size = sum(byte_size(key) + json_size(item) + 4 for key, item in value.items())
        return max(2, size + 1)
    if isinstance(value, (list, tuple)):
        return max(2, sum(json_size(item) + 1 for item in value) + 1)
    return 4 if value is None else len(repr(value))  # of True and False as of numbers


def answer_size(item: Mapping[str, Any]) -> int:
    """Bytes of UTF-8 of what the host answered."""
    return byte_size(item.get("response") or "") + byte_size(item.get("refuse") or "")
