"""Writes `alc.local.toml`, the file of a project that is not in its repository: package name -> directory.

Contract: only the lines of the named packages change; comments, order and line ends of all other lines stay. The new
text is parsed before it is written: if its content is not exactly the wanted one, the call is refused and the file
stays. `alc.toml` and `alc.lock` are never written.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from algocline_mcp.config.project_root import PROJECT_FILES
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.packages.project import declared_names, read_toml
from algocline_mcp.storage.files import mode_of, replace_atomically

FILE = PROJECT_FILES[0]


def add_overrides(root: Path, directories: Mapping[str, Path]) -> Path:
    """Adds an entry (name -> directory) for each package and returns the file. An equal entry stays as it is.

    Raises Refused if the file has another entry of that name or cannot be parsed, and StorageFailed."""
    file = root / FILE
    declared_names(file)  # raises Refused for an invalid file
    before = read_toml(file)
    entries = before.get("packages", {})
    new = {name: {"path": os.fspath(path)} for name, path in directories.items() if entries.get(name) != _entry(path)}
    for name in new:
        if name in entries:
            cure = f'remove it first with alc_pkg_remove(name="{name}", scope="project")'
            raise Refused(f"package '{name}' is in {file} already, as {json.dumps(entries[name])[:200]}: {cure}")
    if new:
        _change(file, lambda text: _with_entries(text, new), before | {"packages": entries | new})
    return file


def remove_override(root: Path, name: str) -> Path:
    """Removes the entry of a package and returns the file. Raises Refused if the file has no such entry (the message
    names the other files of the project that have), and StorageFailed."""
    file = root / FILE
    declared_names(file)  # raises Refused for an invalid file
    before = read_toml(file)
    entries = before.get("packages", {})
    if name not in entries:
        others = [other for other in PROJECT_FILES[1:] if name in declared_names(root / other)]
        where = f"; it is in {', '.join(others)}: edit that file yourself" if others else ""
        raise Refused(f"package '{name}' is not in {file}{where}", code="not_found")
    left = {key: value for key, value in entries.items() if key != name}
    _change(file, lambda text: _without_entry(text, name), before | {"packages": left})
    return file


def _entry(path: Path) -> dict[str, str]:
    return {"path": os.fspath(path)}


def _with_entries(text: str, entries: Mapping[str, Mapping[str, str]]) -> str:
    import tomlkit  # 30 ms, only where the file is written
    from tomlkit.items import Table

    lines = "".join(f"{name} = {{ path = {tomlkit.string(e['path']).as_string()} }}\n" for name, e in entries.items())
    document = tomlkit.parse(text)
    named = [item for key, item in document.body if key is not None and key.key == "packages"]
    tables = [item for item in named if isinstance(item, Table) and not item.is_super_table()]
    if not tables:
        return f"{text}\n[packages]\n{lines}" if text else f"[packages]\n{lines}"
    # At the head of the table: the comments at its end belong to the table that follows.
    tables[0].value.body[:0] = tomlkit.parse(lines).body
    return document.as_string()


def _without_entry(text: str, name: str) -> str:
    import tomlkit  # 30 ms, only where the file is written
    from tomlkit.items import InlineTable

    document = tomlkit.parse(text)
    packages = document["packages"]
    if isinstance(packages, InlineTable):  # one line for all packages, which is not edited in either direction
        raise ValueError("packages is an inline table")
    del packages[name]
    return document.as_string()


def _change(file: Path, edit: Callable[[str], str], wanted: Mapping[str, Any]) -> None:
    import tomllib

    target = Path(os.path.realpath(file))
    try:
        text = target.read_bytes().decode("utf-8-sig") if target.exists() else ""
        try:
            after = edit(text if not text or text.endswith("\n") else f"{text}\n")
            is_wanted = _normalized(tomllib.loads(after)) == _normalized(wanted)
        except (ValueError, KeyError, TypeError):  # tomlkit's own errors are ValueErrors
            is_wanted = False
        if not is_wanted:
            raise Refused(
                f"the packages of {file} are written in a form that cannot be edited here: edit them yourself"
            )
        replace_atomically(target, after.encode(), is_durable=True, mode=mode_of(target, 0o644))
    except OSError as exc:
        raise StorageFailed(f"cannot change {file}: {exc.strerror}; make it and its directory writable") from exc


def _normalized(content: Mapping[str, Any]) -> dict[str, Any]:
    """An empty table of packages equals a missing one."""
    return {key: value for key, value in content.items() if key != "packages" or value}
