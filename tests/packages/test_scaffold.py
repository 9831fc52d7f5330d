"""Skeletons of new packages."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from algocline_mcp.cli.main import alc
from algocline_mcp.config.home import BUILT_IN_PACKAGES
from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA, PYTHON, Language
from algocline_mcp.packages import scaffold
from algocline_mcp.packages.lookup import Package
from algocline_mcp.packages.metadata import metadata_of
from algocline_mcp.server.tool_call.compiler import syntax_error

ODD = 'says "a\\b" and """c""" \\'


@pytest.mark.parametrize("language", [LUA, PYTHON])
def test_a_skeleton_compiles_and_describes_itself(tmp_path: Path, language: Language) -> None:
    written = scaffold.write(str(tmp_path), ".", "mine", "tests", ODD, language=language)

    path = tmp_path / language.entry_file("mine")
    text = path.read_text()
    metadata = metadata_of(text, language)
    assert written == {"status": "ok", "path": str(path), "bytes_written": len(text)}
    assert syntax_error(language, path.name, text) is None
    assert (metadata.version, metadata.description, metadata.is_library) == ("0.1.0", ODD, False)


@pytest.mark.parametrize("name", ["class", "json", "asyncio", "alc"])
def test_a_name_that_import_would_not_find_is_refused_for_python_alone(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match=f"name '{name}' is a word or a module of Python itself"):
        scaffold.write(str(tmp_path), ".", name, "", "", language=PYTHON)

    assert list(tmp_path.iterdir()) == []
    assert scaffold.write(str(tmp_path), ".", name, "", "", language=LUA)["status"] == "ok"


def test_a_command_writes_a_package_in_python_or_with_an_option_in_lua(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    replies = [
        CliRunner().invoke(alc, ["new", "one"]),
        CliRunner().invoke(alc, ["new", "two", "--lua", "--about", "x"]),
    ]

    assert [reply.exit_code for reply in replies] == [0, 0]
    assert replies[0].stdout == f"{tmp_path}/one/__init__.py\n"
    assert replies[0].stderr == "try it with: alc test one, and alc run one task=…\n"
    assert 'description = "x"' in (tmp_path / "two" / "init.lua").read_text()


def test_a_copy_has_its_own_name_and_everything_else_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALC_HOME", str(tmp_path / "h"))

    reply = CliRunner().invoke(alc, ["new", "my_rank", "--from", "rank"])

    assert (reply.exit_code, reply.stdout) == (0, f"{tmp_path}/my_rank/__init__.py\n")
    assert reply.stderr == "try it with: alc test my_rank, and alc run my_rank items:='[\"…\"]'\n"
    files = sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "my_rank").rglob("*.py"))
    specs = ["my_rank/spec/test_my_rank.py", "my_rank/spec/test_ratings.py"]
    assert files == ["my_rank/__init__.py", "my_rank/ratings.py", *specs]
    texts = {path: (tmp_path / path).read_text() for path in files}
    assert "from my_rank.ratings import" in texts["my_rank/__init__.py"]
    assert "import my_rank as rank\n" in texts[specs[0]]
    assert '"name": "my_rank"' in texts["my_rank/__init__.py"]
    original = (BUILT_IN_PACKAGES / "rank" / "__init__.py").read_text()
    assert len(texts["my_rank/__init__.py"].splitlines()) == len(original.splitlines())


def test_a_copy_of_a_package_in_lua_requires_its_own_parts(tmp_path: Path) -> None:
    (tmp_path / "old" / "spec").mkdir(parents=True)
    (tmp_path / "old" / "init.lua").write_text(
        'local part = require("old.part")\nlocal other = require "older"\nreturn { meta = {\n  name = "old",\n}}\n'
    )
    (tmp_path / "old" / "part.lua").write_text("return {}\n")
    (tmp_path / "old" / "spec" / "old_spec.lua").write_text("require('old')\n")

    scaffold.copy(str(tmp_path), "new", Package("old", tmp_path / "old" / "init.lua", "project"))

    assert (tmp_path / "new" / "init.lua").read_text() == (
        'local part = require("new.part")\nlocal other = require "older"\nreturn { meta = {\n  name = "new",\n}}\n'
    )
    assert (tmp_path / "new" / "spec" / "new_spec.lua").read_text() == "require('new')\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mine", "--from", "ranks"], "there is no package 'ranks'; nearest: rank; alc pkg list lists all"),
        (["taken", "--from", "rank"], "taken exists already: choose another name"),
        (["Mine", "--from", "rank"], "is not a package name"),
        (["mine", "--from", "rank", "--lua"], "--from copies a package as it is"),
    ],
)
def test_a_copy_that_cannot_be_made_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALC_HOME", str(tmp_path / "h"))
    (tmp_path / "taken").mkdir()

    reply = CliRunner().invoke(alc, ["new", *arguments])

    assert reply.exit_code != 0
    assert sentence in " ".join(reply.output.split())
    assert [path.name for path in tmp_path.iterdir() if path.name != "h"] == ["taken"]
