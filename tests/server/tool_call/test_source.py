"""Source of a strategy: files, and a disk that does not answer."""

import os
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Unreachable
from algocline_mcp.server.tool_call import source
from tests.rig.hosts import Tools
from tests.rig.tool_replies import refusal_of, result_of


def test_a_hanging_disk_delays_a_call_no_longer_than_its_grace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, repaired = Home(tmp_path), threading.Event()
    monkeypatch.setattr(source, "find_root", lambda environ: repaired.wait(120) and None)

    async def play() -> None:
        try:
            with anyio.fail_after(60), pytest.raises(Unreachable, match="hangs; nothing was started"):
                await source.read_source(source.Chosen("return 1"), home=home, limits=Limits(grace_s=0.05))
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
NO_SUFFIX = "the name of a strategy ends with .py or .lua"


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
        ("prose.py", "prose.py does not compile: prose.py:1: "),
        ("null.py", "null.py does not compile: "),
        ("deep.py", "deep.py does not compile: "),
        ("chain.py", "chain.py does not compile: "),
        ("notes.txt", NO_SUFFIX),
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
        "prose.py": "Dear diary, no",
        "null.py": "return 1\0",
        "deep.py": "(" * 9999,
        "chain.py": "-" * 99999 + "1",
        "notes.txt": "KEY=1",
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


@pytest.mark.parametrize(("file", "code", "language"), [("a.py", "return 1", "python"), ("a.lua", "return 1", "lua")])
def test_a_file_has_the_language_of_its_suffix(
    tools: Tools, tmp_path: Path, file: str, code: str, language: str
) -> None:
    (tmp_path / file).write_text(code)
    other = "lua" if language == "python" else "python"

    started, same, refused = tools.calls(
        ("alc_run", {"code_file": file, "project_root": str(tmp_path)}),
        ("alc_run", {"code_file": file, "project_root": str(tmp_path), "language": language}),
        ("alc_run", {"code_file": file, "project_root": str(tmp_path), "language": other}),
    )

    assert [result_of(reply)["result"]["language"] for reply in (started, same)] == [language, language]
    assert f"{file} is written in {language}, not in {other}: leave language out" in refusal_of(refused)


@pytest.mark.parametrize(
    ("code", "named", "language"),
    [
        ("def run(ctx):\n    return 1", None, "python"),
        ("return 1", None, "lua"),
        ("return 1", "python", "python"),
        ("def run(ctx):\n    return 1", "lua", "lua"),
        ("local x = 1 return x", "", "lua"),
    ],
)
def test_a_text_has_the_language_in_which_it_parses_or_that_the_call_names(
    tools: Tools, code: str, named: str | None, language: str
) -> None:
    started = result_of(tools.call("alc_run", code=code, language=named))["result"]

    assert started["language"] == language


def test_a_language_that_does_not_exist_is_refused_with_those_that_do(tools: Tools) -> None:
    sentence = refusal_of(tools.call("alc_run", code="return 1", language="perl"))

    assert 'language is "perl": use one of python, lua, or leave language out' in sentence


WRONG_INPUTS = [
    (
        {"strategy": "review"},
        'review needs file (the text to review): give opts={"file": "…"}, or the text of a file by ',
    ),
    (
        {"strategy": "vote", "task": "?", "opts": {"n": 0}},
        "vote: n (how many votes) must be from 1 to 100, and is 0: give",
    ),
    (
        {"strategy": "vote", "ctx": {"tasks": "?"}},
        "vote needs task (the question, with one short answer: a number, a name",
    ),
    ({"code_file": "own/init.lua"}, "own needs q (why): give opts={"),
]


@pytest.mark.parametrize(("call", "sentence"), WRONG_INPUTS, ids=str)
def test_inputs_that_a_package_declares_are_checked_before_anything_starts(
    tools: Tools, tmp_path: Path, call: dict[str, Any], sentence: str
) -> None:
    (tmp_path / "own").mkdir()
    declared = "return {meta = {inputs = {q = {type = 'string', description = 'why'}}}, run = function() end}"
    (tmp_path / "own" / "init.lua").write_text(declared)

    reply, listing = tools.calls(("alc_run", {"project_root": str(tmp_path)} | call), ("alc_status", {}))

    assert refusal_of(reply).startswith(sentence)
    assert refusal_of(reply).endswith("[bad_input]")
    assert result_of(listing)["sessions"] == []
