"""Modules of a strategy in Python: the standard modules that it may import, and strategy packages, as text.

Contract. `preload` imports the standard modules before the first fork: an engine can open no file. `Modules` serves one
session: between `install` and `remove` an import finds what is loaded already, else asks the keeper for a module by its
name, once; the keeper records what it answers. Everything else is a ModuleNotFoundError that says what may be imported.
`remove` leaves the process as it was.

The code of a strategy has builtins of its own: `__import__`, which refuses standard modules that are loaded for others
(ctypes, socket), and `open`, `input`, `breakpoint`, which say what to use instead. This is help for the author and no
wall: the wall is the kernel's.
"""

import builtins
import errno
import importlib
import linecache
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

from algocline_mcp.python_source import compile_strategy


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What a strategy may import. Left out: what only reaches for files, sockets, processes or other interpreters, and
# would fail at its first call (socket, subprocess, shutil, tempfile, sqlite3, multiprocessing, zoneinfo …).
# threading and concurrent.futures stay for their locks and types; a thread fails with a hint.
STANDARD = _words(
    "__future__ abc array ast asyncio base64 binascii bisect builtins calendar cmath codecs collections "
    "colorsys concurrent contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib dis enum errno "
    "fnmatch fractions functools gc graphlib hashlib heapq hmac html importlib inspect io ipaddress itertools json "
    "keyword linecache locale logging marshal math numbers operator os pathlib pickle platform posixpath pprint queue "
    "random re reprlib secrets shlex statistics string struct sys textwrap threading time timeit token tokenize "
    "tomllib traceback types typing unicodedata urllib uuid warnings weakref xml zlib"
)

# Parts of them, and what they load when they are first used. What is written in C imports by the builtins of the code
# that has called it, so these may be imported, too.
_PARTS = _words(
    "_strptime _pylong _colorize _compat_pickle annotationlib asyncio.taskgroups asyncio.timeouts "
    "collections.abc concurrent.futures.thread html.entities html.parser importlib.util "
    "os.path stringprep string.templatelib tracemalloc urllib.parse xml.etree.ElementTree "
    "encodings.ascii encodings.base64_codec encodings.charmap encodings.cp1252 encodings.cp437 encodings.hex_codec "
    "encodings.idna encodings.iso8859_1 encodings.latin_1 encodings.punycode encodings.quopri_codec "
    "encodings.raw_unicode_escape encodings.rot_13 encodings.unicode_escape encodings.utf_16 encodings.utf_16_be "
    "encodings.utf_16_le encodings.utf_32 encodings.utf_32_be encodings.utf_32_le encodings.utf_7 encodings.utf_8 "
    "encodings.utf_8_sig encodings.uu_codec encodings.zlib_codec"
)

_SHOWN = "json, math, random, re, statistics, collections, itertools, functools, datetime, dataclasses, asyncio"
# Root of a module that has no place here -> what to use instead.
_INSTEAD = {
    **dict.fromkeys(("openai", "anthropic", "langchain", "litellm", "mcp"), "alc.llm(prompt) asks the host's model"),
    **dict.fromkeys(
        ("requests", "httpx", "aiohttp", "socket", "ssl", "http", "smtplib", "ftplib"),
        "a strategy has no network: pass the text in ctx",
    ),
    **dict.fromkeys(
        ("shutil", "tempfile", "glob", "sqlite3", "dbm", "shelve"), "there are no files: keep values in alc.state"
    ),
    **dict.fromkeys(("subprocess", "pty", "signal"), "a strategy starts no process"),
    **dict.fromkeys(
        ("multiprocessing", "_thread"), "alc.parallel asks many prompts at once, alc.aio.* with asyncio.gather does too"
    ),
    "ctypes": "a strategy calls no C library",
    "numpy": "math and statistics have the usual functions",
    "pandas": "csv, statistics and collections have the usual functions",
    "zoneinfo": "datetime.timezone has fixed offsets",
}


class NotImportable(ModuleNotFoundError):
    """Shown as ModuleNotFoundError."""


NotImportable.__name__ = NotImportable.__qualname__ = "ModuleNotFoundError"
NotImportable.__module__ = "builtins"


def preload(packages: Sequence[str] = ()) -> frozenset[str]:
    """Imports what strategies may import, alc, and `packages` of the operator; returns the roots of their names.

    A module that this version of Python does not have is left out; a package that is not installed raises ImportError.
    Measured, with alc: 200 to 240 ms and 13 to 16 MiB, once for each fork server."""
    for name in (*STANDARD, *_PARTS):
        with suppress(ImportError):
            importlib.import_module(name)
    for name in ("alc", *packages):
        importlib.import_module(name)
    return frozenset(name.partition(".")[0] for name in (*STANDARD, *_PARTS, "alc", *packages))


class Modules:
    """Imports of one session. `ask` returns `{source, chunk}` of a module, or raises RuntimeError with a sentence."""

    def __init__(self, ask: Callable[[str], Mapping[str, Any]], allowed: frozenset[str]) -> None:
        self.sources: dict[str, str] = {}  # chunk -> source: of the strategy and of the modules that it has imported
        self.builtins = vars(builtins) | _FORBIDDEN | {"__import__": self._import}
        self._ask = ask
        self._allowed = allowed
        self._roots: set[str] = set()  # of the strategy's own modules
        self._saved: tuple[Any, ...] = ()

    def install(self) -> None:
        self._saved = (sys.meta_path[:], sys.path[:], set(sys.modules))
        sys.meta_path[:] = [self]
        sys.path[:] = []

    def remove(self) -> None:
        sys.meta_path[:], sys.path[:], names = self._saved
        for name in sys.modules.keys() - names:
            del sys.modules[name]
        for chunk in self.sources:
            linecache.cache.pop(chunk, None)

    def clear(self) -> None:
        """Frees what the strategy keeps in global variables: it will not go on."""
        for name, module in sys.modules.items():
            if name.partition(".")[0] in self._roots:
                vars(module).clear()

    def entry(self, chunk: str, source: str) -> dict[str, Any]:
        """The namespace that the code of the session runs in: of a module whose name is that of the chunk."""
        name = _module_name(chunk)
        if name in sys.modules or name in sys.stdlib_module_names:
            name = f"strategy_{name}"
        # Typeshed asks for a Loader; the import system takes every object with the methods that it calls.
        spec = ModuleSpec(name, self, is_package=_is_package(chunk))  # type: ignore[arg-type]
        module = types.ModuleType(name)
        module.__file__, module.__spec__ = chunk, spec
        module.__loader__, module.__package__ = self, spec.parent  # type: ignore[assignment]
        if spec.submodule_search_locations is not None:
            module.__path__ = []
        sys.modules[name] = module
        self._roots.add(name)
        self._remember(chunk, source)
        module.__dict__["__builtins__"] = self.builtins
        return module.__dict__

    # The import system calls these three ---------------------------------------------------------------------

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec:
        root = name.partition(".")[0]
        if root in sys.stdlib_module_names or (root in self._allowed and root not in self._roots):
            raise self._not_found(name)
        try:
            found = self._ask(name)
        except RuntimeError as exc:
            if "not found" not in str(exc):
                raise ImportError(str(exc), name=name) from None
            raise self._not_found(name, str(exc)) from None
        chunk, source = found["chunk"], found["source"]
        if not chunk.endswith(".py"):
            raise ImportError(f"{name} is a package in another language: call alc.call('{name}', ctx)", name=name)
        self._roots.add(root)
        self._remember(chunk, source)
        spec = ModuleSpec(name, self, origin=chunk, is_package=_is_package(chunk))  # type: ignore[arg-type]
        spec.has_location = True
        return spec

    def create_module(self, _spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        chunk = module.__file__ or ""
        program = compile_strategy(self.sources[chunk], chunk, is_entry=False)
        module.__dict__["__builtins__"] = self.builtins
        program.start(module.__dict__)

    def get_source(self, name: str) -> str:
        return self.sources[sys.modules[name].__file__ or ""]

    # ----------------------------------------------------------------------------------------------------------

    def _remember(self, chunk: str, source: str) -> None:
        """Lets tracebacks and `inspect` show the lines of the source, for which they would open a file."""
        self.sources[chunk] = source
        linecache.cache[chunk] = (len(source), None, source.splitlines(keepends=True), chunk)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> types.ModuleType:
        root = name.partition(".")[0]
        if not level and root in sys.modules and root not in self._allowed and root not in self._roots:
            raise self._not_found(name)  # loaded for the engine or for other modules
        return builtins.__import__(name, globals, locals, fromlist or (), level)

    def _not_found(self, name: str, reason: str = "") -> NotImportable:
        root = name.partition(".")[0]
        near = get_close_matches(root, self._allowed - {root}, 1, 0.75)
        instead = _INSTEAD.get(root) or (f"did you mean {near[0]}?" if near else "")
        where = f"; {reason}" if reason and not instead else ""
        sentence = f"a strategy may import strategy packages and the standard modules {_SHOWN}, …"
        cure = f"{instead}; " if instead else ""
        return NotImportable(f"No module named '{name}': {cure}{sentence}{where}", name=name)


def _module_name(chunk: str) -> str:
    stem = chunk.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return stem if all(part.isidentifier() for part in stem.split(".")) else "strategy"


def _is_package(chunk: str) -> bool:
    return chunk.endswith("__init__.py")


# What builtins cannot do here ---------------------------------------------------------------------------------


def _open(file: object, *_: object, **__: object) -> NoReturn:
    raise PermissionError(errno.EACCES, "a strategy has no files: pass the text in ctx, keep values in alc.state", file)


def _input(prompt: object = "") -> NoReturn:
    raise EOFError("input() reaches nobody: alc.llm(prompt) asks the model, and ctx has what the caller gave")


def _breakpoint(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("breakpoint() reaches nobody: print(…) writes to the log")


_FORBIDDEN: dict[str, Any] = {}
for _name, _function in (("open", _open), ("input", _input), ("breakpoint", _breakpoint)):
    _function.__name__ = _function.__qualname__ = _name
    _FORBIDDEN[_name] = _function
