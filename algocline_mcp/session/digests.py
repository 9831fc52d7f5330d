"""Digests and sizes of queries and answers."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from algocline_mcp.session.usage import byte_size


def query_digest(query: Mapping[str, Any]) -> str:
    """Of prompt, system and options, whatever the order of the options."""
    return _digest(query)


def answer_digest(item: Mapping[str, Any]) -> str:
    """Of what was said; not of `usage` and `by`, which may differ in a repeat."""
    return _digest([item.get("response"), item.get("refuse")])


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical.encode(value).encode()).hexdigest()[:32]


_canonical = json.JSONEncoder(sort_keys=True)


def _answer_size(item: Mapping[str, Any]) -> int:
    return byte_size(item.get("response") or "") + byte_size(item.get("refuse") or "")
