"""Puts the fake pool in the place of the real one where this directory is on PYTHONPATH: a server without workers."""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

_FAKES = {
    "algocline_mcp.pool.dispatch": "fake_dispatch.py",
    "algocline_mcp.server.tool_call.compiler": "fake_compiler.py",
}


class _Finder:
    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in _FAKES:
            return None
        return importlib.util.spec_from_file_location(name, Path(__file__).with_name(_FAKES[name]))


sys.meta_path.insert(0, _Finder)
