"""Paths, variables and arguments that are not UTF-8: carried where they can be, else refused with one sentence."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from algocline_mcp.cli.demo import end_workers
from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused, whole
from tests.rig.hosts import LIMIT_S, RawServer, server_environment

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no names that are not UTF-8")
BAD = "a\udcff\udcfe"  # the bytes 61 ff fe
GONE = "p-18c2f0a1b2c3d4e5-0123456789abcdef"


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="alc") as parent:
        directory = Path(parent) / BAD
        directory.mkdir()
        yield directory


def _alc(directory: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "ALC_HOME": str(directory.parent / "h"), **variables}
    command = [sys.executable, "-m", "algocline_mcp", *arguments]
    try:
        return subprocess.run(
            command, env=environ, input=b"an answer\n\n", capture_output=True, timeout=LIMIT_S, check=False
        )
    finally:
        end_workers(Home(Path(environ["ALC_HOME"])))


def test_message_of_an_error_is_unicode() -> None:
    assert str(Refused(f"{BAD} is gone")) == "a\ufffd\ufffd is gone"
    assert whole("\U0001f600 é") == "\U0001f600 é"


@pytest.mark.slow
@pytest.mark.parametrize("home", [f"/proc/{BAD}", "HOME"])
@pytest.mark.parametrize("others", [False, True])
def test_server_answers_everything_with_a_home_that_is_not_utf_8(directory: Path, home: str, others: bool) -> None:
    home = str(directory / "h") if home == "HOME" else home
    further = dict.fromkeys(("ALC_PROJECT_ROOT", "ALC_PACKAGES_PATH", "HOME"), str(directory)) if others else {}
    raw = RawServer({**server_environment(Path(home), fake=False), **further})
    requests = [
        ("tools/call", {"name": "alc_run", "arguments": {"code": "return alc.llm('x')"}}),
        ("tools/call", {"name": "alc_status", "arguments": {}}),
        ("tools/call", {"name": "alc_catalog", "arguments": {}}),
        ("tools/call", {"name": "alc_run", "arguments": {"strategy": "none"}}),
        ("resources/read", {"uri": f"alc://sessions/{GONE}/summary"}),
        ("resources/list", {}),
    ]
    try:
        raw.initialize()
        for number, (method, params) in enumerate(requests, 1):
            raw.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")

            assert raw.line()["id"] == number
    finally:
        raw.close()
        end_workers(Home(Path(home)))


@pytest.mark.slow
def test_terminal_works_with_a_home_that_is_not_utf_8(directory: Path) -> None:
    (directory.parent / "s.lua").write_text("return alc.llm('x')")
    home = str(directory / "h")

    done = _alc(directory, "run", str(directory.parent / "s.lua"), ALC_HOME=home)
    assert (done.returncode, done.stdout) == (0, b"an answer\n"), done.stderr
    assert _alc(directory, "ps", ALC_HOME=home).returncode == 0
    sid = done.stderr.partition(b"session ")[2].split()[0].decode()
    exported = _alc(directory, "export", sid, str(directory / "x.journal"), ALC_HOME=home)
    assert exported.stdout.rstrip(b"\n") == os.fsencode(directory / "x.journal")


@pytest.mark.parametrize("arguments", [["t=" + BAD], [BAD + "=1"], ["--title", BAD]])
def test_argument_that_is_not_utf_8_is_refused_with_one_sentence(directory: Path, arguments: list[str]) -> None:
    (directory.parent / "s.lua").write_text("return alc.llm('x')")

    done = _alc(directory, "run", str(directory.parent / "s.lua"), *arguments)
    assert done.returncode == 2
    assert b"is not UTF-8: write it in UTF-8" in done.stderr
    assert b"Traceback" not in done.stderr


def test_file_whose_path_is_not_utf_8_is_refused_with_one_sentence(directory: Path) -> None:
    (directory / "s.lua").write_text("return alc.llm('x')")

    done = _alc(directory, "run", str(directory / "s.lua"))
    assert done.returncode == 2
    assert b"is not UTF-8" in done.stderr
    assert b"rename the file or its directory" in done.stderr


def test_configuration_of_a_host_holds_no_home_that_is_not_utf_8(directory: Path) -> None:
    done = _alc(directory, "config", "cursor", ALC_HOME=str(directory / "h"))

    assert (done.returncode, done.stdout) == (1, b"")
    assert b"is not UTF-8" in done.stderr
