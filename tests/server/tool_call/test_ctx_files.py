"""Files whose texts become values of ctx: which are read, and that nothing else is."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.rig.hosts import Tools
from tests.rig.stdio_home import StdioHome
from tests.rig.tool_replies import refusal_of, result_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of the host, with a file beside it that is nobody's business."""
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    (project / "docs" / "guide.md").write_bytes("\ufeffGrüße\r\nZeile 2\n".encode())
    (tmp_path / "key").write_text("KEY=1")
    monkeypatch.chdir(project)
    return project


def _started(tools: Tools, **arguments: Any) -> dict[str, Any]:
    result: dict[str, Any] = result_of(tools.call("alc_run", code="return 1", **arguments))["result"]
    return result


@pytest.mark.parametrize("path", ["docs/guide.md", "./docs/../docs/guide.md", "{project}/docs/guide.md", "link.md"])
def test_the_text_of_a_file_of_the_project_becomes_a_value_of_ctx(tools: Tools, project: Path, path: str) -> None:
    (project / "link.md").symlink_to("docs/guide.md")

    started = _started(tools, ctx={"n": 1}, task="T", ctx_files={"text": path.format(project=project)})

    assert started["ctx"] == {"n": 1, "task": "T", "text": "Grüße\r\nZeile 2\n"}


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("../key", "ctx_files.text: ../key lies outside the project"),
        ("/etc/passwd", "lies outside the project"),
        ("/proc/self/environ", "lies outside the project"),
        ("~/key", "lies outside the project"),
        ("link", "lies outside the project"),
        ("outer/key", "lies outside the project"),
        ("inner", "inner is a hidden file"),
        (".env", "is a hidden file"),
        (".git/config", "is a hidden file"),
        ("docs/.secret/x", "is a hidden file"),
        ("docs", "Is a directory"),
        ("none", "No such file or directory"),
        ("pipe", "not a regular file; name a file with text"),
        ("latin1", "byte 3 is not UTF-8"),
        ("long", "long has 2097153 bytes, at most 2097152: name a part of it, or raise ALC_CTX_BYTES"),
        (3, "ctx_files.text is 3: give the path of a file"),
        ("a\0b", "give the path of a file"),
    ],
)
def test_anything_else_is_refused_and_starts_nothing(tools: Tools, project: Path, path: Any, sentence: str) -> None:
    (project / ".env").write_text("KEY=1")
    (project / "latin1").write_bytes(b"caf\xe9")
    (project / "long").write_text("x" * (2 * 1024 * 1024 + 1))
    os.mkfifo(project / "pipe")
    for link, target in {"link": "../key", "outer": "..", "inner": ".env"}.items():
        (project / link).symlink_to(target)

    refused, listed = tools.calls(("alc_run", {"code": "return 1", "ctx_files": {"text": path}}), ("alc_status", {}))

    assert sentence in refusal_of(refused)
    assert "KEY=1" not in refusal_of(refused)
    assert result_of(listed)["active_sessions"] == 0


def test_files_together_are_no_longer_than_a_ctx(tools: Tools, project: Path) -> None:
    (project / "half").write_text("x" * 1_100_000)

    refusal = refusal_of(tools.call("alc_run", code="return 1", ctx_files={"a": "half", "b": "half"}))

    assert "half has 1100000 bytes, at most 997152" in refusal


def test_a_name_that_is_given_twice_is_refused(tools: Tools, project: Path) -> None:
    refusal = refusal_of(tools.call("alc_run", code="return 1", task="T", ctx_files={"task": "docs/guide.md"}))

    assert refusal.startswith("task is given in ctx_files and in ctx, opts or task: give it once")


@pytest.mark.parametrize(
    ("mark", "is_read"), [(None, False), (".git", True), ("alc.toml", True)], ids=["nothing", ".git", "alc.toml"]
)
def test_project_root_counts_where_it_holds_a_project(
    tools: Tools, project: Path, tmp_path: Path, mark: str | None, is_read: bool
) -> None:
    """The model chooses it too: /etc and a home are no projects."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.txt").write_text("A")
    if mark is not None:
        (other / mark).touch()

    reply = tools.call("alc_run", code="return 1", ctx_files={"text": "a.txt"}, project_root=str(other))

    if is_read:
        assert result_of(reply)["result"]["ctx"] == {"text": "A"}
    else:
        assert f"lies outside the project ({project})" in refusal_of(reply)


def test_a_directory_of_the_operator_counts(
    tools: Tools, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALC_CODE_DIRS", str(tmp_path))

    assert _started(tools, ctx_files={"text": str(tmp_path / "key")})["ctx"] == {"text": "KEY=1"}


@pytest.mark.parametrize("directory", ["/", "HOME"])
def test_neither_the_root_nor_the_home_of_a_host_without_a_project_is_one(
    tools: Tools, project: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    monkeypatch.setenv("HOME", str(project))
    monkeypatch.chdir(project if directory == "HOME" else directory)

    refusal = refusal_of(tools.call("alc_run", code="return 1", ctx_files={"text": str(project / "docs/guide.md")}))

    assert "lies outside the project;" in refusal


@pytest.mark.slow
@pytest.mark.anyio
async def test_a_session_goes_on_without_its_file(stdio_home: StdioHome, tmp_path: Path) -> None:
    """The text is in the journal: a worker that replays reads no file."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.txt").write_text("first")
    code = 'local a = alc.llm("one") return alc.llm(ctx.text .. a)'

    async with stdio_home.client() as client:
        begun = await client.call_tool(
            "alc_run", {"code": code, "ctx_files": {"text": "a.txt"}, "project_root": str(tmp_path)}
        )
        sid = result_of(begun)["session_id"]
        (tmp_path / "a.txt").unlink()
        await client.call_tool("alc_stop", {"session_id": sid})
        paused = await client.call_tool("alc_continue", {"session_id": sid, "response": "-A"})
        await client.call_tool("alc_stop", {"session_id": sid, "mode": "cancel"})

    assert result_of(paused)["prompt"] == "first-A"
