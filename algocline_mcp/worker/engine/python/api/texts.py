"""Sentences of alc.* for the author of a strategy in Python."""

from typing import Any

from algocline_mcp import wording
from algocline_mcp.worker.engine import stdlib
from algocline_mcp.worker.engine.python.exceptions import Error

TEXTS = stdlib.texts(wording.PYTHON)


def problem(key: str, *values: Any) -> Error:
    """The exception with one of the texts of stdlib.py."""
    return Error(TEXTS[key] % values)


def kind_of(value: Any) -> str:
    return "None" if value is None else type(value).__name__
