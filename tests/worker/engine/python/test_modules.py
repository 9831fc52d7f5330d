"""What a strategy in Python may import: standard modules, and modules of packages as text."""

import linecache
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from algocline_mcp.python_source import compile_strategy
from algocline_mcp.worker.engine.python import modules
from algocline_mcp.worker.engine.python.modules import Modules, preload

FILES = {
    "flat": ("flat.py", "import json\nvalue = json.dumps([__name__, __file__, __package__])\n"),
    "pack": ("pack/__init__.py", "from . import one\nfrom .sub import two as renamed\nvalue = __name__\n"),
    "pack.one": ("pack/one.py", "from .sub.two import number\n"),
    "pack.sub": ("pack/sub/__init__.py", ""),
    "pack.sub.two": ("pack/sub/two.py", "from ..deep import number\n"),
    "pack.deep": ("pack/deep.py", "number = 5\n\n\ndef fail():\n    return 1 / 0\n"),
    "broken": ("broken.py", "x = 1\ndef f(:\n"),
    "circle": ("circle.py", "import strategy\nvalue = strategy.early\n"),
    "other": ("other/init.lua", "return {}"),
    "gym.socket": ("gym/socket.py", ""),
}


class Session:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.modules = Modules(self.ask, allowed)

    def ask(self, name: str) -> dict[str, Any]:
        self.asked.append(name)
        if name == "unreadable":
            raise RuntimeError("module file unreadable.py is not UTF-8: …")
        if name not in FILES:
            raise RuntimeError(f"module '{name}' not found: no {name}.py or …/__init__.py in /packages")
        chunk, source = FILES[name]
        return {"chunk": chunk, "source": source}

    def run(self, code: str, chunk: str = "strategy") -> Any:
        namespace = self.modules.entry(chunk, code)
        namespace["ctx"] = {}
        return compile_strategy(code, chunk, is_entry=True).start(namespace)


allowed: frozenset[str] = preload()


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    session.modules.install()
    yield session
    session.modules.remove()


def test_a_module_of_a_package_comes_as_text_from_the_keeper(session: Session) -> None:
    assert session.run("import flat\nflat.value") == '["flat", "flat.py", ""]'
    assert session.run("import flat\nflat.__spec__.origin") == "flat.py"
    assert session.asked == ["flat"]


def test_a_package_has_parts_and_relative_imports(session: Session) -> None:
    code = "import pack.sub.two as t\nfrom pack import one, value\nimport pack\n"

    assert session.run(f"{code}[t.number, one.number, value, pack.renamed is t]") == [5, 5, "pack", True]
    assert session.asked == ["pack", "pack.one", "pack.sub", "pack.sub.two", "pack.deep"]


def test_the_entry_file_of_a_package_is_that_package(session: Session) -> None:
    code = "from .deep import number\nfrom pack.one import number as again\nimport pack\n"

    values = session.run(f"{code}[number, again, pack.number, __name__]", "pack/__init__.py")

    assert values == [5, 5, 5, "pack"]


def test_the_code_of_a_session_is_a_module_and_never_main(session: Session) -> None:
    assert session.run("early = 7\nimport circle\ncircle.value") == 7
    with pytest.raises(ImportError, match="attempted relative import with no known parent package"):
        session.run("from . import x", "panel.py")


@pytest.mark.parametrize(
    ("chunk", "name"),
    [
        ("strategy", "strategy"),
        ("panel.py", "panel"),
        ("panel/__init__.py", "panel"),
        ("json.py", "strategy_json"),
        ("two words.py", "strategy"),
    ],
)
def test_its_name_is_that_of_the_chunk_and_no_standard_module(chunk: str, name: str, session: Session) -> None:
    assert session.run("import sys\n[__name__, sys.modules[__name__].__file__]", chunk) == [name, chunk]


REFUSED = [
    (
        "import numpy as np",
        "No module named 'numpy': math and statistics have the usual functions; a strategy may import",
    ),
    ("import left_pad", "…; module 'left_pad' not found: no left_pad.py or …/__init__.py in /packages"),
    ("import statistic", "No module named 'statistic': did you mean statistics?"),
    ("from socket import socket", "No module named 'socket': a strategy has no network"),
    ("import ctypes", "No module named 'ctypes': a strategy calls no C library"),
    ("import subprocess", "No module named 'subprocess': a strategy starts no process"),
    ("import multiprocessing.pool", "alc.parallel asks many prompts at once"),
    ("import openai", "alc.llm(prompt) asks the host's model"),
    ("import urllib.robotparser", "No module named 'urllib.robotparser': a strategy may import strategy packages"),
    ("import pack.nothing", "No module named 'pack.nothing'"),
    ("import algocline_mcp", "No module named 'algocline_mcp'"),
    ("import lupa", "No module named 'lupa'"),
    ("import importlib\nimportlib.import_module('shelve')", "No module named 'shelve': there are no files"),
]


@pytest.mark.parametrize(("code", "sentence"), REFUSED)
def test_what_may_not_be_imported_is_refused_with_what_to_do(code: str, sentence: str, session: Session) -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        session.run(f"{code}\n1")

    assert sentence in str(caught.value)
    assert type(caught.value).__name__ == "ModuleNotFoundError"
    assert caught.value.name


def test_the_keeper_is_never_asked_for_a_standard_module(session: Session) -> None:
    session.run(
        "import json, re\ntry: import socket\nexcept ImportError: pass\ntry: import tkinter\nexcept ImportError: pass"
    )

    assert session.asked == []


def test_other_failures_of_an_import_say_what_they_are(session: Session) -> None:
    with pytest.raises(ImportError, match=r"module file unreadable\.py is not UTF-8"):
        session.run("import unreadable\n1")
    with pytest.raises(ImportError, match=r"other is a package in another language: call alc.call\('other', ctx\)"):
        session.run("import other\n1")
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'pack'"):
        session.run("from pack import nothing\n1")
    with pytest.raises(SyntaxError) as caught:
        session.run("import broken\n1")
    assert (caught.value.filename, caught.value.lineno, caught.value.text) == ("broken.py", 2, "def f(:\n")


def test_the_lines_of_a_module_are_known_to_tracebacks_and_inspect(session: Session) -> None:
    source = "import inspect\nfrom pack.deep import fail\ninspect.getsource(fail)"

    assert session.run(source) == "def fail():\n    return 1 / 0\n"


def test_builtins_that_need_the_machine_say_what_to_use(session: Session) -> None:
    for code, kind, sentence in (
        ("open('a.txt')", PermissionError, "a strategy has no files: pass the text in ctx"),
        ("input('? ')", EOFError, "alc.llm"),
        ("breakpoint()", RuntimeError, "print"),
    ):
        with pytest.raises(kind, match=sentence):
            session.run(code)


def test_nothing_of_a_session_is_left_behind() -> None:
    before = (sys.meta_path[:], sys.path[:], set(sys.modules), set(linecache.cache))
    session = Session()

    session.modules.install()
    session.run("import pack, flat\n1")
    session.modules.remove()

    assert (sys.meta_path, sys.path, set(sys.modules), set(linecache.cache)) == before
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'pack'$"):
        __import__("pack")


def test_the_allow_list_has_no_module_for_the_machine_and_is_complete() -> None:
    assert len(modules.STANDARD) >= 77
    assert set(modules.STANDARD) <= sys.stdlib_module_names
    assert not {"socket", "ctypes", "subprocess", "signal", "shutil", "multiprocessing", "sqlite3"} & set(
        modules.STANDARD
    )
    assert all(name in sys.modules for name in modules.STANDARD)
