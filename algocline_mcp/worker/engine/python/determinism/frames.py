"""Tracebacks that a strategy makes with the module traceback: without the frames of the standard library and of this
project, whose files have other paths on another machine."""

import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from algocline_mcp.worker.engine.python.determinism import world
from algocline_mcp.worker.engine.python.determinism.patches import Patches
from algocline_mcp.worker.lowlevel.code_names import LIBRARY

_FOREIGN = (
    "<frozen ",
    LIBRARY,
    os.path.dirname(os.__file__) + os.sep,
    str(Path(__file__).parents[4]) + os.sep,  # of the package algocline_mcp
)
_BY_TRACEBACK = ("walk_tb", "_walk_tb_with_full_positions")


def _own(pairs: Iterator[Any]) -> Iterator[Any]:
    for pair in pairs:
        if not pair[0].f_code.co_filename.startswith(_FOREIGN):
            yield pair


class _Walk:
    """walk_tb, or what 3.11 and later use in its place."""

    def __init__(self, original: Any) -> None:
        self._original = original

    def __call__(self, tb: Any) -> Iterator[Any]:
        pairs = self._original(tb)
        return pairs if world.current is None else _own(pairs)


class _WalkStack:
    def __init__(self, original: Any) -> None:
        self._original = original

    def __call__(self, f: Any) -> Iterator[Any]:
        if f is None:
            f = sys._getframe(1)
        pairs = self._original(f)
        return pairs if world.current is None else _own(pairs)


def install(patches: Patches) -> None:
    for name in _BY_TRACEBACK:
        if hasattr(traceback, name):
            patches.replace(traceback, name, _Walk(getattr(traceback, name)))
    patches.replace(traceback, "walk_stack", _WalkStack(traceback.walk_stack))
