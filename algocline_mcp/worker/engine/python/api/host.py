"""Calls of host functions, whose results the keeper records."""

from typing import Any

from algocline_mcp.worker.engine.python.api.texts import problem
from algocline_mcp.worker.engine.python.session import current


def call(name: str, *args: Any) -> Any:
    """The result of a host function. Raises Error with the keeper's sentence."""
    if args:
        assert_name(name, args[0])
    return current().exchange.call(name, *args)


def assert_name(name: str, value: Any) -> None:
    """Refuses a long name before it is sent, with the keeper's sentence: the keeper would read 30 MB in two seconds."""
    limit = current().start.name_bytes
    if not isinstance(value, str) or len(value) <= limit // 4:
        return
    size = len(value.encode("utf-8", "replace"))
    if size > limit:
        raise problem("name.key" if name.startswith("state.") else "name.argument", name, size, limit)
