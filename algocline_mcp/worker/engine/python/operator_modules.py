"""Modules that the operator adds to those that a strategy may import: ALC_PYTHON_PRELOAD.

Contract: `load` is called once, before the first fork. It imports each module, because an engine opens no file, and
refuses one that starts a thread: a fork copies only the thread that calls it, so a lock of another one stays locked in
every session. What such a module draws or reads from the clock is not recorded.
"""

import os
import re
import sys
from collections.abc import Mapping
from importlib import import_module

from algocline_mcp.errors import HomeUnusable

_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # else numpy starts one per processor
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def load(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The names in the setting, imported. Raises HomeUnusable with the cure."""
    names = tuple(filter(None, map(str.strip, environ.get("ALC_PYTHON_PRELOAD", "").split(","))))
    for variable in _ONE_THREAD if names else ():
        os.environ.setdefault(variable, "1")
    for name in names:
        if not _NAME.fullmatch(name):
            raise _unusable(name, "no name of a module", "write names with commas between, such as numpy,pydantic")
        threads = _threads()
        try:
            _import_whole(name)
        except Exception as exc:  # a module may raise anything
            python = sys.executable
            raise _unusable(name, f"not importable by {python}: {exc}", "install it there, or take it out") from exc
        if _threads() > threads:
            raise _unusable(name, "a module that starts a thread", "take it out")
    return names


def _import_whole(name: str) -> None:
    """pydantic imports its parts when they are first used, and looks for plugins on the disk when a class is derived
    from its model: an engine can do neither."""
    module = import_module(name)
    if name == "pydantic":
        for public in module.__all__:
            getattr(module, public)
        model = module.create_model("Model", value=(list[int], module.Field(min_length=1)))
        model.model_validate_json('{"value": [1]}').model_dump(mode="json")
        model.model_json_schema()


def _unusable(name: str, reason: str, cure: str) -> HomeUnusable:
    return HomeUnusable(f"ALC_PYTHON_PRELOAD names {name!r}, which is {reason}: {cure}")


def _threads() -> int:
    """Also those that only C knows of. Always 1 where the system does not say."""
    try:
        return os.stat("/proc/self/task").st_nlink - 2
    except OSError:
        return 1
