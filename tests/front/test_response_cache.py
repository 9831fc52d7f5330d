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

from algocline_mcp.front.response_cache import (
    FILE_MAX_BYTES,
    FILES_MAX,
    QUESTION_MAX_CHARS,
    QUESTIONS_MAX,
    CacheFile,
    ResponseCache,
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


def _answer(result: Any) -> bytes:
    return b',"result":%s}' % json.dumps(result).encode()


def _questions(*lines: bytes) -> list[str | None]:
    cache = ResponseCache()
    return [cache.question(json.loads(line)) for line in lines]


def test_questions_of_other_hosts_and_ids_are_the_same() -> None:
    asked = _questions(_initialize(1), _plain(2), _stateless(3))

    assert None not in asked
    assert asked == _questions(_initialize(22, name="another", version="9.9"), _plain(23), _stateless(5, version="3"))


@pytest.mark.parametrize(
    "asked",
    [
        [_plain(2)],
        [_initialize(1), _initialize(3)],
        [_initialize(1), _plain(2, "tools/call")],
        [_initialize(1), _plain(2)[:-1] + b',"params":{"cursor":"%s"}}' % (b"x" * QUESTION_MAX_CHARS)],
    ],
)
def test_another_request_is_left_to_the_server(asked: list[bytes]) -> None:
    assert _questions(*asked)[-1] is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([_initialize(1)], [_initialize(1, protocol="2025-11-25")]),
        ([_stateless(1)], [_stateless(1, protocol="2030-01-01")]),
        ([_initialize(1), _plain(2)], [_initialize(1, protocol="2025-11-25"), _plain(2)]),
        ([_stateless(1)], [_stateless(1, "prompts/list")]),
    ],
)
def test_what_a_reply_may_depend_on_is_part_of_the_question(one: list[bytes], other: list[bytes]) -> None:
    assert _questions(*one)[-1] != _questions(*other)[-1]


def test_an_answer_is_learnt_once_and_renewed() -> None:
    cache = ResponseCache({"q": _answer("old")})

    assert not cache.learn("q", _answer("old"))
    assert cache.learn("q", _answer("new"))
    assert cache.answers["q"] == _answer("new")


def test_an_error_is_not_learnt() -> None:
    assert not ResponseCache().learn("q", b',"error":{"code":-1,"message":"x"}}')


def test_the_cache_is_bounded() -> None:
    cache = ResponseCache()
    for number in range(QUESTIONS_MAX + 5):
        cache.learn(str(number), _answer(number))

    assert len(cache.answers) == QUESTIONS_MAX


# ── the file ──────────────────────────────────────────────────────────────────────────────────────────────

ANSWERS = {"a question": _answer({"é": 1}), "another": _answer([])}


@pytest.fixture
def file(tmp_path: Path) -> CacheFile:
    return CacheFile({"ALC_HOME": str(tmp_path / "home")})


def test_what_was_saved_is_loaded_byte_for_byte(file: CacheFile) -> None:
    file.save(ANSWERS)

    assert file.load() == ANSWERS


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def _nest(path: Path) -> None:
    path.write_bytes(b"[" * 200_000)


def _change(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _second_reply(path: Path) -> None:
    _change(path, lambda content: content["replies"].update(another=',"result":1}\n{"forged":1}'))


def _further_field(path: Path) -> None:
    _change(path, lambda content: content["replies"].update(another=',"result":1,"method":"x"}'))


def _other_program(path: Path) -> None:
    _change(path, lambda content: content.update(identity=content["identity"] + " "))


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _swell(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * FILE_MAX_BYTES)


def _open(path: Path) -> None:
    path.chmod(0o644)


@pytest.mark.parametrize(
    "harm",
    [_cut, _nest, _second_reply, _further_field, _other_program, _link, _fifo, _swell, _open, Path.unlink],
)
def test_cut_nested_forged_foreign_or_open_file_is_ignored(file: CacheFile, harm: Callable[[Path], None]) -> None:
    file.save(ANSWERS)
    assert file.load() == ANSWERS
    harm(Path(file.path))

    assert file.load() == {}


def test_file_is_for_its_owner_alone(file: CacheFile) -> None:
    file.save(ANSWERS)

    path = Path(file.path)
    assert [entry.stat().st_mode & 0o777 for entry in (path, *path.parents[:2])] == [0o600, 0o700, 0o700]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_old_files_are_deleted(file: CacheFile) -> None:
    directory = Path(file.path).parent
    directory.mkdir(parents=True)
    for number in range(FILES_MAX + 3):
        (directory / f"replies-{number}.json").touch()
        os.utime(directory / f"replies-{number}.json", (number, number))
    file.save(ANSWERS)

    assert len(list(directory.iterdir())) == FILES_MAX
    assert file.load() == ANSWERS


def test_each_setting_and_program_has_its_own_file(tmp_path: Path) -> None:
    def path_of(**settings: str) -> str:
        return CacheFile({"ALC_HOME": str(tmp_path), **settings}).path

    assert path_of() == path_of(LANG="C")
    assert path_of() != path_of(ALC_TOOLS="full")


def test_unwritable_home_costs_the_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the home should be")
    file = CacheFile({"ALC_HOME": str(tmp_path / "home")})
    file.save(ANSWERS)

    assert file.load() == {}


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
