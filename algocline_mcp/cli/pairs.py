"""KEY=VALUE, KEY=@FILE, KEY:=JSON and KEY:=@FILE on a command line: values of `ctx`.

Contract, as in httpie: `=` takes what is written, `:=` takes JSON, and `@` before a path takes it from that file; `@-`
is standard input. A value of `=` that reads as JSON is that JSON, because numbers are written so; the text of a file is
always a text. A value that may be meant otherwise is named on stderr. Everything else raises click.UsageError.
"""

import json
import math
import os
import shlex
import sys
from typing import Any

import click

from algocline_mcp.cli import output

_INTEGERS = (-(2**63), 2**63 - 1)  # of Lua; a longer one would become a float
_FILE_MAX_CHARS = 2 * 1024 * 1024  # of KEY=@FILE: a ctx is not longer, and a device has no end
_FILE_MAX_BYTES = 4 * (_FILE_MAX_CHARS + 1)  # so many bytes have more characters, or are not UTF-8
STDIN = "@-"


def context_of(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`ctx` of the pairs."""
    ctx: dict[str, Any] = {}
    if len(readers := stdin_readers(pairs)) > 1:
        raise click.UsageError(f"{readers[0]} and {readers[1]} both take standard input: only one can read it.")
    for pair in pairs:
        key, mark, text = _parts(pair)
        if key in ctx:
            raise click.UsageError(f'{key} is given twice: give it once, several values as {key}=\'["…", "…"]\'.')
        ctx[key] = _json_of(key, mark + text, text) if mark == ":=" else _plain(key, pair, text)
    return ctx


def stdin_readers(pairs: tuple[str, ...]) -> list[str]:
    """The pairs that take standard input, which nothing else can read then."""
    return [pair for pair in pairs if _split(pair)[2] == STDIN]


def _split(pair: str) -> tuple[str, str, str]:
    """Key, "=" or ":=", and what stands behind it; an empty mark where there is none."""
    key, equals, text = pair.partition("=")
    return (key[:-1], ":=", text) if equals and key.endswith(":") else (key, equals, text)


def _parts(pair: str) -> tuple[str, str, str]:
    key, mark, text = _split(pair)
    if not key:
        raise click.UsageError(f"{pair!r} has no name before the {mark or '='}: write for example task={_shown(text)}.")
    if not mark:
        example = f"{pair}='a text'" if pair.isidentifier() else f"task={shlex.quote(pair)}"
        raise click.UsageError(f"{pair!r} is not KEY=VALUE: write for example {example}.")
    return key, mark, text


def _shown(text: str) -> str:
    return shlex.quote(text) if text else "…"


def _plain(key: str, pair: str, text: str) -> Any:
    if text.startswith("@@"):
        return text[1:]
    if text.startswith("@"):
        if text.endswith(".json"):
            output.note(f"alc: {key} is the text of {text[1:]}; for the JSON in it write {key}:={text}")
        return _text_of(key, "=", text[1:])
    if text == "-":
        output.note(f"alc: {key} is the text -; for standard input write {key}={STDIN}")
    value = _value(text)
    if value == text and _is_file(text):
        output.note(f"alc: {key} is the text {text}; for the text of that file write {key}=@{text}")
    if isinstance(value, float) and str(value) != text.strip():
        output.note(f"alc: {pair} is the number {value}; if it is a text, write {key}={shlex.quote(json.dumps(text))}")
    return value


def _is_file(text: str) -> bool:
    """A word that is the path of a file: not each word that a file happens to have as its name."""
    try:
        return ("." in text or "/" in text) and os.path.isfile(text)
    except ValueError:  # a null character
        return False


def _value(text: str) -> Any:
    """JSON if it reads as JSON. A number that a strategy cannot hold exactly or at all stays a text."""
    try:
        value = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        return text
    return text if _is_beyond(value) else value


def _json_of(key: str, shown: str, text: str) -> Any:
    """The value of KEY:=JSON or KEY:=@FILE."""
    source = f"{key}{shown if len(shown) <= 80 else shown[:80] + '…'}"
    if text.startswith("@"):
        text = _text_of(key, ":=", text[1:])
    try:
        value = json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as exc:
        cure = f"write {key}={shown[2:]} for a text, or quote the JSON for the shell: {key}:='[\"a\", 1]'"
        raise click.UsageError(f"{source} is not JSON: {exc}; {cure}.") from exc
    if _is_beyond(value):
        raise click.UsageError(f"{source} has more than 64 bits, which no strategy holds exactly: write it as a text.")
    return value


def _is_beyond(value: Any) -> bool:
    too_large = isinstance(value, float) and not math.isfinite(value)
    return too_large or (isinstance(value, int) and not _INTEGERS[0] <= value <= _INTEGERS[1])


def _no_json(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _text_of(key: str, mark: str, path: str) -> str:
    """The text of a file, without a byte order mark."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(_FILE_MAX_BYTES)
        else:
            with open(path, "rb") as file:
                content = file.read(_FILE_MAX_BYTES)
        text = content.decode("utf-8-sig")
        if len(text) > _FILE_MAX_CHARS:
            raise ValueError(f"it has more than {_FILE_MAX_CHARS} characters")
        return text
    except (OSError, ValueError, AttributeError) as exc:  # AttributeError: standard input is closed
        reason = getattr(exc, "strerror", None) or exc
        if isinstance(exc, UnicodeDecodeError):
            reason = f"byte {exc.start} is not UTF-8"
        literal = f", or {key}=@@… for a text that begins with @" if mark == "=" else ""
        raise click.UsageError(
            f"{key}{mark}@{path} cannot be read: {reason}; give the path of a file in UTF-8{literal}."
        ) from exc
