"""The worker of upstream's scheme, as light as Python allows: one process, one Lua runtime, no journal.

    python -s -P upstream_worker.py --sid SID --sock PATH

Contract, as upstream's `pool-worker`: binds PATH itself once it runs (its launcher waits for the file) and takes
connections one after the other. Each line is a request, `{op}`: hello, run {code, ctx}, continue {response},
shutdown; a pause is a coroutine that yields. Nothing is written to disk. Ends with the strategy or after shutdown.
"""

import argparse
import json
import socket
from typing import Any

from lupa.lua55 import LuaRuntime

_BEGIN = """
return function(code, input)
  alc, ctx = { llm = coroutine.yield }, input
  local strategy = coroutine.create(assert(load(code, "=strategy")))
  return function(answer)
    local is_fine, value = coroutine.resume(strategy, answer)
    return is_fine, coroutine.status(strategy) == "dead", value
  end
end
"""


class Worker:
    def __init__(self, sid: str) -> None:
        self._sid = sid
        self._queries = 0
        self.is_over = False

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["op"] == "hello":
            return {"kind": "hello", "sid": self._sid}
        if request["op"] == "run":
            lua = LuaRuntime()
            self._resume = lua.execute(_BEGIN)(request["code"], lua.table_from(request["ctx"]))
            return self._feed(None)
        if request["op"] == "continue":
            return self._feed(request["response"])
        self.is_over = True
        return {"kind": "shutdown"}

    def _feed(self, response: str | None) -> dict[str, Any]:
        is_fine, self.is_over, value = self._resume(response)
        result: dict[str, Any]
        if not is_fine:
            result = {"Finished": {"state": {"Failed": {"error": value}}, "metrics": {}}}
        elif self.is_over:
            result = {"Finished": {"state": {"Completed": {"result": value}}, "metrics": {}}}
        else:
            query = {"id": f"q-{self._queries}", "prompt": value, "system": None, "max_tokens": 1024}
            self._queries += 1
            result = {"Paused": {"queries": [query]}}
        return {"kind": "feed", "session_id": self._sid, "feed_result": result}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sid", required=True)
    parser.add_argument("--sock", required=True)
    args = parser.parse_args()
    worker = Worker(args.sid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(args.sock)
        listener.listen(128)
        while not worker.is_over:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    response = {"ok": True, "data": worker.answer(json.loads(line))}
                    connection.sendall(json.dumps(response).encode() + b"\n")


if __name__ == "__main__":
    main()
