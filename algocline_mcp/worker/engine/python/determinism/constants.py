"""What a strategy sees of its process and machine: the same values in all of them."""

import logging
import os
import platform
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from algocline_mcp.worker.engine.python.determinism import world
from algocline_mcp.worker.engine.python.determinism.identity import serials
from algocline_mcp.worker.engine.python.determinism.patches import Patches

_NAME = "alc"
_ID = 1  # of process, thread, user and group
_CONSTANTS: dict[Any, dict[str, Any]] = {
    os: {
        **dict.fromkeys(("getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "cpu_count"), _ID),
        **dict.fromkeys(("getpgrp", "getpgid", "getsid"), _ID),
        **dict.fromkeys(("getresuid", "getresgid"), (_ID, _ID, _ID)),
        "process_cpu_count": _ID,  # from 3.13 on; ThreadPoolExecutor asks for it
        "getgroups": [_ID],
        "getloadavg": (0.0, 0.0, 0.0),
        "sched_getaffinity": {0},
        "times": os.times_result((0.0, 0.0, 0.0, 0.0, 0.0)),
        "uname": os.uname_result((sys.platform, _NAME, "", "", "")),
        "getlogin": _NAME,
        "getcwd": "/",
        "getcwdb": b"/",
    },
    socket: {"gethostname": _NAME},
    threading: {"get_native_id": _ID, "get_ident": _ID},
}
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}  # and TZ, which the session has recorded
_DIRECTORIES = (
    "executable",
    "_base_executable",
    "prefix",
    "exec_prefix",
    "base_prefix",
    "base_exec_prefix",
    "_stdlib_dir",
)  # of Python, elsewhere on another machine
_environ: dict[Any, Any] = vars(os.environ)["_data"]  # what os.environb shows, too; the environment itself stays
_saved: list[Callable[[], object]] = []  # restores, the last one first


class _Constant:
    """Not a function: as an attribute of a class it must not be bound."""

    def __init__(self, original: Callable[..., Any], value: Any) -> None:
        self._original = original
        self._value = value

    def __call__(self, *args: Any, **options: Any) -> Any:
        if world.current is None:
            return self._original(*args, **options)
        return self._value.copy() if isinstance(self._value, list | set) else self._value

    def __repr__(self) -> str:
        return repr(self._original)


def install(patches: Patches) -> None:
    for module, values in _CONSTANTS.items():
        for name, value in values.items():
            if hasattr(module, name):
                patches.replace(module, name, _Constant(getattr(module, name), value))


def begin() -> None:
    serials.restart()
    environment = _ENVIRONMENT | {"TZ": os.environ.get("TZ", "UTC0")}
    _exchange_content(_environ, {os.fsencode(name): os.fsencode(value) for name, value in environment.items()})
    _exchange_attribute(sys, "argv", ["strategy"])
    _exchange_attribute(sys, "orig_argv", ["strategy"])
    for name in _DIRECTORIES:
        _exchange_attribute(sys, name, "")
    _exchange_content(sys.path_importer_cache, {})
    _exchange_attribute(platform, "_uname_cache", None)
    _exchange_attribute(logging, "_startTime", 0)  # of `relativeCreated`; the time would be one more recorded call
    thread = threading.main_thread()
    _exchange_attribute(thread, "_ident", _ID)
    _exchange_attribute(threading, "_active", {_ID: thread})  # where current_thread looks for get_ident()


def end() -> None:
    while _saved:
        _saved.pop()()


def _exchange_content(content: dict[Any, Any], value: dict[Any, Any]) -> None:
    original = dict(content)
    content.clear()
    content.update(value)

    def restore() -> None:
        content.clear()
        content.update(original)

    _saved.append(restore)


def _exchange_attribute(owner: Any, name: str, value: Any) -> None:
    if hasattr(owner, name):
        original = getattr(owner, name)
        _saved.append(lambda: setattr(owner, name, original))
        setattr(owner, name, value)
