"""Writes `alc.local.toml`, a project's file that is not in its repository: from which directory it takes a package.

Contract: the text stays as its author wrote it, but for the lines of the package. A change is checked by reading the
new text: one that would say anything else is refused, and nothing is written. `alc.toml` and `alc.lock` never are.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.packages.project import FILES, declared_in, read_toml

FILE = FILES[0]
_TABLE = re.compile(r"[ \t]*\[[ \t]*packages[ \t]*\][ \t]*(#.*)?")
_ANY_TABLE = re.compile(r"[ \t]*\[")


def declare(root: Path, targets: Mapping[str, Path]) -> Path:
    """From now on these packages (name -> directory) are taken from there in this project. Returns the file. What is
    declared so already stays; raises Refused for a name that is declared otherwise, StorageFailed."""
    file = root / FILE
    declared_in(file)  # it is as it should be
    before = read_toml(file)
    known = before.get("packages", {})
    new = {name: {"path": os.fspath(path)} for name, path in targets.items() if known.get(name) != _entry(path)}
    for name in new:
        if name in known:
            cure = f'alc_pkg_remove(name="{name}", scope="project") takes that out'
            raise Refused(f"package '{name}' stands in {file} already, as {json.dumps(known[name])[:200]}: {cure}")

    def add(lines: list[str]) -> list[str]:
        added = [
            f"{name} = {{ path = {json.dumps(entry['path'], ensure_ascii=False)} }}\n" for name, entry in new.items()
        ]
        place = next((number for number, line in enumerate(lines) if _TABLE.fullmatch(line.rstrip("\n"))), None)
        if place is not None:
            return [*lines[: place + 1], *added, *lines[place + 1 :]]
        return [*lines, *(["\n"] if lines else []), "[packages]\n", *added]

    if new:
        _change(file, add, before | {"packages": known | new})
    return file


def withdraw(root: Path, name: str) -> Path:
    """Takes a package out of the file. Raises Refused where it is not in it, or in another file of the project."""
    file = root / FILE
    declared_in(file)  # it is as it should be
    before = read_toml(file)
    known = before.get("packages", {})
    if name not in known:
        others = [each for each in FILES[1:] if name in declared_in(root / each)]
        where = f"; it stands in {', '.join(others)}, which you change yourself" if others else ""
        raise Refused(f"package '{name}' is not in {file}{where}", code="not_found")
    line = re.compile(rf"[ \t]*(?:{re.escape(name)}|[\"']{re.escape(name)}[\"'])[ \t]*=.*")
    table = re.compile(rf"[ \t]*\[[ \t]*packages[ \t]*\.[ \t]*[\"']?{re.escape(name)}[\"']?[ \t]*\][ \t]*(#.*)?")

    def take_out(lines: list[str]) -> list[str]:
        left: list[str] = []
        inside, is_own = False, False
        for each in lines:
            text = each.rstrip("\n")
            if _ANY_TABLE.match(text):
                inside, is_own = bool(_TABLE.fullmatch(text)), bool(table.fullmatch(text))
            if not is_own and not (inside and line.fullmatch(text)):
                left.append(each)
        return left

    _change(file, take_out, before | {"packages": {key: value for key, value in known.items() if key != name}})
    return file


def _entry(path: Path) -> dict[str, str]:
    return {"path": os.fspath(path)}


def _change(file: Path, edit: Callable[[list[str]], list[str]], wanted: Mapping[str, Any]) -> None:
    import tomllib

    target = Path(os.path.realpath(file))
    try:
        text = target.read_text(encoding="utf-8-sig") if target.exists() else ""
        lines = text.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        after = "".join(edit(lines))
        try:
            is_so = _meaning(tomllib.loads(after)) == _meaning(wanted)
        except ValueError:
            is_so = False
        if not is_so:
            raise Refused(f"{file} is written in a way that is not changed here: edit its packages yourself")
        _write(target, after)
    except OSError as exc:
        raise StorageFailed(f"cannot change {file}: {exc.strerror}; make it and its directory writable") from exc


def _meaning(content: Mapping[str, Any]) -> dict[str, Any]:
    """No packages are none."""
    return {key: value for key, value in content.items() if key != "packages" or value}


def _write(target: Path, text: str) -> None:
    """All of it or nothing."""
    fd, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with open(fd, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(fd)
        os.chmod(draft, target.stat().st_mode & 0o777 if target.exists() else 0o644)
        os.replace(draft, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise
