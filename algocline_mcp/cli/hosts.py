"""`alc config`: the entry that each host needs to start this server, and its place in the host's own file.

Contract: `write` and `remove` keep the rest of the file and replace it as a whole. `write` saves a copy of the old file
beside it first. `remove` leaves nothing of this command: no copy, no empty table, no file with nothing else in it, no
empty directory that it has made. For a file in an unexpected form they raise Refused and change nothing.
"""

import json
import os
import sys
import time
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from algocline_mcp.cli.host_directories import make_directories, remove_made_directories
from algocline_mcp.cli.host_files import NAME, Format, Json, Toml, Yaml
from algocline_mcp.errors import Refused, whole
from algocline_mcp.storage.files import mode_of, replace_atomically

_DESCRIPTION = "Durable, multi-step prompting: strategies whose prompts this host's own model answers"
# Some hosts end a call after 60 s; where the limit can be set, a call may take as long as a wait.
_CALL_S = 300
_BACKUP_SUFFIX = f".before-{NAME}"


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
    """`file` may be relative: it then belongs to the project in the working directory. `then`: the user's last step.

    `first`: a way that is better than the file. `notes`: what a user of this host meets later.
    """

    title: str
    file: Callable[[], Path]
    form: Format
    fields: Callable[[Entry], dict[str, Any]]
    then: str
    other_ways: Callable[[Entry], list[str]] = lambda entry: []
    first: Callable[[Entry], list[str]] = lambda entry: []
    notes: tuple[str, ...] = ()


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
        'start claude in this directory and choose a line that begins with "Use this" (another one is preselected); '
        "after a no: claude mcp reset-project-choices",
        first=lambda entry: [f"Claude Code, for all projects and without an approval: {claude_command(entry)}", "or:"],
        notes=('to allow its tools once for all: put "mcp__alc" into permissions.allow of ~/.claude/settings.json',),
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
        *host.first(entry),
        f"{host.title}: put this into {path}, then {host.then}",
        *host.other_ways(entry),
        f"or let this command write it: alc config {name} --write",
        *host.notes,
    ]
    return host.form.show(host.fields(entry)), steps


def general_advice(entry: Entry) -> tuple[str, list[str]]:
    """The same for a host that is not in HOSTS: most read this form."""
    steps = [
        "any host: it starts an MCP server over stdio with this command. Most hosts read this form; in others give the "
        f"command as {' '.join(map(quote, entry.words))}",
        f"hosts that this command knows: alc config {{{','.join(HOSTS)}}}",
    ]
    return Json("mcpServers").show(entry.plain()), steps


def hosts_with_entry() -> list[tuple[str, Path]]:
    """Title and file of each host that has the entry, as far as its file can be read."""
    files = [(host.title, host.form, target(host, None)) for host in HOSTS.values()]
    files.append((HOSTS["claude-code"].title, Json("mcpServers"), Path.home() / ".claude.json"))  # --scope user
    return [(title, path) for title, form, path in files if _has_entry(form, path)]


def _has_entry(form: Format, path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return form.take(text) != text
    except (OSError, ValueError, Refused):
        return False


def write(host: Host, entry: Entry, path: Path) -> str:
    before, after = _edited(path, lambda text: host.form.put(text, host.fields(entry)))
    if after is None:
        return f"{NAME} is already in {path}: nothing was changed"
    backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}{_BACKUP_SUFFIX}")
    with _writing(path):
        make_directories(path.parent)
        mode = mode_of(path, 0o600)
        if before is not None:
            replace_atomically(backup, before, is_durable=False, mode=mode)
        replace_atomically(path, after, is_durable=False, mode=mode)
    kept = "" if before is None else f". The old file: {backup}"
    return "\n".join([f"{NAME} is added to {path}; {host.then}{kept}", *host.notes])


def remove(host: Host, path: Path) -> str:
    _, after = _edited(path, host.form.take)
    if after is None:
        return f"{path} has no {NAME}: nothing was changed"
    with _writing(path):
        if after:
            replace_atomically(path, after, is_durable=False, mode=mode_of(path, 0o600))
        else:
            path.unlink()
        for backup in path.parent.iterdir():
            if backup.name.startswith(f"{path.name}.") and backup.name.endswith(_BACKUP_SUFFIX):
                backup.unlink()
        remove_made_directories(path.parent)
    return f"{NAME} is removed from {path}" + ("" if after else ", which held nothing else and is gone")


def _edited(path: Path, edit: Callable[[str], str]) -> tuple[bytes | None, bytes | None]:
    """The file as it is, None if there is none, and as it shall be, None if that is the same."""
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
    return before, None if after == text else after.encode()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise Refused(
            f"cannot write {path}: {exc.strerror}; nothing was changed: correct that, or paste by hand"
        ) from exc
