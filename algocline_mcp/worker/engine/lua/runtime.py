"""Lua 5.5 as a language of the engine: builds the runtime before the fork and exchanges bytes with the Lua code.

Contract: `prepare` compiles everything, so `run` imports, opens and compiles only the strategy. Strings cross as bytes
(`encoding=None`), one per message. Python containers never cross: Lua could change them. Conversion, rules and errors
are in the .lua files of this folder; `prelude.lua` describes how they are combined.
"""

import json
from pathlib import Path
from typing import Any, NoReturn

import lupa
import lupa.lua55 as lua

from algocline_mcp import wording
from algocline_mcp.config.limits import Limits
from algocline_mcp.languages import LUA
from algocline_mcp.worker.engine import stdlib
from algocline_mcp.worker.engine.process import Channel, LanguageRuntime, Start

# In this order: each file may use what earlier files have put into the room, a table they share.
_FILES = {
    name: (Path(__file__).parent / f"{name}.lua").read_bytes()
    for name in (
        "encode",
        "decode",
        "hints",
        "given",
        "errors",
        "stable",
        "sandbox",
        "warnings",
        "alc",
        "chains",
        "refused",
        "state",
        "card",
        "text",
        "combine",
        "inputs",
        "pipe",
        "fork",
        "eval",
        "world",
        "math_check",
        "math_random",
        "math_special",
        "math_data",
        "math_tests",
        "run",
    )
}
_PRELUDE = (Path(__file__).parent / "prelude.lua").read_bytes()

# A journal that was written under another ABI is not replayed.
ABI = LUA.abi(lambda distribution: lupa.__version__)

# Any constant: it fixes the order of pairs() over strings, which otherwise differs in each process.
_STRING_HASH_SEED = 1
_JSON_DEPTH = Limits().json_depth
_TEXTS_JSON = json.dumps({"texts": stdlib.texts(wording.LUA), "defaults": stdlib.DEFAULTS}, ensure_ascii=False).encode()
_OUT_OF_MEMORY = b'{"error":"out of memory: the strategy has left no room to say more","op":"end"}'


def prepare(*, heap_bytes: int, headroom_bytes: int, line_bytes: int) -> LanguageRuntime:
    """Returns a runtime without a session: fork any number of times, then call `run` once in each child.

    Takes 2 ms and 0.5 MiB; a query and its answer then take 3.5 us in this module and the Lua code. Raises ValueError
    unless two lines fit into the headroom: lupa pushes a reply onto Lua's stack without protection, and a reply that
    does not fit would hang the process.
    """
    if headroom_bytes < 2 * line_bytes:
        raise ValueError(
            f"headroom of {headroom_bytes} bytes is less than two lines of {line_bytes}: "
            "raise ALC_HEADROOM_BYTES or lower ALC_LINE_BYTES"
        )
    return _LuaRuntime(heap_bytes, headroom_bytes, line_bytes)


def _no_attributes(_object: object, _name: object, _is_setting: bool) -> NoReturn:
    raise AttributeError("attributes of Python objects are closed to Lua")


class _LuaRuntime:
    problem: str | None = None

    def __init__(self, heap_bytes: int, headroom_bytes: int, line_bytes: int) -> None:
        self._headroom_bytes = headroom_bytes
        self._line_bytes = line_bytes
        self._channel: Channel | None = None
        self._channel_error: BaseException | None = None
        runtime = lua.LuaRuntime(
            register_eval=False,
            register_builtins=False,
            attribute_filter=_no_attributes,
            unpack_returned_tuples=True,
            encoding=None,
            max_memory=heap_bytes + headroom_bytes,
            overflow_handler=float,
            string_hash_seed=_STRING_HASH_SEED,
        )
        files = [part for name, text in _FILES.items() for part in (name.encode(), text)]
        build = runtime.compile(_PRELUDE, name=b"=[alc]")
        self._lua = runtime  # keeps the state of Lua alive as long as its functions
        self._run: Any = build(self._exchange, self._perform, _TEXTS_JSON, heap_bytes, line_bytes, _JSON_DEPTH, *files)

    def run(self, start: Start, channel: Channel) -> bytes:
        self._channel = channel
        code, chunk, ctx = (_utf8(text) for text in (start.code, start.chunk, start.ctx))
        size = len(code) + len(chunk) + len(ctx)
        if size > self._headroom_bytes // 2:
            return b'{"error":"code and ctx have %d bytes: too many to begin with","op":"end"}' % size
        try:
            if start.heap_bytes is not None:
                self._lua.set_max_memory(start.heap_bytes + self._headroom_bytes)
            limits = start.name_bytes, start.json_depth, start.heap_bytes
            line = self._run(code, chunk, ctx, start.seed, float(start.created_s), *limits)
        except lua.LuaError:  # the prelude catches every error except lack of memory while it writes the last line
            line = _OUT_OF_MEMORY
        if self._channel_error is not None:
            raise self._channel_error
        return bytes(line)

    def _exchange(self, line: bytes, is_one_way: bool = False) -> bytes | None:
        """Sends a line, and returns the reply. Never raises: the strategy's pcall would get a Python object."""
        if self._channel is None or self._channel_error is not None:
            return None
        try:
            if is_one_way:
                self._channel.send(line)
                return None
            reply = self._channel.ask(line)
        except BaseException as exc:  # noqa: BLE001 - raised again by run
            self._channel_error = exc
            return None
        return self._limited(reply)

    def _perform(self, name: bytes, arguments: bytes) -> bytes:
        """Calls a pure function of stdlib: the keeper is not asked and nothing is recorded."""
        return self._limited(stdlib.perform(name, arguments))

    def _limited(self, reply: bytes) -> bytes:
        if len(reply) > self._line_bytes:
            return b'{"error":"a reply of %d bytes is too long"}' % len(reply)
        return reply


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
