"""Error texts for the author of a strategy in Python: the sentence first, with its place, then Python's own traceback.

    panel.py:3: ZeroDivisionError: division by zero
    Traceback (most recent call last):
      File "panel.py", line 9, in run
        share(votes)
      File "panel.py", line 3, in share
        return 1 / len(votes)
               ~~^~~~~~~~~~~~

Contract: `describe` never raises, and its text is never empty. Frames are those of the strategy and of its modules,
named by their chunks; frames of the standard library would name paths of this machine. Causes and the parts of a group
are shown. Of many frames the outermost and the innermost are shown; a text is cut at `_CHARS`.
"""

import re
import traceback
from collections.abc import Container
from types import TracebackType
from typing import Any

from algocline_mcp.package_inputs import InputError
from algocline_mcp.python_hints import describe_syntax
from algocline_mcp.worker.engine.python import hints

_CHARS = 64 * 1024  # of the whole text; a half of it for the sentence
_FRAMES = 11  # shown from either end
_GROUPS = 100  # within each other
_name_of = type.__dict__["__name__"].__get__  # a metaclass of the strategy cannot change it
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")  # differs in each process
OUT_OF_MEMORY = "out of memory: keep less in lists, dicts and texts, or raise ALC_HEAP_BYTES"


def describe(error: BaseException, sources: Container[str]) -> str:
    """The text of an error that ended the strategy. `sources`: the chunks of the strategy and its modules."""
    try:
        if isinstance(error, MemoryError):
            traceback.clear_frames(error.__traceback__)  # frees what the functions held: the text needs some
        text = _described(error, sources)
    except MemoryError:
        text = f"MemoryError: {OUT_OF_MEMORY}"
    except BaseException as exc:  # noqa: BLE001  code of the strategy, such as the __str__ of its exception
        text = f"{_name_of(type(error))}, and its text cannot be made: {_name_of(type(exc))}"
    return _cut(_ADDRESS.sub("at 0x0", text), _CHARS)


def _described(error: BaseException, sources: Container[str]) -> str:
    shown = traceback.TracebackException.from_exception(error, compact=True)
    _keep_own_frames(shown, sources)
    sentence = _cut(_sentence(error, sources), _CHARS // 2)
    if isinstance(error, BaseExceptionGroup):
        return f"{sentence}\n{''.join(shown.format())}".rstrip()
    if isinstance(error, SyntaxError) and not shown.stack:
        return sentence
    lines = list(shown.format())
    last = len(list(shown.format_exception_only()))
    return f"{sentence}\n{''.join(lines[:-last])}".rstrip() if shown.stack or len(lines) > last else sentence


def _sentence(error: BaseException, sources: Container[str]) -> str:
    """`panel.py:3: ValueError: text (hint)`; of a group also the sentence of its first part."""
    frame = _innermost(error.__traceback__, sources)
    if isinstance(error, SyntaxError) and (frame is None or error.filename in sources):
        return describe_syntax(error)
    place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}: " if frame else ""
    if isinstance(error, MemoryError):
        return f"{place}MemoryError: {OUT_OF_MEMORY}"
    if isinstance(error, InputError):  # of who runs the package, not of its code
        return str(error)
    if isinstance(error, SyntaxError):  # of a text that the strategy itself compiled
        text = f"{type(error).__name__}: {error}"
    else:
        text = "".join(traceback.format_exception_only(error)).rstrip()
    hint = hints.hint_of(error, frame)
    sentence = f"{place}{text}" + (f" ({hint})" if hint else "")
    if (first := _first_part(error)) is not error:
        sentence += f"; the first: {_sentence(first, sources)}"
    return sentence


def _first_part(error: BaseException) -> BaseException:
    """The first exception of a group, and of the groups in it, that is no group; else the error itself."""
    part = error
    for _ in range(_GROUPS):
        if not isinstance(part, BaseExceptionGroup):
            return part
        part = part.exceptions[0]
    return error


def _innermost(trace: TracebackType | None, sources: Container[str]) -> TracebackType | None:
    own = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in sources:
            own = trace
        trace = trace.tb_next
    return own


class _Stack(traceback.StackSummary):
    """Frames of which the middle is left out, after equal lines of a recursion were counted."""

    def format(self, **options: Any) -> list[str]:
        lines = super().format(**options)
        if len(lines) <= 2 * _FRAMES:
            return lines
        return [*lines[:_FRAMES], f"  … {len(lines) - 2 * _FRAMES} frames …\n", *lines[-_FRAMES:]]


def _keep_own_frames(shown: traceback.TracebackException, sources: Container[str]) -> None:
    """Of the error, of its causes, and of the parts of a group."""
    pending: list[traceback.TracebackException | None] = [shown]
    while pending:
        part = pending.pop()
        if part is not None:
            part.stack = _Stack(frame for frame in part.stack if frame.filename in sources)
            pending += [part.__cause__, part.__context__, *(getattr(part, "exceptions", None) or ())]


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[:size]}…"
