"""Entering this server into the files of hosts: whatever else is there stays, to the letter where that is possible."""

import base64
import json
import tomllib
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from algocline_mcp.cli import first_start, hosts
from algocline_mcp.cli.host_files import Json, Toml, Yaml
from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused

if TYPE_CHECKING:
    from tests.cli.conftest import Terminal

ENTRY = hosts.Entry("/opt/alc/bin/alc", env={"ALC_HOME": "/data/ü"})
SHOWN = hosts.HOSTS["codex"].fields(ENTRY)
FULL_TOML = """\
model = "x" # mine

[mcp_servers.other]
command = "other"

# about the next one
[tui]
theme = 'dark'
"""
FULL_YAML = """\
# mine
GOOSE_MODEL: x
extensions:
    developer:
        enabled: true
        type: builtin

    # a comment
    memory: {enabled: false}
keep:
- 1
"""


@pytest.fixture
def project(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a user's home that no real host reads."""
    monkeypatch.chdir(tmp_path)
    for name in ("XDG_CONFIG_HOME", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(first_start, "save_replies", lambda entry, environ: False)  # it starts servers
    return tmp_path


@pytest.mark.parametrize("name", list(hosts.HOSTS))
def test_what_is_shown_is_what_is_written_and_it_can_be_taken_out(
    terminal: "Terminal", project: Path, name: str
) -> None:
    shown = terminal.alc("config", name)
    path = hosts.target(hosts.HOSTS[name], None)
    assert str(path) in shown.stderr
    assert not path.exists()

    assert str(path) in terminal.alc("config", name, "--write").stdout
    assert path.read_text() == shown.stdout
    assert str(terminal.home.root) in shown.stdout, "a home of one's own goes into the host's file"
    assert "nothing was changed" in terminal.alc("config", name, "--write").stdout

    assert "is removed from" in terminal.alc("config", name, "--remove").stdout
    assert "nothing was changed" in terminal.alc("config", name, "--remove").stdout
    assert list(path.parent.glob(f"*{path.name}*")) == [], "a file, a copy or a draft is left behind"


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("cursor", '{\n  "theme": "dark"\n}\n'),
        ("cursor", '{\n  "mcpServers": {\n    "x": {}\n  }\n}\n'),
        ("codex", FULL_TOML),
        ("goose", FULL_YAML),
        ("goose", "a: 1\n"),
    ],
)
def test_removal_leaves_the_file_as_it_was_and_no_copy(
    terminal: "Terminal", project: Path, name: str, before: str
) -> None:
    path = project / "host.config"
    path.write_text(before)
    neighbour = project / "other.config.before-alc"
    neighbour.write_text("of another file")

    for option in ("--write", "--remove"):
        assert terminal.alc("config", name, option, "--file", str(path)).exit_code == 0

    assert path.read_text().rstrip() == before.rstrip()
    assert {each.name for each in project.iterdir() if each.is_file()} == {path.name, neighbour.name}


@pytest.mark.parametrize("name", ["claude-desktop", "vscode", "cursor", "codex", "goose"])
def test_removal_leaves_no_directory_that_the_entry_needed(terminal: "Terminal", project: Path, name: str) -> None:
    before = _all_in(project)
    path = hosts.target(hosts.HOSTS[name], None)
    made = path.parent
    was_there = made.exists()

    terminal.alc("config", name, "--write")
    assert path.exists()
    terminal.alc("config", name, "--remove")

    assert not was_there
    assert not made.exists()
    assert _all_in(project) == before


def test_removal_keeps_directories_of_others(terminal: "Terminal", project: Path) -> None:
    empty = project / "a project"
    empty.mkdir()
    shared = project / "made" / "host"

    for path in (empty / "mcp.json", shared / "deep" / "mcp.json"):
        terminal.alc("config", "cursor", "--write", "--file", str(path))
    (shared / "a file of the host").touch()
    for path in (empty / "mcp.json", shared / "deep" / "mcp.json"):
        assert terminal.alc("config", "cursor", "--remove", "--file", str(path)).exit_code == 0

    left = [empty, project / "made", shared, shared / "a file of the host"]
    assert _all_in(project) == {str(path.relative_to(project)) for path in left}


def _all_in(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_any_host_gets_an_entry_and_the_command(terminal: "Terminal", project: Path) -> None:
    shown = terminal.alc("config")

    entry = hosts.own_entry({"ALC_HOME": str(terminal.home.root)})
    assert json.loads(shown.stdout) == {"mcpServers": {"alc": entry.plain()}}
    assert entry.command in shown.stderr
    assert all(name in shown.stderr for name in hosts.HOSTS)


def test_claude_code_is_told_the_way_without_approval_first_and_how_to_undo_a_no(
    terminal: "Terminal", project: Path
) -> None:
    shown = terminal.alc("config", "claude-code")
    written = terminal.alc("config", "claude-code", "--write")

    assert "claude mcp add --scope user alc" in shown.stderr.splitlines()[0]
    for text in (shown.stderr, written.stdout):
        for word in ('"Use this"', "claude mcp reset-project-choices", '"mcp__alc"'):
            assert word in text


def test_hosts_with_the_entry_are_found_whatever_the_others_hold(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(project))
    for name in ("codex", "goose"):
        hosts.write(hosts.HOSTS[name], ENTRY, hosts.target(hosts.HOSTS[name], None))
    (project / ".claude.json").write_text('{"mcpServers": {"alc": {}}}')
    (project / ".mcp.json").write_text("{ // broken")
    (project / ".cursor").mkdir()
    (project / ".cursor" / "mcp.json").write_bytes(b"\xff")

    assert [title for title, _ in hosts.hosts_with_entry()] == ["Codex", "goose", "Claude Code"]


def test_the_command_is_absolute_and_runs_this_program(project: Path) -> None:
    entry = hosts.own_entry({})

    assert Path(entry.command).is_absolute()
    assert Path(entry.command).name == "alc"
    assert entry.env is None


def test_json_keeps_everything_else(project: Path) -> None:
    before = '{\n    "a": 1.50,\n    "mcpServers": {"x": {"command": "x"}},\n    "ü": [1e5, null]\n}\n'
    form = Json("mcpServers")

    after = form.put(before, {"command": "c"})
    assert json.loads(after) == {**json.loads(before), "mcpServers": {"x": {"command": "x"}, "alc": {"command": "c"}}}
    assert '\n    "a"' in after
    assert json.loads(form.take(after)) == json.loads(before)
    assert form.put(after, {"command": "c"}) is after
    assert form.take(before) is before


@pytest.mark.parametrize("text", ['{"a": 1, // comment\n}', "[]", '{"mcpServers": []}', "{", '"x"'])
def test_json_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="nothing was changed: do it by hand"):
        Json("mcpServers").put(text, {})


@pytest.mark.parametrize("before", ["", "a = 1", FULL_TOML, FULL_TOML + '[mcp_servers.z]\ncommand = "z"\n'])
def test_toml_changes_in_our_table_alone(before: str) -> None:
    form = Toml("mcp_servers")

    after = form.put(before, SHOWN)
    assert after.startswith(before)
    assert tomllib.loads(after)["mcp_servers"]["alc"] == SHOWN
    assert form.put(after, SHOWN) is after
    changed = form.put(after, SHOWN | {"command": "/elsewhere"})
    assert tomllib.loads(changed)["mcp_servers"]["alc"]["command"] == "/elsewhere"
    assert tomllib.loads(form.take(changed)) == tomllib.loads(before) or before in ("", "a = 1")
    assert form.take(after).rstrip() == before.rstrip()


def test_toml_takes_sub_tables_out_and_leaves_comments_to_what_follows() -> None:
    text = '[mcp_servers.alc]\ncommand = "c"\n[mcp_servers.alc.env]\nA = "b"\n\n# about b\n[b]\nx = 1\n'

    assert Toml("mcp_servers").take(text) == "\n# about b\n[b]\nx = 1\n"


@pytest.mark.parametrize(
    "text",
    ["a = ", "mcp_servers = 1", 'mcp_servers = { alc = { command = "c" } }', '[mcp_servers]\nalc = { command = "c" }'],
)
def test_toml_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="nothing was changed: do it by hand"):
        Toml("mcp_servers").put(text, SHOWN)


@pytest.mark.parametrize(
    ("before", "rest"),
    [
        ("", ""),
        ("a: 1", "a: 1\n"),
        ("extensions: {}\nb: 2\n", "b: 2\n"),
        ("extensions:\n", ""),
        (FULL_YAML, FULL_YAML),
    ],
)
def test_yaml_changes_in_our_block_alone(before: str, rest: str) -> None:
    form = Yaml("extensions")
    fields = hosts.HOSTS["goose"].fields(ENTRY)

    after = form.put(before, fields)
    assert 'cmd: "/opt/alc/bin/alc"' in after
    assert form.take(after) == rest
    assert form.put(after, fields) is after
    changed = form.put(after, fields | {"cmd": "/elsewhere"})
    assert changed.count("alc:\n") == 1
    assert "/elsewhere" in changed


def test_yaml_follows_the_indent_of_its_file_and_ends_where_the_next_entry_begins() -> None:
    form = Yaml("extensions")
    text = form.put(FULL_YAML, hosts.HOSTS["goose"].fields(ENTRY))

    assert "\n    alc:\n        type:" in text
    assert text.index("alc:") < text.index("developer:")
    own_last = "extensions:\n  a:\n    x: 1\n  alc:\n    cmd: c\n    args:\n      - 1\n\n# end\nkeep: 1\n"
    assert form.take(own_last) == "extensions:\n  a:\n    x: 1\n\n# end\nkeep: 1\n"


@pytest.mark.parametrize("text", ["extensions: {a: {x: 1}}\n", "extensions: [\n]\n", "extensions:\n\ta: 1\n"])
def test_yaml_in_another_form_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="nothing was changed: do it by hand"):
        Yaml("extensions").put(text, {})


def test_a_link_stays_a_link_and_the_mode_of_the_file_stays(terminal: "Terminal", project: Path) -> None:
    real = project / "dotfiles.json"
    real.write_text('{"other": true}')
    real.chmod(0o640)
    link = project / "link.json"
    link.symlink_to(real)

    shown = terminal.alc("config", "cursor", "--write", "--file", str(link)).stdout
    assert link.is_symlink()
    assert json.loads(real.read_text())["other"] is True
    assert real.stat().st_mode & 0o777 == 0o640
    (backup,) = project.glob("dotfiles.json.*.before-alc")
    assert str(backup) in shown
    assert backup.read_text() == '{"other": true}'


def test_a_file_that_cannot_be_read_is_left_alone(terminal: "Terminal", project: Path) -> None:
    broken = project / "broken.json"
    broken.write_text("{ // mine\n}")

    shown = terminal.alc("config", "cursor", "--write", "--file", str(broken))
    assert shown.exit_code == 1
    assert f"{broken}: it is not plain JSON, and comments would be lost" in shown.stderr
    assert json.loads(shown.stdout)["mcpServers"]["alc"], "the text to paste"
    assert [path.name for path in project.iterdir()] == ["broken.json"]


def test_links_carry_the_entry() -> None:
    link = urllib.parse.urlsplit(hosts.vscode_link(ENTRY))
    inner = urllib.parse.parse_qs(link.query)["url"][0]
    wanted = json.loads(urllib.parse.unquote(inner.removeprefix("vscode:mcp/install?")))
    assert wanted == {"name": "alc", "type": "stdio", **ENTRY.plain()}

    cursor = urllib.parse.parse_qs(urllib.parse.urlsplit(hosts.cursor_link(ENTRY)).query)
    assert cursor["name"] == ["alc"]
    assert json.loads(base64.b64decode(cursor["config"][0])) == ENTRY.plain()


def test_the_command_for_claude_code_is_quoted() -> None:
    entry = hosts.Entry("/opt/my alc", ("-m", "x"), {"ALC_HOME": "/a b"})

    assert hosts.claude_command(entry) == (
        "claude mcp add --scope user alc --env 'ALC_HOME=/a b' -- '/opt/my alc' -m x"
    )
