"""Cache of the SDK's replies from earlier starts, which answers a host while the SDK is still being imported (1.1 s).

Contract. Needs the standard library alone. A *question* is a request of CACHEABLE without its id and without what
a client says of itself. Before `initialize` a request is a question only if its `_meta` names the protocol version;
afterwards a question includes the parameters of `initialize`. The answer is the SDK's own reply, byte for byte, with
the new id. Every request goes to the SDK as well: `record_reply` compares the SDK's reply with the early one, stores it
if it differs, and says that it must not be sent again. `close` is the switch from the cache to the SDK: nothing is
answered from the cache after it.

The file is in ALC_HOME/cache. Its name is a digest of everything that a reply can depend on: interpreter, ALC_*, and
path, inode, mtime and size of the files of this program, mcp, mcp_types and pydantic. A file that is not a regular
file of this user with mode 0600 is ignored.
"""

import hashlib
import importlib.util
import json
import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from algocline_mcp.storage.files import replace_atomically
from algocline_mcp.transport.lines import request_id, split_reply

CACHEABLE = frozenset(
    (
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    )
)
FILE_MAX_BYTES = 1024 * 1024
QUESTIONS_MAX = 64
FILES_MAX = 8
_RESULT = ',"result":'  # errors are not stored
_LINE_MAX_BYTES = 16 * 1024  # a longer request is not a question
_PROTOCOL = "io.modelcontextprotocol/protocolVersion"
_OF_CLIENT = frozenset(
    (
        "capabilities",
        "clientInfo",
        "progressToken",
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/clientInfo",
    )
)


class ResponseCache:
    """For two threads: the reader calls `answer`, the event loop `record_reply`."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: nothing is stored and nothing is answered."""
        self._path = path
        self._replies = _load(path) if path is not None else {}
        self._lock = threading.Lock()
        self._is_closed = path is None
        self._connection = ""  # digest of `initialize`; part of every later question
        self._asked: dict[bytes, str] = {}  # id -> question, until the SDK has replied
        self._early: dict[bytes, bytes] = {}  # id -> the reply that the host already has

    def answer(self, line: bytes) -> bytes | None:
        """The reply line to a question that an earlier start has answered, or None. Called for each line, in order."""
        with self._lock:
            if self._path is None or len(line) > _LINE_MAX_BYTES:
                return None
            question, number = self._question(line), request_id(line)
            if question is None or number is None or number in self._asked:
                return None
            self._asked[number] = question
            tail = self._replies.get(question)
            if tail is None or self._is_closed:
                return None
            self._early[number] = tail.encode()
            return b'{"jsonrpc":"2.0","id":%s%s\n' % (number, self._early[number])

    def close(self) -> None:
        """From now on the SDK reads and answers every request."""
        with self._lock:
            self._is_closed = True

    def record_reply(self, line: bytes) -> bool:
        """Stores a reply of the SDK for the next start. Returns True if the host already has a reply to the request."""
        if not self._asked:
            return False
        split = split_reply(line)
        if split is None:
            return False
        replied, tail = split[0], split[1].rstrip(b"\n")
        with self._lock:
            question = self._asked.pop(replied, None)
            early = self._early.pop(replied, None)
            if question is not None and tail != self._replies.get(question, "").encode():
                self._store(question, tail)
            return early is not None

    def _question(self, line: bytes) -> str | None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return None
        method = request.get("method") if isinstance(request, dict) else None
        if not isinstance(method, str) or method not in CACHEABLE or "id" not in request:
            return None
        params = request.get("params") or {}
        meta = params.get("_meta") if isinstance(params, dict) else None
        is_stateless = isinstance(meta, dict) and _PROTOCOL in meta
        digest = _digest([method, _without_client(params)])
        if method == "initialize":
            if self._connection:  # a second `initialize` is left to the SDK
                return None
            self._connection = digest
            return digest
        if is_stateless:
            return digest
        return _digest([self._connection, digest]) if self._connection else None

    def _store(self, question: str, tail: bytes) -> None:
        if self._path is None or len(self._replies) >= QUESTIONS_MAX or not tail.startswith(_RESULT.encode()):
            return
        self._replies[question] = tail.decode("utf-8", "replace")
        content = json.dumps(self._replies).encode()
        if len(content) <= FILE_MAX_BYTES:
            _save(self._path, content)


def open_response_cache(environ: Mapping[str, str]) -> ResponseCache:
    """The cache of this program, this interpreter and these settings. Never raises: without a cache the SDK answers."""
    home = environ.get("ALC_HOME") or (environ.get("HOME") and os.path.join(environ["HOME"], ".algocline-mcp"))
    try:
        return ResponseCache(
            Path(home) / "cache" / f"replies-{_digest(list(_identity(environ)))}.json" if home else None
        )
    except (OSError, ValueError, ImportError):
        return ResponseCache(None)


def _identity(environ: Mapping[str, str]) -> Iterator[str]:
    yield f"{sys.executable} {sys.version}"
    yield from sorted(f"{name}={value}" for name, value in environ.items() if name.startswith("ALC_"))
    own = Path(__file__).parents[1]
    files = [*own.rglob("*.py")]
    for package in ("mcp", "mcp_types", "pydantic"):
        spec = importlib.util.find_spec(package)  # finds, does not import
        if spec is not None and spec.origin is not None:
            files.append(Path(spec.origin))
    for path in sorted(files):
        status = path.stat()
        yield f"{path} {status.st_ino} {status.st_mtime_ns} {status.st_size}"


def _load(path: Path) -> dict[str, str]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            is_private = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
            if not is_private or status.st_size > FILE_MAX_BYTES:
                return {}
            replies = json.loads(file.read(FILE_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(replies, dict) or not all(map(_is_reply, replies.values())):
        return {}
    return replies


def _is_reply(tail: Any) -> bool:
    """True if `tail` completes a line to exactly one reply."""
    if not isinstance(tail, str) or not tail.startswith(_RESULT) or "\n" in tail:
        return False
    try:
        return set(json.loads(f'{{"id":0{tail}')) == {"id", "result"}
    except (ValueError, RecursionError):
        return False


def _save(path: Path, content: bytes) -> None:
    """Replaces the file atomically; deletes the oldest files of other programs and settings. Ignores a full disk."""
    with suppress(OSError):
        path.parent.parent.mkdir(
            mode=0o700, parents=True, exist_ok=True
        )  # the home; `mode` applies to the last directory alone
        path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_atomically(path, content, is_durable=False)
        others = sorted(path.parent.glob("replies-*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in others[FILES_MAX:]:
            old.unlink()


def _without_client(params: Any) -> Any:
    """`params` without what a client says of itself: a server lists the same to all, and hosts change it every week."""
    if not isinstance(params, dict):
        return params
    params = {name: value for name, value in params.items() if name not in _OF_CLIENT}
    if isinstance(meta := params.get("_meta"), dict):
        params["_meta"] = {name: value for name, value in meta.items() if name not in _OF_CLIENT}
        if not params["_meta"]:
            del params["_meta"]
    return params


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
