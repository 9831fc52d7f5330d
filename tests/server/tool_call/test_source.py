"""Source of a strategy: files, and a disk that does not answer."""

import os
import threading
from pathlib import Path

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Unreachable
from algocline_mcp.server.tool_call import source
from algocline_mcp.server.tool_call.arguments import ABSENT
from tests.rig.hosts import Tools
from tests.rig.tool_replies import refusal_of, result_of


def test_a_hanging_disk_delays_a_call_no_longer_than_its_grace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, repaired = Home(tmp_path), threading.Event()
    monkeypatch.setattr(source, "find_root", lambda environ: repaired.wait(120) and None)

    async def play() -> None:
        try:
            with anyio.fail_after(60), pytest.raises(Unreachable, match="hangs; nothing was started"):
                await source.read_source("return 1", ABSENT, ABSENT, ABSENT, home=home, limits=Limits(grace_s=0.05))
        finally:
            repaired.set()

    anyio.run(play)


def test_a_file_is_found_from_the_project_and_names_its_chunk(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "plans").mkdir()
    (tmp_path / "plans" / "p.lua").write_bytes(b"\xef\xbb\xbfreturn 1\n")

    started = result_of(tools.call("alc_run", code_file="plans/p.lua", project_root=str(tmp_path)))["result"]
    assert started["code"] == "return 1\n"
    assert started["chunk"] == "p.lua"
    assert started["lib_paths"] == [str(tmp_path / "plans"), str(tmp_path)]


def test_a_file_is_found_from_the_working_directory_otherwise(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.lua").write_text("return 2")

    assert result_of(tools.call("alc_run", code_file="q.lua"))["result"]["code"] == "return 2"


OUTSIDE = "lies outside the project"
NO_SUFFIX = "the name of a strategy ends with .lua"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/proc/self/environ", OUTSIDE),
        ("/etc/passwd", OUTSIDE),
        ("../outside.lua", OUTSIDE),
        ("secret", NO_SUFFIX),
        ("secret.LUA", NO_SUFFIX),
        ("link.lua", NO_SUFFIX),
        ("environ.lua", OUTSIDE),
        ("outward.lua", OUTSIDE),
        ("outer/outside.lua", OUTSIDE),
        ("prose.lua", "prose.lua does not compile: prose.lua:1: syntax error near"),
        ("bytes.lua", "bytes.lua does not compile: attempt to load a binary chunk"),
        ("deep.lua", "deep.lua does not compile: C stack overflow"),
    ],
)
def test_only_a_strategy_below_the_project_is_read(tools: Tools, tmp_path: Path, name: str, sentence: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    texts = {
        "secret": "KEY=1",
        "secret.LUA": "return 1",
        "prose.lua": "Dear diary, no",
        "bytes.lua": "\x1bLua",
        "deep.lua": "(" * 9999,
    }
    for file, text in texts.items():
        (project / file).write_text(text)
    (tmp_path / "outside.lua").write_text("return 1")
    links = {"link.lua": "secret", "environ.lua": "/proc/self/environ", "outward.lua": "../outside.lua", "outer": ".."}
    for link, target in links.items():
        (project / link).symlink_to(target)

    refused, listed = tools.calls(("alc_run", {"code_file": name, "project_root": str(project)}), ("alc_status", {}))

    assert sentence in refusal_of(refused)
    assert "KEY=1" not in refusal_of(refused)
    assert result_of(listed)["active_sessions"] == 0


@pytest.mark.parametrize("is_allowed", [False, True])
def test_a_setting_allows_further_directories(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_allowed: bool
) -> None:
    (tmp_path / "a.lua").write_text("#!/usr/bin/env alc\nreturn 1")
    monkeypatch.setenv("ALC_CODE_DIRS", f"relative:{tmp_path if is_allowed else '/nowhere'}")

    reply = tools.call("alc_run", code_file=str(tmp_path / "a.lua"))
    assert reply.is_error is not is_allowed


def test_the_root_of_the_machine_is_no_project(tools: Tools, tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_text("return 1")

    reply = tools.call("alc_run", code_file=str(tmp_path / "a.lua"), project_root="/")
    assert "lies outside the project" in refusal_of(reply)


@pytest.mark.parametrize("kind", ["absent", "directory", "pipe", "large", "binary"])
def test_a_file_that_cannot_be_read_is_named_with_the_cure(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("ALC_CODE_BYTES", "10")
    monkeypatch.setenv("ALC_CODE_DIRS", str(tmp_path))
    path = tmp_path / "f.lua"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("large", "binary"):
        path.write_bytes(b"x" * 11 if kind == "large" else b"\xff")
    expected = {
        "absent": f"Failed to read {path}: No such file or directory (os error 2); check",
        "directory": f"Failed to read {path}: Is a directory (os error 21); check",
        "pipe": "not a regular file; name a file",
        "large": "11 bytes, at most 10: shorten",
        "binary": "byte 0 is not UTF-8; save the file",
    }[kind]

    assert expected in refusal_of(tools.call("alc_run", code_file=str(path)))


MODULE = "local M = {}\nfunction M.run(ctx) return alc.llm(ctx.task) end\nreturn M\n"


@pytest.mark.parametrize(
    ("file", "code", "name"),
    [
        ("pk/init.lua", MODULE, "pk"),
        ("pk/init.lua", "return {run = function(ctx) return 1 end}", "pk"),
        ("pk/init.lua", "return alc.llm('a strategy of its own')", None),
        ("pk/init.lua", "return {help = function() end}", None),
        ("pk/other.lua", MODULE, None),
        ("no name/init.lua", MODULE, None),
    ],
)
def test_entry_file_of_a_package_runs_as_that_package(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, code: str, name: str | None
) -> None:
    monkeypatch.setenv("ALC_CODE_DIRS", str(tmp_path))
    path = tmp_path / file
    path.parent.mkdir()
    path.write_text(code)

    started = result_of(tools.call("alc_run", code_file=str(path)))["result"]
    assert started["name"] == name
    assert started["lib_paths"] == [*([str(tmp_path)] if name else []), str(path.parent)]
    assert started["chunk"] == ("pk/init.lua" if name else path.name)
