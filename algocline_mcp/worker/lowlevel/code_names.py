"""Names code by its library, not by the directory where that is installed.

A strategy in Python can ask for the file of all code in its process, as `json.loads.__code__.co_filename` or
`alc.__file__`. Such a path shows a principal over HTTP how the operator's machine is laid out, and it differs on the
next machine on which the session is replayed.

Contract: `shorten` changes what is loaded by now, in place: `/opt/venv/lib/python3.13/site-packages/alc/steps.py`
becomes `<lib>/alc/steps.py`. Call it once, before the first fork, so that all children share what it writes. It leaves
alone what the import system needs to import more (`__path__`, loaders). What is not changed can still be found by a
search of the memory: this hides, it protects nothing.
"""

import _imp
import gc
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import algocline_mcp

LIBRARY = "<lib>/"


def shorten() -> None:
    roots, names = _roots(), dict[str, str | None]()
    for code in {id(code): code for code in _codes()}.values():
        path = code.co_filename
        if path not in names:
            names[path] = _short(path, roots)
        if (name := names[path]) is not None:
            _imp._fix_co_filename(code, name)  # type: ignore[attr-defined]  # as importlib does; parts of it, too
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            _rename(module, roots)
    if (logging := sys.modules.get("logging")) is not None:  # not imported for that: it is 1 MiB of each worker
        vars(logging)["_srcfile"] = logging.addLevelName.__code__.co_filename  # by which it knows its own frames


def _roots() -> list[str]:
    """Directories of modules, the longest first: one may lie in another."""
    own = os.fspath(Path(algocline_mcp.__file__).parents[1])
    paths = {path for path in (*sys.path, os.path.dirname(os.__file__), own) if os.path.isabs(path)}
    return sorted((path.rstrip(os.sep) + os.sep for path in paths), key=len, reverse=True)


def _short(path: str, roots: Iterable[str]) -> str | None:
    for root in roots:
        if path.startswith(root):
            return LIBRARY + path.removeprefix(root)
    return None


def _codes() -> Iterable[CodeType]:
    """That of all functions, with what is defined within them, and of the module that runs as a program."""
    frame = sys._getframe()
    while (frame := frame.f_back) is not None:  # type: ignore[assignment]  # it ends the loop
        yield frame.f_code
    for value in gc.get_objects():
        if isinstance(value, FunctionType):
            yield value.__code__


def _rename(module: ModuleType, roots: Iterable[str]) -> None:
    content = vars(module)
    for owner, name in ((module, "__file__"), (module, "__cached__"), (content.get("__spec__"), "origin")):
        path = getattr(owner, name, None)
        if isinstance(path, str) and (short := _short(path, roots)) is not None:
            with suppress(AttributeError, TypeError):  # a module that takes no such change
                setattr(owner, name, short)
