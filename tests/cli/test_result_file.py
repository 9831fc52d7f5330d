"""The file of --out, and where a result goes."""

import os
import stat
from pathlib import Path

import click
import pytest

from algocline_mcp.cli import result_file
from algocline_mcp.cli.main import alc
from tests.cli.conftest import Terminal
from tests.rig.stdio_home import StdioHome


def test_a_file_is_replaced_in_one_step_and_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "out.md"
    file.write_text("old")
    file.chmod(0o640)

    with file.open() as reader:
        result_file.write(str(file), "new – ü")
        seen = reader.read()

    assert (seen, file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("old", "new – ü", 0o640)
    assert os.listdir(tmp_path) == ["out.md"]


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        result_file.write(str(tmp_path / "new"), "text")
        assert os.umask(before) == 0o027
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640


def test_behind_a_link_the_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")

    result_file.write(str(tmp_path / "link"), "text")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "text"


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        result_file.check(str(pipe))
        result_file.write(str(pipe), "text")
        assert os.read(reader, 100) == b"text"
    finally:
        os.close(reader)

    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("directory", "it is a directory"), ("none/out", "there is no directory"), ("file/out", "there is no directory")],
)
def test_what_cannot_be_written_is_refused_before_the_first_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("directory").mkdir()
    Path("file").touch()

    with pytest.raises(click.UsageError, match=f"--out {name} cannot be written: {reason}.*Nothing was started"):
        result_file.check(name)


@pytest.mark.parametrize("command", ["run", "branch", "continue"])
def test_the_commands_that_end_with_a_result_have_one_raw_and_an_out(command: str) -> None:
    options = [name for option in alc.commands[command].params for name in option.opts]

    assert (options.count("--raw"), options.count("--out")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["text=@-"],
            "text=@- takes standard input, which would have to give the answers too: give --exec, --model",
        ),
        (["a=@-", "b:=@-", "--exec", "true"], "a=@- and b:=@- both take standard input"),
        (["--exec", "true", "--out", "."], "--out . cannot be written: it is a directory"),
    ],
)
def test_wrong_uses_of_files_start_nothing(terminal: Terminal, arguments: list[str], sentence: str) -> None:
    Path(terminal.home.root.parent / "x.py").write_text("return 1")

    ended = terminal.alc("run", str(terminal.home.root.parent / "x.py"), *arguments)

    assert ended.exit_code == 2
    assert sentence in " ".join(ended.output.split())
    assert not terminal.home.root.exists()


@pytest.mark.slow
def test_files_go_in_and_the_result_comes_out_as_it_is(stdio_home: StdioHome, tmp_path: Path) -> None:
    """The text of a file, JSON of another and standard input; then stdout and --out, with and without --raw."""
    strategy = tmp_path / "join.lua"
    strategy.write_text('return ctx.text .. #ctx.list .. ctx.input .. alc.llm("?")')
    (tmp_path / "text").write_text("1\n")
    (tmp_path / "list.json").write_text('["a", "b"]')
    (tmp_path / "input").write_text("in\n")
    out = tmp_path / "out"
    words = ["run", str(strategy), f"text=@{tmp_path}/text", f"list:=@{tmp_path}/list.json", "input=@-"]
    words += ["--exec", "printf 'A\\033[0m'"]

    shown = {}
    for options in ([], ["--raw"], ["--out", str(out)], ["--raw", "--json", "--out", str(out)]):
        done = stdio_home.alc(*words, *options, stdin=(tmp_path / "input").read_text())
        assert done.returncode == 0, done.stderr
        shown[" ".join(options).replace(str(out), "OUT")] = done.stdout or out.read_text()

    text = "1\n2in\nA\x1b[0m"
    assert shown == {
        "": f"{text}\n",
        "--raw": text,
        "--out OUT": f"{text}\n",
        "--raw --json --out OUT": '"1\\n2in\\nA\\u001b[0m"',
    }


@pytest.mark.slow
def test_a_result_that_cannot_be_written_is_on_stdout(stdio_home: StdioHome, tmp_path: Path) -> None:
    directory = tmp_path / "gone"
    directory.mkdir()
    (tmp_path / "x.lua").write_text('return alc.llm("?")')

    done = stdio_home.alc(
        "run", str(tmp_path / "x.lua"), "--exec", f"rmdir {directory} && echo A", "--out", str(directory / "out")
    )

    assert (done.returncode, done.stdout) == (1, "A\n")
    assert (
        f"{directory}/out could not be written (No such file or directory), so the result is on stdout" in done.stderr
    )
