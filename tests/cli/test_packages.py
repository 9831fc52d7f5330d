"""`alc pkg`, `alc run NAME`, and the page that shows them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from algocline_mcp.config.home import Home
    from tests.cli.conftest import Terminal

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "packages.md").read_text()
SOURCE = "--- {0}: says it\n---\n--- Takes nothing.\nreturn {{ run = function(ctx) return ctx.task end }}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "init.lua").write_text(SOURCE.format(name))
    return tmp_path / "all"


@pytest.mark.slow
def test_what_the_page_shows_is_what_happens(home: "Home", tmp_path: Path) -> None:
    (commands, shown), *more = re.findall(r"<!-- run -->\n```sh\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "bin" / "alc"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m algocline_mcp "$@"\n')
    program.chmod(0o755)
    environ = dict(os.environ, PATH=f"{program.parent}:{os.environ['PATH']}", PYTHONPATH=str(ROOT))

    done = subprocess.run(
        ["sh", "-ec", commands], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(str(tmp_path), "…") == shown
    assert not more, "every such pair is run"


def test_the_spec_on_the_page_passes(terminal: "Terminal", tmp_path: Path) -> None:
    (package,) = re.findall(r"cat > doubt/init.lua <<'END'\n(.*?)END\n", PAGE, re.DOTALL)
    (spec,) = re.findall(r"```lua\n(local describe.*?)```", PAGE, re.DOTALL)
    (tmp_path / "doubt" / "spec").mkdir(parents=True)
    (tmp_path / "doubt" / "init.lua").write_text(package)
    (tmp_path / "doubt" / "spec" / "doubt_spec.lua").write_text(spec)

    shown = terminal.alc("pkg", "test", str(tmp_path / "doubt"))
    assert (shown.exit_code, shown.stdout.partition(" in ")[0]) == (0, "1 passed, 0 failed, 0 pending")


def test_the_first_install_makes_a_home_for_its_owner_alone(terminal: "Terminal", source: Path) -> None:
    assert not terminal.home.root.exists()
    terminal.alc("pkg", "install", str(source))

    made = (terminal.home.root, terminal.home.packages)
    assert [path.stat().st_mode & 0o777 for path in made] == [0o700, 0o700]


def test_packages_come_and_go(terminal: "Terminal", source: Path) -> None:
    assert terminal.alc("pkg", "install", str(source)).stdout == "installed one, two\n"
    again = terminal.alc("pkg", "install", str(source / "one"))
    assert (again.exit_code, ": --force replaces it" in again.stderr) == (1, True)
    assert terminal.alc("pkg", "install", str(source / "one"), "--name", "uno").stdout == "installed uno\n"
    shown = terminal.alc("pkg", "install", str(source), "--force")
    assert shown.stdout == "installed one, two\n"
    table = terminal.alc("pkg", "list", "TWO").stdout.splitlines()
    names = [line.split()[0] for line in table]
    assert (names[0], "two" in names, "one" in names) == ("NAME", True, False)  # built-in packages say it too
    (line,) = json.loads(terminal.alc("pkg", "list", "uno", "--json").stdout)
    assert (line["origin"], line["source"]) == ("installed", str(source / "one"))
    assert terminal.alc("pkg", "show", "one").stdout.endswith("\none: says it\n\nTakes nothing.\n")
    assert terminal.alc("pkg", "remove", "one").stdout == "removed one\n"
    assert "alc pkg remove two" in terminal.alc("pkg", "unlink", "two").stderr
    assert terminal.alc("pkg", "link", str(source), "--name", "x").exit_code == 1


def test_a_directory_needs_no_dot_before_its_name(
    terminal: "Terminal", source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source)

    assert terminal.alc("pkg", "link", "one").stdout == "linked one\n"
    assert terminal.alc("pkg", "unlink", "one").stdout == f"unlinked one; {source / 'one'} is not changed\n"
    assert "neither a git URL nor a path" in terminal.alc("pkg", "link", "gone").stderr


@pytest.mark.slow
def test_specs_of_a_package_are_run_and_one_that_fails_is_the_exit_code(terminal: "Terminal", source: Path) -> None:
    none = terminal.alc("pkg", "test", str(source / "one"))
    (source / "one" / "spec").mkdir()
    case = "lust.it('says it', function() lust.expect(require('one').run({{task = 1}})).to.equal({}) end)\n"
    (source / "one" / "spec" / "one_spec.lua").write_text(case.format(1))
    good = terminal.alc("pkg", "test", str(source / "one"))
    made = terminal.home.root.exists()
    terminal.alc("pkg", "install", str(source / "one"))
    (terminal.home.packages / "one" / "spec" / "bad_spec.lua").write_text(case.format(2))
    bad = terminal.alc("pkg", "test", "one")

    assert "package 'one' has no specs" in none.stderr
    assert (good.exit_code, made) == (0, False)
    assert good.stdout.startswith("1 passed, 0 failed, 0 pending in 1 file, ")
    assert (none.exit_code, bad.exit_code) == (1, 1)
    assert "spec/bad_spec.lua: says it: spec/bad_spec.lua:1: expected 1 to equal 2\n1 passed, 1 failed" in bad.stdout


def test_where_nothing_is_installed_the_built_in_packages_are_listed_and_no_home_is_made(terminal: "Terminal") -> None:
    shown = terminal.alc("pkg", "list")

    assert shown.exit_code == 0
    assert {line.split("  ")[0]: "built in" in line for line in shown.stdout.splitlines()}["vote"]
    assert not terminal.home.root.exists()


def test_inputs_and_outputs_of_a_package_are_shown_a_line_for_each(terminal: "Terminal") -> None:
    lines = terminal.alc("pkg", "show", "vote").stdout.splitlines()

    start = next(n for n, line in enumerate(lines) if line.startswith("inputs"))
    assert (
        lines[start]
        == "inputs        task     the question, with one short answer: a number, a name, a choice (needed)"
    )
    assert lines[start + 1 : start + 3] == [
        "              n        how many votes (5)",
        "              choices  the answers that count; without it any answer",
    ]
    assert lines[start + 3].startswith("outputs       answer   the answer with the most votes")


def test_a_list_that_nothing_matches_says_so(terminal: "Terminal") -> None:
    no_match = terminal.alc("pkg", "list", "three").stderr

    assert no_match.startswith("no package matches 'three'; alc pkg list lists all; install one with")
