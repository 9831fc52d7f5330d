"""Lets a strategy leave Lua: code that begins with `--python` runs as Python in its engine.

It stands for the worst case, a strategy that has escaped from Lua: it has the engine's socket and speaks to the keeper
as it likes. A test puts this folder on the PYTHONPATH of the workers, and of nothing else. Names that such code has:
`sock`, the socket; `receive()`, one line of the keeper; `send(*messages)`, each a dict, or bytes with their LF;
`pause()`, which never returns. The value of `result` is what it ends with.
"""

import json
import os
import socket
import time
from typing import Any

from algocline_mcp.worker.engine.lua import runtime
from algocline_mcp.worker.engine.process import Start

_MARK = "--python\n"
_run = runtime._LuaRuntime.run


def _escaped(self: runtime._LuaRuntime, start: Start, channel: Any) -> bytes:
    if not start.code.startswith(_MARK):
        return _run(self, start, channel)
    sock: socket.socket = channel._socket

    def send(*messages: Any) -> None:
        lines = [one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in messages]
        sock.sendall(b"".join(lines))

    names: dict[str, Any] = {
        "sock": sock,
        "receive": channel._read_line,
        "send": send,
        "pause": lambda: time.sleep(3600),
    }
    names |= {"json": json, "os": os, "socket": socket, "time": time}
    exec(compile(start.code.removeprefix(_MARK), "escaped", "exec"), names)
    return json.dumps({"op": "end", "result": names.get("result")}).encode()


runtime._LuaRuntime.run = _escaped  # type: ignore[method-assign]  # every engine of this process tree runs it
