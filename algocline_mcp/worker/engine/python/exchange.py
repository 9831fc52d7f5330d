"""Exchange of messages between a strategy in Python and the keeper. Each message is one line of JSON.

Contract: a message that the keeper refuses raises Error with its sentence; the strategy may catch it. An exception of
the channel is kept and raised at each further message, and by `check` at the end: a strategy that catches everything
must not go on without its keeper.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from algocline_mcp.errors import whole
from algocline_mcp.session.waits import WAKE_S
from algocline_mcp.worker.engine.process import Channel
from algocline_mcp.worker.engine.python.determinism import clean
from algocline_mcp.worker.engine.python.exceptions import Error, of_keeper

Record = dict[str, Any]
_LOGGED_CHARS = 65536  # of one message; the rest is cut off
_LEVELS = ("error", "warn", "info", "debug")


class Exchange:
    def __init__(self, channel: Channel, line_bytes: int) -> None:
        self._channel = channel
        self._line_bytes = line_bytes
        self.failure: BaseException | None = None
        self._delivered: list[Any] = []  # answers that came while the strategy slept
        # Numbers of queries of `ask_any` that no task waits for any more, each once; what is not taken yet is kept.
        self.abandoned: Callable[[], list[int]] = list
        self._withdrawn: list[int] = []

    def ask(self, queries: Sequence[Mapping[str, Any]]) -> list[Record]:
        """Asks, and blocks until all queries are answered: `{response}` or `{refuse}` for each."""
        self._withdraw()
        answers: list[Record] = self._ask({"op": "ask", "queries": queries})["answers"]
        return answers

    def ask_any(self, queries: Sequence[Mapping[str, Any]], wake_s: float | None) -> Record:
        """Asks, and blocks until any query of this method is answered, or for `wake_s` seconds: `{answered, woke}`.

        `answered`: pairs of a query's number, counted from 0 over all calls, and its `{response}` or `{refuse}`."""
        if not self._delivered:
            return self._wait(queries, wake_s)
        reply = self._wait(queries, 0) if queries else {"answered": []}
        answered, self._delivered = self._delivered + reply["answered"], []
        return {"answered": answered, "woke": False}

    def sleep(self, seconds: float) -> None:
        """Blocks. Answers that come meanwhile are kept for the next call of `ask_any`."""
        until_s = self.time() + seconds
        while (left_s := until_s - self.time()) > 0:
            self._delivered += self._wait([], min(left_s, WAKE_S))["answered"]

    def time(self) -> float:
        """Unix seconds, with a resolution of 1 ms. Recorded."""
        return float(self.call("time"))

    def call(self, name: str, *args: Any) -> Any:
        """Calls a host function with JSON values, and returns its result, which the keeper records."""
        return self._ask({"op": "call", "name": name, "args": args})["result"]

    def fork(self, strategies: Sequence[str], ctx: Mapping[str, Any], on_error: str) -> Record:
        """Runs strategies in engines of their own: `{entries}`, or `{failed}` where one child ended the fork."""
        self._withdraw()
        return self._ask({"op": "fork", "strategies": strategies, "ctx": ctx, "on_error": on_error})

    def phase(self, name: str) -> None:
        """A line of the log that marks where a part of the run begins: older readers see the line."""
        self._send({"op": "log", "level": "info", "message": f"phase: {name}", "phase": name})

    def log(self, level: str, message: str, *, is_warning: bool = False) -> None:
        if len(message) > _LOGGED_CHARS:
            message = message[:_LOGGED_CHARS] + "…"
        line = {"op": "log", "level": level if level in _LEVELS else "info", "message": message}
        self._send(line | ({"warning": True} if is_warning else {}))

    def progress(self, step: int, total: int, message: str | None) -> None:
        shown = None if message is None else message[:_LOGGED_CHARS]
        self._send({"op": "progress", "step": step, "total": total, "message": shown})

    def check(self) -> None:
        """Raises what the channel raised, if it did."""
        if self.failure is not None:
            raise self.failure

    def _wait(self, queries: Sequence[Mapping[str, Any]], wake_s: float | None) -> Record:
        self._withdrawn += self.abandoned()
        message = {"op": "wait", "queries": queries, "wake_s": wake_s}
        reply = self._ask(message | ({"withdrawn": self._withdrawn} if self._withdrawn else {}))
        self._withdrawn = []  # not before: a message that was refused has withdrawn nothing
        return reply

    def _withdraw(self) -> None:
        """Before a pause that is no wait: a host must not see what nobody waits for."""
        self._withdrawn += self.abandoned()
        if self._withdrawn:
            self._delivered += self._wait([], 0)["answered"]

    def _ask(self, message: Mapping[str, Any]) -> Record:
        line = self.encode(message)
        if len(line) > self._line_bytes:
            raise Error(f"{len(line)} bytes in one message: at most {self._line_bytes} can be sent")
        self.check()
        try:
            text = self._channel.ask(line)
        except BaseException as exc:
            self.failure = exc
            raise
        reply: Record = json.loads(text)  # read in full: where this has no memory, the next message is in its turn
        if "error" in reply:
            raise of_keeper(str(reply["error"]))
        return reply

    def _send(self, message: Mapping[str, Any]) -> None:
        self.check()
        try:
            self._channel.send(self.encode(message))
        except BaseException as exc:
            self.failure = exc
            raise

    @staticmethod
    def encode(message: Mapping[str, Any]) -> bytes:
        """One line. Addresses in texts are replaced: they are others in each process."""
        text = clean(json.dumps(message, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
        try:
            return text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair
            return whole(text).encode()
