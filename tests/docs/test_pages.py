"""README, docs and the files for catalogues say what is really there."""

import json
import re
import subprocess
import tomllib
import urllib.parse
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from algocline_mcp import __version__
from algocline_mcp.cli import hosts
from algocline_mcp.cli.main import alc
from algocline_mcp.config.http import HttpLimits
from algocline_mcp.config.limits import KIB, MIB, Limits
from algocline_mcp.config.settings import WORDS
from algocline_mcp.server.app import tools_of
from algocline_mcp.server.tool_call.deadline import CEILING_S, CEILINGS_S
from algocline_mcp.session.state import TRANSITIONS, Phase
from tests.docs.markdown import table_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
README_MAX_LINES = 130  # a newcomer reads it whole
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "packaging").rglob("*.md"),
]


def _page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text()


def _json(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / path).read_text())
    return content


# ── README and docs ───────────────────────────────────────────────────────────────────────────────────────


def test_every_limit_stands_on_the_page_of_settings_with_its_value() -> None:
    def shown(name: str, value: Any) -> str:
        if name.endswith("_bytes"):
            return f"{value / MIB:g} MiB" if value % MIB == 0 else f"{value / KIB:g} KiB"
        return f"{value:g} s" if name.endswith("_s") else f"{value:g}"

    page = (ROOT / "docs" / "settings.md").read_text()
    for kind, head in ((Limits, "value"), (HttpLimits, "default")):
        assert table_of(page, "variable", head) == [
            [limit.metadata["variable"], shown(limit.name, limit.default), limit.metadata["meaning"]]
            for limit in fields(kind)
        ]


def test_every_other_variable_stands_on_the_page_of_settings() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    listed = {row[0] for row in table_of(page, "variable", "if it is not set")}
    limits = {each.metadata["variable"] for each in (*fields(Limits), *fields(HttpLimits))}
    read = set()
    for path in (ROOT / "algocline_mcp").rglob("*.py"):
        read |= set(re.findall(r"environ(?:\.get\(|\[)\"(ALC_[A-Z_]+)\"", path.read_text()))

    own_tests = {"ALC_FAILPOINT"}  # breaks the program at a chosen place: nothing for a user
    assert listed == read - limits - own_tests == set(WORDS)


def test_every_variable_that_a_page_names_exists() -> None:
    known = {each.metadata["variable"] for each in (*fields(Limits), *fields(HttpLimits))}
    known |= {*WORDS, "ALC_SYSTEM", "ALC_QUERY_ID", "ALC_MAX_TOKENS", "_ALC_COMPLETE"}
    known |= {"ALC_THOROUGH"}  # of the suite
    for page in PAGES:
        named = set(re.findall(r"\b_?ALC_[A-Z_]+\b", page.read_text()))
        assert named <= known, page.name


def test_every_command_and_option_that_a_page_names_exists() -> None:
    commands = alc.commands
    for page in PAGES:
        for words in re.findall(r"(?:`|\$ |bin/)alc ([a-z][^`\n]*)", page.read_text()):
            name = words.split()[0]
            assert name in commands, f"{page.name}: alc {words}"
            inner = getattr(commands[name], "commands", {})
            default = inner.get("run", commands[name])  # alc eval CASES is alc eval run CASES
            command = inner.get(words.split()[1], default) if inner and len(words.split()) > 1 else default
            assert not inner or command is not commands[name], f"{page.name}: alc {words}"
            options = {option for each in command.params for option in each.opts}
            assert set(re.findall(r"(?<= )--[a-z]+", words)) <= options, f"{page.name}: alc {words}"


def test_every_link_of_a_page_leads_somewhere_and_readme_leads_to_every_page() -> None:
    for page in PAGES:
        for target, anchor in re.findall(r"\]\((?![a-z+]+:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
            path = (page.parent / target).resolve() if target else page
            assert path.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in _anchors(path), f"{page.name}: {target}#{anchor}"
    linked = set(re.findall(r"\]\(([^)#]*)", README))
    assert linked >= {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert linked >= {"CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md", "packaging/README.md"}


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_pages_name_each_command_tool_host_and_example() -> None:
    assert [row[0] for row in table_of(_page("tools"), "tool")] == [tool.name for tool in tools_of({})]
    commands = " ".join(row[0] for row in table_of(_page("terminal"), "command"))
    assert set(re.findall(r"alc ([a-z]+)", commands)) >= set(alc.commands)
    rows = table_of(README, "host")
    assert [row[0] for row in rows[:-1]] == [host.title for host in hosts.HOSTS.values()]
    for name, row in zip(hosts.HOSTS, rows, strict=False):
        assert f"alc config {name} --write" in row[1]
        assert f"(examples/hosts/{name}." in row[2]
    shown = {path.name for path in (ROOT / "examples").iterdir() if path.suffix in (".lua", ".py")}
    assert set(re.findall(r"\[`([\w.]+)`\]\(examples/", README)) >= shown


def test_page_of_the_tools_names_the_longest_waits() -> None:
    waits = f"({Limits().wait_s:g} s; at most {CEILING_S:g} s, in Claude Code {CEILINGS_S['claude-code']:g} s)"
    assert waits in _page("tools")


def test_readme_is_short_and_says_what_this_is_first() -> None:
    first_sentence = README.split("\n\n")[1].split(". ")[0]

    assert len(README.splitlines()) <= README_MAX_LINES
    assert "MCP server" in first_sentence


def test_link_into_vs_code_carries_what_alc_config_would_write() -> None:
    (link,) = re.findall(r"^\[vscode\]: (\S+)$", README, re.MULTILINE)

    assert link == hosts.vscode_link(hosts.Entry("alc"))
    assert "vscode:mcp/install?" in urllib.parse.unquote(link)


def test_every_command_of_the_terminal_has_help_with_an_example() -> None:
    for name, command in alc.commands.items():
        context = click.Context(command, info_name=f"alc {name}")
        assert re.search(r"Examples?:\n +(ALC_HOME=\S+ )?alc " + name, command.get_help(context)), name


def test_phases_on_the_page_are_those_of_thetable_of() -> None:
    page = (ROOT / "docs" / "how-it-works.md").read_text()
    kinds = {(row[0], kind.strip()) for row in table_of(page, "from", "to") for kind in row[2].split(",")}
    moves = {(row[0], row[1]) for row in table_of(page, "from", "to")}
    sessions = (ROOT / "docs" / "sessions.md").read_text()  # which another test holds to TRANSITIONS, row by row
    of_sessions = {
        (phase, then, kind)
        for phase, kind, thens, _ in table_of(sessions, "phase", "record", "then")
        for then in re.findall(r"\w+", thens)
        if then != phase
    }

    assert {(start, kind) for start, _, kind in of_sessions} == kinds
    assert {(start, end) for start, end, _ in of_sessions} == moves
    assert {(str(phase), kind) for phase, kind in TRANSITIONS} >= kinds
    for phase in Phase:
        assert re.search(rf"│\s+{phase}\s+│", page), f"{phase} is not in the picture"


# ── the files for catalogues ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path",
    [
        "packaging/server.json",
        "packaging/mcpb/manifest.json",
        "packaging/claude/.claude-plugin/marketplace.json",
        "packaging/claude/alc/.claude-plugin/plugin.json",
    ],
)
def test_versions_are_those_of_the_package(path: str) -> None:
    versions = re.findall(r'"version": "([^"]+)"', (ROOT / path).read_text())

    assert versions
    assert set(versions) == {__version__}


def test_registry_entry_names_the_package_and_the_marker_of_the_readme() -> None:
    entry = _json("packaging/server.json")
    (package,) = entry["packages"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert f"<!-- mcp-name: {entry['name']} -->" in README
    assert re.fullmatch(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+", str(entry["name"]))
    assert len(str(entry["description"])) <= 100
    assert package["identifier"] == project["name"]
    assert project["name"] in project["scripts"], "uvx runs the script that has the package's name"


def test_one_command_names_the_publisher_in_both_places(tmp_path: Path) -> None:
    command = (ROOT / "packaging" / "README.md").read_text().partition("<!-- command: publish -->\n```sh\n")[2]
    command = command.partition("\n")[0]
    assert "io.github.OWNER/" in README, "the package is not published: no account stands here"
    (tmp_path / "packaging").mkdir()
    for path in ("packaging/server.json", "README.md"):
        (tmp_path / path).write_text((ROOT / path).read_text())
    subprocess.run(["sh", "-c", command.replace("YOUR-ACCOUNT", "a-publisher")], cwd=tmp_path, check=True)

    name = json.loads((tmp_path / "packaging/server.json").read_text())["name"]
    assert name == "io.github.a-publisher/algocline-mcp"
    assert f"<!-- mcp-name: {name} -->" in (tmp_path / "README.md").read_text()
    assert "OWNER" not in (tmp_path / "README.md").read_text()


def test_bundle_names_the_tools_and_an_entry_point_that_exists() -> None:
    manifest = _json("packaging/mcpb/manifest.json")
    server = manifest["server"]

    assert manifest["manifest_version"] == "0.4"
    assert [each["name"] for each in manifest["tools"]] == [each.name for each in tools_of({})]
    assert (ROOT / server["entry_point"]).is_file()
    assert (
        server["mcp_config"]["args"][-1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    )


def test_plugin_is_where_its_marketplace_says() -> None:
    market = _json("packaging/claude/.claude-plugin/marketplace.json")
    (plugin,) = market["plugins"]
    own = json.loads((ROOT / "packaging" / "claude" / plugin["source"] / ".claude-plugin" / "plugin.json").read_text())

    assert (own["name"], own["description"]) == (plugin["name"], plugin["description"])
    assert own["mcpServers"] == {"alc": {"command": "alc"}}
    assert f"claude plugin install {plugin['name']}@{market['name']}" in (ROOT / "packaging/README.md").read_text()


# ── the container ─────────────────────────────────────────────────────────────────────────────────────────


def _instructions() -> list[tuple[str, str]]:
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    assert not any(line.endswith("\\") for line in lines), "one instruction a line: .ci/image reads them so"
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_image_runs_as_a_user_of_its_own_behind_tini_on_a_volume() -> None:
    instructions = _instructions()
    stage = [n for n, (word, _) in enumerate(instructions) if word == "FROM"][-1]
    last = dict(instructions[stage:])

    assert json.loads(last["ENTRYPOINT"]) == ["tini", "--", "alc"]
    assert last["USER"] == "alc"
    assert last["HEALTHCHECK"] == "NONE"
    assert f"ALC_HOME={last['VOLUME']}" in last["ENV"]
    assert any(last["VOLUME"] in rest and "-o alc" in rest for word, rest in instructions if word == "RUN")
    assert f"-v alc-home:{last['VOLUME']} algocline-mcp" in _page("container")
    assert f"alc-home:{last['VOLUME']}" in _docker_arguments()


def _docker_arguments() -> list[str]:
    arguments: list[str] = _json("examples/hosts/docker.json")["mcpServers"]["alc"]["args"]
    assert arguments[:3] == ["run", "-i", "--rm"]
    return arguments


def test_image_gets_the_files_that_its_build_needs_and_no_others() -> None:
    sources = {
        word for name, rest in _instructions() if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    needed = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    needed |= set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert sources == needed
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == sources
