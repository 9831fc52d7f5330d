"""Our entry in the text of a host's configuration: JSON, TOML or YAML. Pure: text in, text out.

Contract: `put` returns the text with the entry, `take` the text without it; both return their argument itself if there
is nothing to do. The rest of the text stays. If that cannot be guaranteed, they raise Refused and say that nothing was
changed. JSON is written anew (its order and indent stay), TOML and YAML change only in our lines.

TOML and YAML are edited as lines, not with a library: tomlkit 0.15 deletes the comment above the next table together
with our table, and ruamel.yaml 0.19 changes the indents of the whole file.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from algocline_mcp.errors import Refused

NAME = "alc"
_BY_HAND = "nothing was changed: do it by hand, with what this command shows without --write and --remove"


class Format(Protocol):
    def show(self, entry: Mapping[str, Any]) -> str:
        """The text to paste into an empty file."""
        ...

    def put(self, text: str, entry: Mapping[str, Any]) -> str: ...

    def take(self, text: str) -> str:
        """The text without our entry and without what is empty then; "" if nothing else was in it."""
        ...


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Json:
    """`key` holds the servers by name."""

    key: str

    def show(self, entry: Mapping[str, Any]) -> str:
        return json.dumps({self.key: {NAME: entry}}, indent=2, ensure_ascii=False) + "\n"

    def put(self, text: str, entry: Mapping[str, Any]) -> str:
        root = self._read(text)
        servers = root.setdefault(self.key, {})
        if not isinstance(servers, dict):
            raise Refused(f"{self.key} in it is not an object; {_BY_HAND}")
        if servers.get(NAME) == entry:
            return text
        servers[NAME] = dict(entry)
        return self._written(root, text)

    def take(self, text: str) -> str:
        root = self._read(text)
        servers = root.get(self.key)
        if not isinstance(servers, dict) or NAME not in servers:
            return text
        del servers[NAME]
        if not servers:
            del root[self.key]
        return self._written(root, text) if root else ""

    def _read(self, text: str) -> dict[str, Any]:
        try:
            root = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError) as exc:
            raise Refused(f"it is not plain JSON, and comments would be lost ({exc}); {_BY_HAND}") from exc
        if not isinstance(root, dict):
            raise Refused(f"it holds no JSON object; {_BY_HAND}")
        return root

    def _written(self, root: dict[str, Any], text: str) -> str:
        indent = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
        return json.dumps(root, indent=indent[1] if indent else 2, ensure_ascii=False) + "\n"


# ── TOML ──────────────────────────────────────────────────────────────────────────────────────────────────

_TABLE = re.compile(r"\s*\[")


@dataclass(frozen=True, slots=True)
class Toml:
    """`[key.alc]` is our table."""

    key: str

    def show(self, entry: Mapping[str, Any]) -> str:
        lines = [f"[{self.key}.{NAME}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in entry.items()]
        return "\n".join(lines) + "\n"

    def put(self, text: str, entry: Mapping[str, Any]) -> str:
        before = self._read(text)
        if before.get(self.key, {}).get(NAME) == entry:
            return text
        rest = self.take(text)
        gap = "" if not rest else "\n" if rest.endswith("\n") else "\n\n"
        after = f"{rest}{gap}{self.show(entry)}"
        self._check(after, before, dict(entry))
        return after

    def take(self, text: str) -> str:
        before = self._read(text)
        if NAME not in before.get(self.key, {}):
            return text
        own = re.compile(rf"\s*\[\s*{self.key}\s*\.\s*[\"']?{NAME}[\"']?\s*[\].]")
        kept: list[str] = []
        dropped: list[str] = []
        is_ours = False
        for line in text.splitlines(keepends=True):
            if _TABLE.match(line):
                if is_ours and not own.match(line):
                    kept += _comments_at_end(dropped)  # comments belong to the table that follows
                is_ours = own.match(line) is not None
            (dropped if is_ours else kept).append(line)
        after = "".join(kept)
        self._check(after, before, None)
        return after if after.strip() else ""

    def _read(self, text: str) -> dict[str, Any]:
        try:
            root = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            raise Refused(f"it is not TOML ({exc}); {_BY_HAND}") from exc
        if not isinstance(root.get(self.key, {}), dict):
            raise Refused(f"{self.key} in it is not a table; {_BY_HAND}")
        return root

    def _check(self, text: str, before: dict[str, Any], entry: dict[str, Any] | None) -> None:
        """Raises Refused unless `text` means the same as `before`, with our table as `entry` or without our table."""
        servers = {name: table for name, table in before.get(self.key, {}).items() if name != NAME}
        servers |= {NAME: entry} if entry is not None else {}
        rest = {name: value for name, value in before.items() if name != self.key}
        try:
            result = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            result = {}
        if result.pop(self.key, {}) != servers or result != rest:
            raise Refused(f"{self.key} is in it in a form that this command does not know; {_BY_HAND}")


def _comments_at_end(lines: list[str]) -> list[str]:
    count = len(lines)
    while count and (not lines[count - 1].strip() or lines[count - 1].lstrip().startswith("#")):
        count -= 1
    return lines[count:]


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)  # strings, lists of them, numbers and booleans read the same


# ── YAML ──────────────────────────────────────────────────────────────────────────────────────────────────

_NOTHING = re.compile(r"\s*(#.*)?$")


@dataclass(frozen=True, slots=True)
class Yaml:
    """`key` at the top holds the entries by name, as a block."""

    key: str

    def show(self, entry: Mapping[str, Any]) -> str:
        return f"{self.key}:\n" + self._block(entry, "  ")

    def put(self, text: str, entry: Mapping[str, Any]) -> str:
        rest = self._without_block(text)
        lines = rest.splitlines(keepends=True)
        head = self._head(lines)
        if head is None:
            gap = "" if not rest or rest.endswith("\n") else "\n"
            after = f"{rest}{gap}{self.show(entry)}"
        else:
            lines[head] = f"{self.key}:\n"
            block = self._block(entry, self._indent(lines, head))
            after = "".join([*lines[: head + 1], block, *lines[head + 1 :]])
        return text if sorted(after.splitlines()) == sorted(text.splitlines()) else after

    def take(self, text: str) -> str:
        rest = self._without_block(text)
        if rest == text:
            return text
        lines = rest.splitlines(keepends=True)
        head = self._head(lines)
        if head is not None and self._end(lines, head, "") == head + 1:
            del lines[head]  # it holds no entry any more
        after = "".join(lines)
        return after if after.strip() else ""

    def _without_block(self, text: str) -> str:
        if "\n\t" in text:
            raise Refused(f"a line of it begins with a tab; {_BY_HAND}")
        lines = text.splitlines(keepends=True)
        head = self._head(lines)
        if head is None:
            return text
        indent = self._indent(lines, head)
        own = re.compile(rf"{indent}[\"']?{NAME}[\"']?:(\s|$)")
        start = next((n for n in range(head + 1, len(lines)) if own.match(lines[n])), None)
        if start is None or self._end(lines, head, "") <= start:
            return text
        end = self._end(lines, start, indent)
        return "".join(lines[:start] + lines[end:])

    def _head(self, lines: list[str]) -> int | None:
        for number, line in enumerate(lines):
            if line.startswith(f"{self.key}:"):
                value = line[len(self.key) + 1 :].strip()
                if not _NOTHING.match(value) and value not in ("{}", "null", "~"):
                    raise Refused(f"{self.key} is in it on one line; {_BY_HAND}")
                return number
        return None

    def _indent(self, lines: list[str], head: int) -> str:
        """The indent of the entries that are there."""
        for line in lines[head + 1 :]:
            if not _NOTHING.match(line):
                return line[: len(line) - len(line.lstrip())] or "  "
        return "  "

    def _end(self, lines: list[str], start: int, indent: str) -> int:
        """The number of the first line after `start` that is not deeper than `indent`."""
        last = start + 1
        for number in range(start + 1, len(lines)):
            line = lines[number]
            if _NOTHING.match(line):
                continue
            if len(line) - len(line.lstrip()) <= len(indent):
                return last
            last = number + 1
        return last

    def _block(self, entry: Mapping[str, Any], indent: str) -> str:
        lines = [f"{indent}{NAME}:"]
        lines += [f"{indent * 2}{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in entry.items()]
        return "\n".join(lines) + "\n"
