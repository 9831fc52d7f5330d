"""Digests and sizes of queries and answers. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from algocline_mcp.session.usage import byte_size


def query_digest(query: Mapping[str, Any]) -> str:
    """Digest of prompt, system and options; the order of the options does not matter. 32 hexadecimal digits."""
    return _digest(query)


def answer_digest(item: Mapping[str, Any]) -> str:
    """Digest of `response` or `refuse`; `usage` and `by` may differ in a repeat. 32 hexadecimal digits."""
    return _digest([item.get("response"), item.get("refuse")])


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical.encode(value).encode()).hexdigest()[:32]


_canonical = json.JSONEncoder(sort_keys=True)


def answer_size(item: Mapping[str, Any]) -> int:
    """Bytes of UTF-8 of what the host answered."""
    return byte_size(item.get("response") or "") + byte_size(item.get("refuse") or "")
