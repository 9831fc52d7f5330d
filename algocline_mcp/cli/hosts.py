"""`alc config`: the entry that each host needs to start this server, and its place in the host's own file.

Contract: `write` and `remove` keep the rest of the file, save a copy of the old file beside it first, and replace the
file as a whole. For a file in an unexpected form they raise Refused and change nothing.
"""

import json
import os
import sys
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from algocline_mcp.cli.host_files import NAME, Format, Json, Toml, Yaml
from algocline_mcp.errors import Refused, whole
from algocline_mcp.storage.files import mode_of, replace_atomically

_DESCRIPTION = "Durable, multi-step prompting: strategies whose prompts this host's own model answers"
# Some hosts end a call after 60 s; where the limit can be set, a call may take as long as a wait.
_CALL_S = 300


@dataclass(frozen=True, slots=True)
class Entry:
    """The command that starts this server, absolute: the PATH of a host is not that of the shell."""

    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] | None = None

    @property
    def words(self) -> list[str]:
        return [self.command, *self.args]

    def plain(self) -> dict[str, Any]:
        rest = {"args": list(self.args), "env": dict(self.env or {})}
        return {"command": self.command} | {key: value for key, value in rest.items() if value}


@dataclass(frozen=True, slots=True)
class Host:
    """`file` may be relative: it then belongs to the project in the working directory. `then`: the user's last step."""

    title: str
    file: Callable[[], Path]
    form: Format
    fields: Callable[[Entry], dict[str, Any]]
    then: str
    other_ways: Callable[[Entry], list[str]] = lambda entry: []


def own_entry(environ: Mapping[str, str]) -> Entry:
    """The entry of this installation, with the current ALC_HOME."""
    script = Path(sys.executable).with_name("alc")
    env = {"ALC_HOME": os.path.abspath(environ["ALC_HOME"])} if environ.get("ALC_HOME") else None
    if env is not None and whole(env["ALC_HOME"]) != env["ALC_HOME"]:
        raise Refused(
            f"ALC_HOME={environ['ALC_HOME']!r} is not UTF-8, as a host's file is: set it to another directory"
        )
    if os.access(script, os.X_OK):
        return Entry(str(script), env=env)
    return Entry(sys.executable, ("-m", "algocline_mcp"), env)


# ── the hosts ─────────────────────────────────────────────────────────────────────────────────────────────


def _under_config(*parts: str) -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").joinpath(*parts)


def _claude_desktop() -> Path:
    name = "claude_desktop_config.json"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Claude" / name
    return _under_config("Claude", name)


def _stdio(entry: Entry) -> dict[str, Any]:
    return {"type": "stdio", **entry.plain()}


def _goose(entry: Entry) -> dict[str, Any]:
    return {
        "type": "stdio",
        "name": NAME,
        "description": _DESCRIPTION,
        "enabled": True,
        "cmd": entry.command,
        "args": list(entry.args),
        "envs": dict(entry.env or {}),
        "env_keys": [],
        "timeout": _CALL_S,
    }


def claude_command(entry: Entry) -> str:
    settings = [f"--env {quote(f'{name}={value}')}" for name, value in (entry.env or {}).items()]
    return " ".join(["claude mcp add --scope user", NAME, *settings, "--", *map(quote, entry.words)])


def vscode_link(entry: Entry) -> str:
    """VS Code's own address for install links; it redirects to vscode:mcp/install."""
    wanted = json.dumps({"name": NAME, **_stdio(entry)}, separators=(",", ":"))
    inner = "vscode:mcp/install?" + urllib.parse.quote(wanted, safe="")
    return "https://insiders.vscode.dev/redirect?url=" + urllib.parse.quote(inner, safe="")


def cursor_link(entry: Entry) -> str:
    wanted = b64encode(json.dumps(entry.plain(), separators=(",", ":")).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?name={NAME}&config={urllib.parse.quote(wanted, safe='')}"


HOSTS = {
    "claude-desktop": Host(
        "Claude Desktop",
        _claude_desktop,
        Json("mcpServers"),
        Entry.plain,
        "quit Claude Desktop completely and start it again",
    ),
    "claude-code": Host(
        "Claude Code",
        lambda: Path(".mcp.json"),
        Json("mcpServers"),
        _stdio,
        "start claude in this directory and allow the server",
        lambda entry: [f"for all projects: {claude_command(entry)}"],
    ),
    "vscode": Host(
        "VS Code",
        lambda: Path(".vscode", "mcp.json"),
        Json("servers"),
        _stdio,
        "press Start above the entry in .vscode/mcp.json",
        lambda entry: [
            "for all projects: code --add-mcp " + quote(json.dumps({"name": NAME, **_stdio(entry)})),
            f"or open: {vscode_link(entry)}",
        ],
    ),
    "cursor": Host(
        "Cursor",
        lambda: Path.home() / ".cursor" / "mcp.json",
        Json("mcpServers"),
        Entry.plain,
        "switch the server on in Cursor's settings, under MCP",
        lambda entry: [f"or open: {cursor_link(entry)}"],
    ),
    "codex": Host(
        "Codex",
        lambda: Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex") / "config.toml",
        Toml("mcp_servers"),
        lambda entry: entry.plain() | {"tool_timeout_sec": _CALL_S},
        "start codex again",
    ),
    "goose": Host(
        "goose",
        lambda: _under_config("goose", "config.yaml"),
        Yaml("extensions"),
        _goose,
        "start a new goose session",
    ),
}


# ── what the command does ─────────────────────────────────────────────────────────────────────────────────


def target(host: Host, path: str | None) -> Path:
    """The absolute path of the file. A link is resolved, so that it stays a link."""
    return Path(os.path.realpath(os.path.expanduser(path) if path else host.file()))


def advice(name: str, entry: Entry, path: Path) -> tuple[str, list[str]]:
    """The text to paste, and the steps for the user."""
    host = HOSTS[name]
    steps = [
        f"{host.title}: put this into {path}, then {host.then}",
        *host.other_ways(entry),
        f"or let this command write it: alc config {name} --write",
    ]
    return host.form.show(host.fields(entry)), steps


def write(host: Host, entry: Entry, path: Path) -> str:
    return _change(
        path,
        lambda text: host.form.put(text, host.fields(entry)),
        done=f"{NAME} is added to {path}; {host.then}",
        idle=f"{NAME} is already in {path}: nothing was changed",
    )


def remove(host: Host, path: Path) -> str:
    return _change(
        path,
        host.form.take,
        done=f"{NAME} is removed from {path}",
        idle=f"{path} has no {NAME}: nothing was changed",
    )


def _change(path: Path, edit: Callable[[str], str], *, done: str, idle: str) -> str:
    try:
        before = path.read_bytes()
    except FileNotFoundError:
        before = None
    except OSError as exc:
        raise Refused(f"cannot read {path}: {exc.strerror}; name another file with --file") from exc
    try:
        text = (before or b"").decode()
        after = edit(text)
    except UnicodeDecodeError as exc:
        raise Refused(f"{path} is not UTF-8: nothing was changed; save it as UTF-8") from exc
    except Refused as exc:
        raise Refused(f"{path}: {exc}") from exc
    if after == text:
        return idle
    try:
        backup = _replace(path, before, after.encode())
    except OSError as exc:
        raise Refused(
            f"cannot write {path}: {exc.strerror}; nothing was changed: correct that, or paste by hand"
        ) from exc
    return f"{done}. The old file: {backup}" if backup else done


def _replace(path: Path, before: bytes | None, after: bytes) -> Path | None:
    """Replaces the file as a whole. Returns the path of the copy of the old file, or None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = mode_of(path, 0o600)
    backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.before-{NAME}")
    if before is not None:
        replace_atomically(backup, before, is_durable=False, mode=mode)
    replace_atomically(path, after, is_durable=False, mode=mode)
    return backup if before is not None else None
