"""alc.stats: values that go to `stats.custom` of the result, and the count of prompts."""

import json
from copy import deepcopy
from typing import Any

from algocline_mcp.worker.engine.python.api.host import call
from algocline_mcp.worker.engine.python.api.json_values import plain_of
from algocline_mcp.worker.engine.python.api.numbers import is_number
from algocline_mcp.worker.engine.python.api.texts import kind_of, problem
from algocline_mcp.worker.engine.python.session import current

_CUSTOM_BYTES = 65536  # of all statistics of a session


def record(key: str | int | float, value: Any) -> None:
    """Replaces the value of a key; None removes the key. What is recorded does not change with the value later."""
    key = _key(key, "record")
    recorded = current().stats
    plain = plain_of(value, "alc.stats.record")
    new = {} if plain is None else {key: plain}
    size = sum(_size(*item) for item in ({name: item for name, item in recorded.items() if name != key} | new).items())
    if size > _CUSTOM_BYTES:
        raise problem("stats.bytes", size, _CUSTOM_BYTES)
    recorded.pop(key, None)
    recorded.update(new)


def get(key: str | int | float) -> Any:
    """What was recorded, or None."""
    return deepcopy(current().stats.get(_key(key, "get")))


def llm_calls() -> int:
    """The number of prompts that the session has asked so far, in all its streams."""
    return int(call("llm_calls"))


def _key(key: Any, name: str) -> str:
    if isinstance(key, str) or is_number(key):
        return str(key)
    raise problem("stats.key", name, kind_of(key))


def _size(key: str, value: Any) -> int:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(key.encode("utf-8", "replace")) + len(text.encode("utf-8", "replace"))
