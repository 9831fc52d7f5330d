"""Strategies in Python that misuse or break their engine, and how each of them ends."""

from dataclasses import dataclass
from typing import Any

from algocline_mcp.config.limits import KIB, MIB

_INTERNALS = """\
import os
import sys

import alc

ctypes = sys.modules["ctypes"]
libc = ctypes.CDLL(None)


def send(data):
    view = memoryview(data)
    while view:
        view = view[os.write(3, view) :]


def ask(text):
    send(text.encode() + b"\\n")
    buffer = ctypes.create_string_buffer(65536)
    size = libc.recv(3, buffer, 65536, 0)
    raise RuntimeError(buffer.raw[:size].decode())


"""


@dataclass(frozen=True, slots=True)
class Case:
    code: str
    word: str  # in the error
    error_code: str | None = None  # None: an error of the strategy
    may_die: bool = False  # its engine may end instead: no stack is left


def _endless(code: str) -> Case:
    """Uses processor time until the kernel ends it."""
    return Case(code, "used up the processor time", "crash_loop")


def _breach(code: str, word: str) -> Case:
    """The keeper takes no such message, or no message in that place, and ends the engine."""
    return Case(f"{_INTERNALS}{code}", word, "crash_loop")


def _frame(text: str, word: str) -> Case:
    return _breach(f"send({text!r}.encode() + b'\\n')\nlibc.sleep(60)", word)


def _refused(text: str, word: str) -> Case:
    """The keeper answers with an error, and the strategy may go on."""
    return Case(f"{_INTERNALS}ask({text!r})", word)


def _death(code: str, word: str) -> Case:
    return Case(f"{_INTERNALS}{code}", word, "crash_loop")


ENDLESS = {
    "loop that catches everything": _endless("""
while True:
    try:
        while True:
            pass
    except BaseException:
        pass
"""),
    "power": _endless("10**10**9"),
    "pattern": _endless("import re\nre.match('(a+)+$', 'a' * 60 + 'b')"),
    "finaliser": _endless("""
class Endless:
    def __del__(self):
        while True:
            pass


Endless()
"""),
    "generator": _endless("sum(iter(int, 1))"),
    "order": _endless("""
class Key:
    def __lt__(self, other):
        while True:
            pass


sorted([Key(), Key()])
"""),
    "coroutine": _endless("""
import asyncio


async def run(ctx):
    while True:
        await asyncio.sleep(0)
"""),
    "result": _endless("def run(ctx):\n    return iter(int, 1) if False else (0 for _ in iter(int, 1))"),
    "text of an error": _endless("""
class Endless(Exception):
    def __str__(self):
        while True:
            pass


raise Endless
"""),
}
# Objects are large: with memory at its end Python warns of each coroutine, which a measurement of coverage makes slow.
_GREEDY = {
    "list": "kept = []\nwhile True:\n    kept.append([])",
    "text": "kept = 'x'\nwhile True:\n    kept += kept",
    "bytes": "bytes(1 << 40)",
    "texts": "kept = []\nwhile True:\n    kept.append('x' * (1 << 20) + str(len(kept)))",
    "dict": "kept = {}\nwhile True:\n    kept[len(kept)] = str(len(kept))",
    "tasks": """
import asyncio


async def wait(_kept):
    await asyncio.sleep(1)


async def run(ctx):
    await asyncio.gather(*(wait(bytes(10_000)) for _ in range(10_000_000)))
""",
    "tasks that ask": """
import asyncio

import alc


async def run(ctx):
    await asyncio.gather(*(alc.aio.llm(f"prompt {n}".ljust(10_000)) for n in range(10_000_000)))
""",
    "objects with finalisers in a group of tasks": """
import asyncio


class Loud:
    def __init__(self):
        self.kept = bytes(10_000)

    def __del__(self):
        print("x" * 1000)


async def fill():
    kept = []
    while True:
        kept.append(Loud())


async def run(ctx):
    async with asyncio.TaskGroup() as group:
        group.create_task(fill())
        group.create_task(asyncio.sleep(60))
""",
    "text of a prompt": "import alc\nalc.llm('x' * (1 << 40))",
}
MEMORY = {name: Case(code, "out of memory") for name, code in _GREEDY.items()}
OWN = {  # errors of the strategy
    # The memory ends it, with MemoryError or SystemError; 3.13.0 with SIGSEGV.
    "recursion": Case(
        "import sys\nsys.setrecursionlimit(1 << 30)\ndef f(): return f()\nf()", "out of memory", may_die=True
    ),
    "prompt of 100 MB": Case("import alc\nalc.llm('x' * 100_000_000)", "out of memory"),
    "result of 100 MB": Case("'x' * 100_000_000", "out of memory"),
    "prompt over a line": Case("import alc\nalc.llm('x' * 9_000_000)", "bytes in one message: at most"),
    "prompt over its limit": Case("import alc\nalc.llm('x' * 5_000_000)", "prompt of 5000"),
    "result over a line": Case("'x' * 9_000_000", "return less of it"),
    "deep result": Case("x = []\nfor _ in range(100_000):\n    x = [x]\nx", "nested deeper than 128 levels"),
    "result that contains itself": Case("x = {}\nx['x'] = x\nx", "contains itself"),
    "huge number": Case("1 << 1_000_000", "an integer of 1000001 bits"),
    "exit": Case("import sys\nsys.exit(3)", "SystemExit"),
    "text of an error that fails": Case(
        "class Bad(Exception):\n    def __str__(self):\n        raise SystemExit\nraise Bad", "Bad"
    ),
    "text of an error that is huge": Case(
        "class Bad(Exception):\n    def __str__(self):\n        return 'x' * 50_000_000\nraise Bad", "xxx"
    ),
    "name of an error that is no text": Case(
        "class Meta(type):\n    __name__ = property(lambda cls: 1 / 0)\n"
        "class Bad(Exception, metaclass=Meta):\n    pass\nraise Bad",
        "Bad",
    ),
    "signal to itself": Case(f"{_INTERNALS}os.kill(libc.getpid(), 19)", "Operation not permitted"),
    "json that is replaced": Case("import json\njson.dumps = lambda *a, **k: 'no JSON'\n1", "", "crash_loop"),
    "json that fails": Case("import json\ndef fail(*a, **k): raise SystemExit\njson.dumps = fail\n1", "", "crash_loop"),
    "alc that is replaced": Case(f"{_INTERNALS}alc.llm = None\nalc.llm('x')", "NoneType"),
}
REFUSED = {
    "function that does not exist": _refused('{"op":"call","name":"os.system","args":["id"]}', '"error"'),
    "argument that is none": _refused('{"op":"call","name":"state.set","args":[[],{}]}', '"error"'),
    "module that is a path": _refused('{"op":"call","name":"module","args":["../../../etc/passwd"]}', '"error"'),
    "module that is an absolute path": _refused('{"op":"call","name":"module","args":["/etc/passwd"]}', '"error"'),
    "empty prompt": _refused('{"op":"ask","queries":[{"prompt":" ","max_tokens":1}]}', "the prompt is empty"),
}
DEATHS = {
    "exit without a word": _death("os._exit(0)", "ended with exit code 0 before it finished"),
    "abort": _death("os.abort()", "ended by SIG"),
    "null pointer": _death("ctypes.string_at(0)", "ended by SIGSEGV"),
    "socket that is closed": _death("os.close(3)\nalc.llm('x')", "ended"),
    "silence": Case(f"{_INTERNALS}libc.sleep(3600)", "sent nothing", "crash_loop"),
}
FRAMES = {
    "no JSON": _frame("hello", "malformed request"),
    "no object": _frame("[1]", "expected an object"),
    "empty line": _frame("", "malformed request"),
    "unknown op": _frame('{"op":"answers","answers":[]}', "unknown op 'answers'"),
    "reply of the keeper": _frame('{"answers":[{"response":"forged"}]}', "unknown op None"),
    "deep": _frame('{"op":"end","result":' + "[" * 1000 + "]" * 1000 + "}", "nested"),
    "deeper than a decoder goes": _frame("[" * 500_000, "nested too deeply"),
    "query without a prompt": _frame('{"op":"ask","queries":[{}]}', "bad 'prompt'"),
    "query that is none": _frame('{"op":"ask","queries":[1]}', "not an object"),
    "no query": _frame('{"op":"ask","queries":[]}', "without a query"),
    "option that is none": _frame('{"op":"ask","queries":[{"prompt":"x","max_tokens":1,"to":[]}]}', "bad option"),
    "timer that is none": _frame('{"op":"wait","queries":[],"wake_s":"soon"}', "bad 'wake_s'"),
    "child that is a path": _frame(
        '{"op":"fork","strategies":["../x"],"ctx":{},"on_error":"fail"}', "forked something"
    ),
    "too many arguments": _frame('{"op":"call","name":"time","args":[1,2,3,4,5,6,7,8,9]}', "9 arguments"),
    "level that is none": _frame('{"op":"log","level":"fatal","message":"x"}', "bad 'level'"),
    "long log line": _frame('{"op":"log","level":"info","message":"' + "x" * 200_000 + '"}', "200000 characters"),
    "warnings that are none": _frame('{"op":"end","result":1,"warnings":[1]}', "warnings that are not texts"),
    "two ends": _frame('{"op":"end","error":1}', "bad 'error'"),
    "no UTF-8": _breach("send(b'\\xff\\xfe\\n')\nlibc.sleep(60)", "malformed request"),
    "line of 4 GiB": _breach("part = b'x' * (1 << 20)\nfor _ in range(4096):\n    send(part)", "line"),
    "question while it asks": _breach(
        """line = b'{"op":"ask","queries":[{"prompt":"x","max_tokens":1}]}\\n'
send(line + line)
libc.sleep(60)""",
        "while it should wait",
    ),
    "replies that are not read": _breach(
        """line = b'{"op":"call","name":"time","args":[]}\\n'
while True:
    send(line * 1000)""",
        "",
    ),
}
FLOODS = {  # the session goes on: a host gets a part of it
    "lines": "for _ in range(20_000):\n    print('x' * 100)\n1",
    "print of 20 MB": "print('x' * 20_000_000)\n1",
    "standard error of C": f"{_INTERNALS}try:\n    for _ in range(100):\n        os.write(2, b'x' * 100_000)\n"
    "except OSError:\n    pass\n1",
    "warnings": "import warnings\nfor n in range(2_000):\n    warnings.warn(f'{n}' * 100)\n1",
}
LIMITS: dict[str, Any] = {"strikes": 1, "heap_bytes": 64 * MIB, "notes_bytes": 64 * KIB, "line_bytes": 8 * MIB}
# name -> the cases, and the limits of their sessions
GROUPS: dict[str, tuple[dict[str, Case], dict[str, Any]]] = {
    "endless": (ENDLESS, {"step_cpu_s": 0}),
    "memory": (MEMORY, {}),
    "own errors": (OWN, {}),
    "refused": (REFUSED, {}),
    "deaths": (DEATHS, {"engine_silent_s": 0.5}),
    "frames": (FRAMES, {"step_cpu_s": 2}),
}
