"""Variables that a strategy reads by alc.env and os.getenv.

Contract: `get(name)` looks into `ctx.env.inject`, then into the file that `ctx.env.dotenv` names, then among those
variables of the server that ALC_ENV_ALLOW lists, unless `ctx.env.allow_os` is false. Where the project's alc.toml has
`[env] allow`, every other name is missing. A missing variable is None. Raises EnvironUnreadable, whose message is for
the strategy, where a file cannot be used; no file is read before the first `get`.
"""

import os
import re
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

_MAX_BYTES = 1024 * 1024
_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.]*)[ \t]*=[ \t]*(.*)", re.DOTALL)
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"[ \t]*(?:#.*)?')
_SINGLE = re.compile(r"'([^']*)'[ \t]*(?:#.*)?")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class EnvironUnreadable(ValueError):
    """The message is the sentence that the strategy gets."""


class Environ:
    def __init__(self, ctx_env: Mapping[str, Any], project: str | None, environ: Mapping[str, str]) -> None:
        """`project`: its root directory. `environ`: those variables of the server that may be read."""
        self._ctx_env = ctx_env
        self._project = project
        self._environ = environ if ctx_env.get("allow_os") is not False else {}

    def get(self, name: str) -> str | None:
        if self._allowed is not None and name not in self._allowed:
            return None
        injected = self._ctx_env.get("inject")
        if isinstance(injected, Mapping) and isinstance(value := injected.get(name), str):
            return value
        return self._dotenv.get(name, self._environ.get(name))

    @cached_property
    def _allowed(self) -> frozenset[str] | None:
        """The names that the project allows. None: it has no such list, and allows every name."""
        if self._project is None:
            return None
        path = Path(self._project) / "alc.toml"
        text = _read_text(path, "alc.toml")
        if text is None or "env" not in text:
            return None
        import tomllib  # 10 ms, and few projects have such a file

        try:
            table = tomllib.loads(text).get("env", {})
        except (ValueError, RecursionError) as exc:
            raise EnvironUnreadable(f"alc.toml load error: {exc}; correct {path}") from exc
        names = table.get("allow") if isinstance(table, dict) else None
        return frozenset(map(str, names)) if isinstance(names, list) else None

    @cached_property
    def _dotenv(self) -> Mapping[str, str]:
        chosen = self._ctx_env.get("dotenv")
        if not isinstance(chosen, str):
            return {}
        path = os.path.expanduser(chosen)
        if not os.path.isabs(path):
            if self._project is None:
                raise EnvironUnreadable(f"ctx.env.dotenv: relative path '{chosen}' requires project_root to be set")
            path = os.path.join(self._project, path)
        text = _read_text(Path(path), "ctx.env.dotenv")
        if text is None:
            raise EnvironUnreadable(f"ctx.env.dotenv: failed to open {path}: there is no such file")
        return parse_dotenv(text, path)


def parse_dotenv(text: str, path: str) -> dict[str, str]:
    """The variables of a file of lines NAME=VALUE. A value in quotes may hold any character, a value without
    quotes ends at ` #`. `path` is for the error."""
    variables = {}
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        match = _LINE.fullmatch(bare)
        value = _parse_value(match[2]) if match else None
        if match is None or value is None:
            raise EnvironUnreadable(f"ctx.env.dotenv: parse error in {path}: line {number} is not NAME=VALUE")
        variables[match[1]] = value
    return variables


def _parse_value(text: str) -> str | None:
    """None where a quote is not closed."""
    if text.startswith('"'):
        quoted = _DOUBLE.fullmatch(text)
        return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), quoted[1]) if quoted else None
    if text.startswith("'"):
        quoted = _SINGLE.fullmatch(text)
        return quoted[1] if quoted else None
    return re.split(r"(?:^|[ \t])#", text, maxsplit=1)[0].rstrip()


def _read_text(path: Path, name: str) -> str | None:
    """None where there is no such file. `name`: of the setting, for the error."""
    if "\0" in str(path):
        raise EnvironUnreadable(f"{name}: failed to open {str(path)!r}: the path holds a null byte")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not hold the keeper
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise EnvironUnreadable(f"{name}: failed to open {path}: it is not a regular file")
            content = file.read(_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise EnvironUnreadable(f"{name}: failed to open {path}: {exc.strerror}") from exc
    if len(content) > _MAX_BYTES:
        raise EnvironUnreadable(f"{name}: {path} has more than {_MAX_BYTES} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError as exc:
        raise EnvironUnreadable(f"{name}: parse error in {path}: byte {exc.start} is not UTF-8") from exc
