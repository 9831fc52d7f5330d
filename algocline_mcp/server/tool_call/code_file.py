"""Reading of the file in `code_file`.

Contract. The model chooses the path, and what is read can be shown to it. So only what looks like a strategy is read: a
regular file, after links are resolved, with the suffix of a language, below the project or a directory of
ALC_CODE_DIRS, whose text compiles. Everything else is refused with one sentence; nothing of it is kept. `/proc`, keys
and notes are thereby out of reach, also through a link inside the project. Blocks on the disk.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from algocline_mcp.errors import Refused
from algocline_mcp.languages import LANGUAGES, Language, language_of_file
from algocline_mcp.server.tool_call import compiler
from algocline_mcp.server.tool_call.text_file import read_text, root_above

_SHORTEN = "shorten it, or move parts into modules for require"


def code_directories(environ: Mapping[str, str]) -> list[str]:
    """The directories of ALC_CODE_DIRS, absolute."""
    return [os.path.expanduser(path) for path in environ.get("ALC_CODE_DIRS", "").split(":") if path[:1] in ("/", "~")]


def read_code_file(
    path: Path, directories: Iterable[str | os.PathLike[str] | None], code_bytes: int
) -> tuple[str, Language]:
    """The text of a strategy below one of `directories`, and its language. Raises Refused with the cure."""
    real, language = _allowed(path, directories)
    text = read_text(real, code_bytes, content="the code of a strategy", shorten=_SHORTEN)
    if (error := compiler.syntax_error(language, path.name, text)) is not None:
        error = error.partition("\n")[0]  # without the line of code below it
        raise Refused(f"{path} does not compile: {error}; nothing was started: correct the file", code="bad_code")
    return text, language


def _allowed(path: Path, directories: Iterable[str | os.PathLike[str] | None]) -> tuple[str, Language]:
    real, directories = os.path.realpath(path), list(directories)
    if root_above(real, directories) is None:
        roots = [os.path.realpath(directory) for directory in directories if directory]
        where = f" ({', '.join(roots)})" if roots else ""
        raise Refused(
            f"Failed to read {path}: it lies outside the project{where}; give project_root, send the text as code, or "
            "name its directory in ALC_CODE_DIRS of this server"
        )
    language = language_of_file(real)
    if language is None:
        suffixes = " or ".join(language.suffix for language in LANGUAGES.values())
        raise Refused(f"Failed to read {path}: the name of a strategy ends with {suffixes}; rename the file")
    return real, language


def check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise Refused(f"{name} has {size} bytes, at most {limit}: {_SHORTEN}", code="too_large")
