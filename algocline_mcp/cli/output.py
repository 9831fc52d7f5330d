"""Writes everything that a command shows, and makes it harmless to a terminal.

Contract. The other modules of this folder write through `result`, `content`, `note` and `progress` alone (a test reads
them for anything else). Text that reaches a terminal is cleaned: titles, prompts, log lines, package metadata and git's
messages come from models and strangers, and a terminal obeys what it is sent (OSC 52 sets the clipboard, CSI and a
carriage return overwrite lines, bidirectional marks reorder code). Text reaches anything else, such as a pipe or a
file, as it is; so it does at a terminal with `--raw`, which every command has. Each stream is judged by itself. A
character that the stream's encoding lacks is written as an escape, so no output ends in a UnicodeEncodeError.
"""

import io
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

_RAW = "algocline_mcp.raw"
# Control characters except tab and line feed, and what changes the order of characters or cannot be seen. The joiners
# U+200C and U+200D stay: Persian and emoji need them.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def cleaned(text: str) -> str:
    """`text` with unsafe characters as the escapes of JSON, so JSON still means the same; CR LF becomes LF."""
    return _UNSAFE.sub(_escape, text.replace("\r\n", "\n"))


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex()
    return re.sub("....", r"\\u\g<0>", units)


def result(text: str, *, nl: bool = True) -> None:
    """Writes to stdout: what the user asked for."""
    _write(sys.stdout, _shown(sys.stdout, text) + ("\n" if nl else ""))


def content(parts: Iterable[bytes]) -> None:
    """Writes a file to stdout, part by part."""
    if _is_cleaned(sys.stdout):
        for part in parts:
            result(part.decode("utf-8", "replace"), nl=False)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(parts)
        sys.stdout.flush()


def note(text: str, *, nl: bool = True, **style: Any) -> None:
    """Writes to stderr: everything else. `style`: as for click.style; only a terminal gets it."""
    shown = _shown(sys.stderr, text)
    if style and sys.stderr.isatty():
        shown = click.style(shown, **style)
    _write(sys.stderr, shown + ("\n" if nl else ""))


def screen() -> TextIO:
    """The stream of `note`, for a line editor that draws what a person types."""
    return sys.stderr


def progress(text: str) -> None:
    """Writes to stderr; at a terminal `text` replaces the progress before it, until `end_progress`."""
    if sys.stderr.isatty():
        _write(sys.stderr, f"\r{' '.join(_shown(sys.stderr, text).split())}\x1b[K")
    else:
        note(text)


def end_progress() -> None:
    if sys.stderr.isatty():
        _write(sys.stderr, "\r\x1b[K")


@contextmanager
def clean_errors() -> Iterator[None]:
    """Shows an error of click itself, whose usage and message may repeat arguments and names of files, and exits."""
    try:
        yield
    except click.ClickException as exc:
        text = io.StringIO()
        exc.show(text)
        note(text.getvalue(), nl=False)
        raise click.exceptions.Exit(exc.exit_code) from exc


def raw_option(help_text: str = "Send control characters to the terminal as they are.") -> click.Option:
    """The option --raw, for a command."""

    def keep(ctx: click.Context, param: click.Parameter, is_raw: bool) -> None:
        ctx.meta[_RAW] = is_raw

    return click.Option(["--raw"], is_flag=True, expose_value=False, is_eager=True, callback=keep, help=help_text)


def is_raw() -> bool:
    """Whether the command has --raw."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_RAW, False))


def _is_cleaned(stream: TextIO) -> bool:
    return stream.isatty() and not is_raw()


def _shown(stream: TextIO, text: str) -> str:
    return cleaned(text) if _is_cleaned(stream) else text


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.flush()
        stream.buffer.write(_encoded(text, stream.encoding))
    stream.flush()


def _encoded(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding, "surrogateescape")  # a path that is not UTF-8 gets its own bytes again
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace")
