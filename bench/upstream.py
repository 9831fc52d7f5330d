"""The upstream's scheme, ported faithfully as a comparison: spawn the executable, look for its socket file every
50 ms, connect, shake hands, run, add to the registry (algocline_app/pool/dispatch.rs, version 0.51).

Contract: the same steps in the same order with the same time-outs, including what they get wrong: a socket file that
exists but does not listen yet is a refused run. Only the executable differs: Python with one Lua runtime
(programs/upstream_worker.py), which needs longer to start than upstream does.
"""

import fcntl
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.to_thread
from stage import PROGRAMS

POLL_S = 0.05
SOCKET_S = 5.0


class Upstream:
    """The server's half, with its directory of sockets and its registry. On leaving it no worker lives on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._registry = directory / "registry.json"
        self._lock = directory / "registry.lock"
        self._workers: list[subprocess.Popen[bytes]] = []

    async def run_via_pool(self, code: str, ctx: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The session's id and its first feed result. Raises OSError, TimeoutError."""
        sid = f"p-{time.time_ns():x}-{secrets.token_hex(8)}"
        pid, sock = self._spawn_worker(sid)
        with anyio.fail_after(SOCKET_S):
            while not sock.exists():  # noqa: ASYNC110  the scheme that is measured
                await anyio.sleep(POLL_S)
        result = await self._ask(sock, {"op": "run", "code": code, "ctx": ctx})
        entry = {"sid": sid, "pid": pid, "sock": str(sock), "version": "port", "created_at": time.time()}
        await anyio.to_thread.run_sync(self._persist_entry, entry)
        return sid, result

    async def continue_via_pool(self, sid: str, response: str) -> dict[str, Any]:
        return await self._ask(self._directory / f"{sid}.sock", {"op": "continue", "response": response})

    def _spawn_worker(self, sid: str) -> tuple[int, Path]:
        sock = self._directory / f"{sid}.sock"
        program = os.fspath(PROGRAMS / "upstream_worker.py")
        worker = subprocess.Popen(
            [sys.executable, "-s", "-P", program, "--sid", sid, "--sock", os.fspath(sock)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._workers.append(worker)
        return worker.pid, sock

    async def _ask(self, sock: Path, request: dict[str, Any]) -> dict[str, Any]:
        async with await anyio.connect_unix(sock) as stream:
            lines = b""
            for message in ({"op": "hello"}, request):
                await stream.send(json.dumps(message).encode() + b"\n")
                while b"\n" not in lines:
                    lines += await stream.receive()
                line, _, lines = lines.partition(b"\n")
            feed_result: dict[str, Any] = json.loads(line)["data"]["feed_result"]
            return feed_result

    def _persist_entry(self, entry: dict[str, Any]) -> None:
        with open(self._lock, "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            registry = json.loads(self._registry.read_text()) if self._registry.exists() else {"sessions": []}
            registry["sessions"].append(entry)
            draft = self._registry.with_suffix(".tmp")
            with open(draft, "w") as file:
                file.write(json.dumps(registry))
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, self._registry)

    def end_workers(self) -> None:
        """Kills and reaps them: there is nothing that they could lose."""
        for worker in self._workers:
            worker.kill()
            worker.wait()
        self._workers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.end_workers()
