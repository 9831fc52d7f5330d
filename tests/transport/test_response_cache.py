"""Answers before the SDK is imported: byte for byte, never twice, never lost, and only from a private file."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from algocline_mcp.transport.response_cache import (
    FILE_MAX_BYTES,
    FILES_MAX,
    QUESTIONS_MAX,
    ResponseCache,
    open_response_cache,
)

if TYPE_CHECKING:
    from tests.rig.hosts import RawServer

LIMIT_S = 120.0  # a test that hangs fails after this; no test takes as long, even on a busy machine


def _initialize(number: int = 1, *, name: str = "host", version: str = "1", protocol: str = "2025-06-18") -> bytes:
    info = {"name": name, "version": version}
    params = {"protocolVersion": protocol, "capabilities": {}, "clientInfo": info}
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": "initialize", "params": params}).encode()


def _stateless(number: int, method: str = "tools/list", *, version: str = "1", protocol: str = "2026-07-28") -> bytes:
    meta = {
        "io.modelcontextprotocol/protocolVersion": protocol,
        "io.modelcontextprotocol/clientInfo": {"name": "host", "version": version},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": {"_meta": meta}}).encode()


def _plain(number: int, method: str = "tools/list") -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method}).encode()


def _reply(number: int, result: Any) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":%s}\n' % (number, json.dumps(result).encode())


def _filled(path: Path, *exchanges: tuple[bytes, bytes]) -> Path:
    cache = ResponseCache(path)
    for request, reply in exchanges:
        cache.answer(request)
        cache.record_reply(reply)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "cache" / "replies-x.json"


def test_known_question_is_answered_byte_for_byte_under_the_new_id(path: Path) -> None:
    cache = ResponseCache(_filled(path, (_initialize(1), _reply(1, {"é": 1})), (_plain(2), _reply(2, {"tools": []}))))

    assert cache.answer(_initialize(22, name="another", version="9.9")) == _reply(22, {"é": 1})
    assert cache.answer(_plain(23)) == _reply(23, {"tools": []})


@pytest.mark.parametrize(
    "asked",
    [
        [_initialize(1, protocol="2025-11-25")],
        [_plain(2)],
        [_initialize(1), _initialize(3)],
        [_initialize(1), _plain(2, "tools/call")],
        [_stateless(2, protocol="2030-01-01")],
        [b'{"jsonrpc":"2.0","method":"tools/list"}'],
        [b"[" * 100_000],
        [b'{"jsonrpc":"2.0","id":2,"method":["tools/list"]}'],
    ],
)
def test_another_question_is_left_to_the_sdk(path: Path, asked: list[bytes]) -> None:
    cache = ResponseCache(_filled(path, (_initialize(1), _reply(1, {"a": 1})), (_plain(2), _reply(2, {"tools": []}))))

    assert [cache.answer(line) for line in asked][-1] is None


def test_stateless_request_is_answered_without_any_handshake(path: Path) -> None:
    cache = ResponseCache(_filled(path, (_stateless(1), _reply(1, {"tools": [1]}))))

    assert cache.answer(_stateless(5, version="3")) == _reply(5, {"tools": [1]})


def test_reply_of_the_sdk_to_an_early_answer_is_dropped_and_renews_the_cache(path: Path) -> None:
    cache = ResponseCache(_filled(path, (_stateless(1), _reply(1, {"tools": ["old"]}))))
    cache.answer(_stateless(2))

    assert cache.record_reply(_reply(2, {"tools": ["new"]}))
    assert not cache.record_reply(_reply(2, {"tools": ["new"]}))
    assert ResponseCache(path).answer(_stateless(3)) == _reply(3, {"tools": ["new"]})


def test_after_the_switch_nothing_is_answered_but_replies_are_stored(path: Path) -> None:
    cache = ResponseCache(path)
    cache.close()

    assert cache.answer(_stateless(1)) is None
    assert not cache.record_reply(_reply(1, {"tools": []}))
    assert ResponseCache(path).answer(_stateless(1)) == _reply(1, {"tools": []})


def test_error_of_the_sdk_is_not_stored(path: Path) -> None:
    cache = ResponseCache(
        _filled(path, (_stateless(1), b'{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"x"}}\n'))
    )

    assert cache.answer(_stateless(2)) is None


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _nest(path: Path) -> None:
    path.write_bytes(b"[" * 200_000)


def _second_reply(path: Path) -> None:
    path.write_text(json.dumps({key: value + '\n{"forged":1}' for key, value in json.loads(path.read_text()).items()}))


def _further_field(path: Path) -> None:
    replies = json.loads(path.read_text())
    path.write_text(json.dumps({key: value[:-1] + ',"method":"x"}' for key, value in replies.items()}))


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _swell(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * FILE_MAX_BYTES)


@pytest.mark.parametrize(
    "harm",
    [_cut, _nest, _second_reply, _further_field, _link, _fifo, _swell, Path.unlink, lambda path: path.chmod(0o644)],
)
def test_cut_nested_forged_foreign_or_open_file_is_ignored(path: Path, harm: Callable[[Path], None]) -> None:
    _filled(path, (_stateless(1), _reply(1, {"tools": []})))
    assert ResponseCache(path).answer(_stateless(1)) is not None
    harm(path)

    assert ResponseCache(path).answer(_stateless(1)) is None


def test_file_is_for_its_owner_alone(path: Path) -> None:
    _filled(path, (_stateless(1), _reply(1, {"tools": []})))

    assert [entry.stat().st_mode & 0o777 for entry in (path, *path.parents[:2])] == [0o600, 0o700, 0o700]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_cache_is_bounded(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for number in range(FILES_MAX + 3):
        (path.parent / f"replies-{number}.json").touch()
    cache = ResponseCache(path)
    for number in range(QUESTIONS_MAX + 5):
        cache.answer(_stateless(number, protocol=str(number)))
        cache.record_reply(_reply(number, {}))

    assert len(json.loads(path.read_text())) == QUESTIONS_MAX
    assert len(list(path.parent.iterdir())) == FILES_MAX


def test_each_setting_and_program_has_its_own_cache(tmp_path: Path) -> None:
    def file_of(**settings: str) -> Path | None:
        return open_response_cache({"ALC_HOME": str(tmp_path), **settings})._path

    assert file_of() == file_of(LANG="C")
    assert file_of() != file_of(ALC_TOOLS="full")


def test_unwritable_home_costs_the_cache_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the home should be")
    cache = open_response_cache({"ALC_HOME": str(tmp_path / "home")})

    assert cache.answer(_stateless(1)) is None
    assert not cache.record_reply(_reply(1, {}))


# ── with a real server ────────────────────────────────────────────────────────────────────────────────────


def _start(environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "algocline_mcp"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def _replies(environment: dict[str, str], lines: list[bytes]) -> dict[int, list[bytes]]:
    """The replies of a server to `lines`, which are sent every 2 ms while it starts: id -> reply lines without id."""
    server = _start(environment)
    assert server.stdin is not None
    assert server.stdout is not None
    replies: dict[int, list[bytes]] = {}
    reader = threading.Thread(target=_collect, args=(server.stdout, replies, len(lines)), daemon=True)
    reader.start()
    gap = threading.Event()
    for line in lines:
        server.stdin.write(line + b"\n")
        server.stdin.flush()
        gap.wait(0.002)
    reader.join(LIMIT_S)
    server.stdin.close()
    server.wait(LIMIT_S)
    server.stdout.close()
    return replies


def _collect(stdout: Any, replies: dict[int, list[bytes]], count: int) -> None:
    for _ in range(count):
        line = stdout.readline()
        if not line:
            return
        number = json.loads(line)["id"]
        replies.setdefault(number, []).append(line.replace(b'"id":%d' % number, b'"id":0', 1))


@pytest.mark.slow
def test_no_request_is_lost_doubled_or_answered_otherwise_through_the_switch(environment: dict[str, str]) -> None:
    lines = [_stateless(number, ("tools/list", "prompts/list", "server/discover")[number % 3]) for number in range(900)]
    first = _replies(environment, lines[:30])

    for _ in range(2):
        replies = _replies(environment, lines)

        assert sorted(replies) == list(range(900))
        assert {len(copies) for copies in replies.values()} == {1}
        assert all(replies[number] == first[number % 3] for number in replies)


def test_server_that_cannot_import_the_sdk_answers_every_request_with_the_cause(
    environment: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    (broken / "mcp").mkdir(parents=True)
    (broken / "mcp" / "__init__.py").write_text("raise ImportError('mcp is broken')")
    environment["PYTHONPATH"] = os.pathsep.join([str(broken), environment["PYTHONPATH"]])

    replies = _replies(environment, [_initialize(1), _plain(2), _plain(3, "tools/call")])

    assert sorted(replies) == [1, 2, 3]
    assert all(b"-32603" in lines[0] for lines in replies.values())


@pytest.mark.slow
def test_second_start_replies_the_same_as_the_first(raw: "RawServer", environment: dict[str, str]) -> None:
    raw.initialize()
    raw.send(_plain(5) + b"\n")
    listed = raw.line()
    raw.close()

    replies = _replies(environment, [raw.INITIALIZE.strip().split(b"\n")[0], _plain(5)])

    assert json.loads(replies[5][0])["result"] == listed["result"]


@pytest.mark.slow
def test_replies_depend_on_no_client(environment: dict[str, str], tmp_path: Path) -> None:
    info = {"name": "claude-code", "title": "Claude Code", "version": "9"}
    capabilities = {"roots": {"listChanged": True}, "elicitation": {}, "sampling": {}}
    params = {"protocolVersion": "2025-06-18", "capabilities": capabilities, "clientInfo": info}
    other = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}).encode()
    lists = [_plain(2), _plain(3, "prompts/list"), _plain(4, "resources/list"), _plain(5, "resources/templates/list")]

    plain = _replies({**environment, "ALC_HOME": str(tmp_path / "a")}, [_initialize(1), *lists])
    rich = _replies({**environment, "ALC_HOME": str(tmp_path / "b")}, [other, *lists])

    assert sorted(plain) == [1, 2, 3, 4, 5]
    assert plain == rich
