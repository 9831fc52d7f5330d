"""Writes a new package, `NAME/__init__.py` or `NAME/init.lua` with a spec, into an existing directory: a skeleton, or a
copy of another package.

Contract: an invalid name, or a package that exists already, is refused with one sentence, and nothing changes.
"""

import keyword
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA, PYTHON, Language, language_of_file
from algocline_mcp.packages.lookup import Package

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LINE_CHARS = 200
DIRECTORY = "spec"  # of the specs in a package
_PYTHON = """\
\"\"\"{name}: {description}\"\"\"

import alc

meta = {{
    "name": "{name}",
    "version": "0.1.0",
    "description": "{description}",
    "category": "{category}",
    "inputs": {{
        "task": {{"type": "string", "description": "what to ask"}},
    }},
}}


def run(ctx):
    ctx["result"] = alc.llm(ctx["task"])
    return ctx
"""
_LUA = """\
--- {name}: {description}

local M = {{}}

M.meta = {{
  name = "{name}",
  version = "0.1.0",
  description = "{description}",
  category = "{category}",
  inputs = {{
    task = {{ type = "string", description = "what to ask" }},
  }},
}}

function M.run(ctx)
  ctx.result = alc.llm(ctx.task)
  return ctx
end

return M
"""


_PYTHON_SPEC = """\
import {name}


def test_it_returns_the_answer(model):
    model.default = "an answer"

    result = {name}.run({{"task": "a question"}})

    assert result["result"] == "an answer"
    assert model.prompts == ["a question"]
"""
_LUA_SPEC = """\
local describe, it, expect = lust.describe, lust.it, lust.expect

describe("{name}", function()
  it("returns the answer", function()
    local model = lust.model({{ default = "an answer" }})

    local result = require("{name}").run({{ task = "a question" }})

    expect(result.result).to.equal("an answer")
    expect(model.prompts).to.equal({{ "a question" }})
  end)
end)
"""
_SOURCES = {PYTHON.name: _PYTHON, LUA.name: _LUA}
_SPECS = {PYTHON.name: ("test_{name}.py", _PYTHON_SPEC), LUA.name: ("{name}_spec.lua", _LUA_SPEC)}


def write(
    root: str, target_dir: str, name: str, category: str, description: str, *, language: Language
) -> dict[str, Any]:
    """`{status, path, bytes_written}`. `target_dir`: relative to `root`. Blocks on the disk. Raises Refused."""
    _check_name(name, language)
    fields = {"description": _quoted(description or "what it does"), "category": _quoted(category or "custom")}
    content = _SOURCES[language.name].format(name=name, **fields).encode("utf-8", "replace")
    directory = Path(os.path.expanduser(root), os.path.expanduser(target_dir), name)
    path = _made(directory) / language.entry_file()
    spec, spec_source = (text.format(name=name) for text in _SPECS[language.name])
    try:
        path.write_bytes(content)
        (path.parent / DIRECTORY).mkdir()
        (path.parent / DIRECTORY / spec).write_text(spec_source)
    except OSError as exc:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise Refused(f"cannot write {path}: {exc.strerror}; free space there, or give another target_dir") from exc
    return {"status": "ok", "path": str(path), "bytes_written": len(content)}


def _check_name(name: str, language: Language) -> None:
    if not _NAME.fullmatch(name):
        raise Refused(
            f"name {name[:80]!r} is not a package name: use a small letter, then at most 63 more, digits and _"
        )
    if language is PYTHON and (keyword.iskeyword(name) or name in sys.stdlib_module_names or name == "alc"):
        raise Refused(f"name {name!r} is a word or a module of Python itself, and import would find that: use another")


def _made(directory: Path) -> Path:
    """The new directory of a package, absolute. Raises Refused."""
    path = Path(os.path.abspath(directory))
    try:
        path.mkdir()
    except FileExistsError as exc:
        raise Refused(f"{path} exists already: choose another name or target_dir", code="exists") from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "the path contains a null byte"
        raise Refused(f"cannot create {path}: {reason}; give an existing directory as target_dir") from exc
    return path


def copy(root: str, name: str, package: Package) -> dict[str, Any]:
    """Copies the sources and specs of a package into a new one of this name: `{status, path}`. Its own name is changed
    where it is imported and in `meta`; the rest is as it was. Blocks on the disk. Raises Refused."""
    _check_name(name, package.language)
    is_directory = package.file.name == package.language.entry_file()
    source = package.file.parent
    files = (
        sorted(path for path in source.rglob("*") if language_of_file(path.name)) if is_directory else [package.file]
    )
    directory = _made(Path(root, name))
    try:
        for file in files:
            parts = file.relative_to(source).parts if is_directory else (package.language.entry_file(),)
            path = directory.joinpath(
                *(re.sub(rf"(?<![a-z0-9]){package.name}(?![a-z0-9])", name, part) for part in parts)
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_renamed(file.read_text("utf-8"), package.name, name, language_of_file(file.name) or LUA))
    except (OSError, UnicodeDecodeError) as exc:
        shutil.rmtree(directory, ignore_errors=True)
        raise Refused(f"{package.name} cannot be copied to {directory}: {exc}") from exc
    return {"status": "ok", "path": str(directory / package.language.entry_file())}


def _renamed(text: str, old: str, new: str, language: Language) -> str:
    text = re.sub(rf"""(?m)^(\s*["']?name["']?\s*[:=]\s*["']){old}(["'])""", rf"\g<1>{new}\2", text, count=1)
    text = re.sub(r"""(?m)^(\s*["']?category["']?\s*[:=]\s*["'])built in(["'])""", r"\g<1>custom\2", text, count=1)
    if language is LUA:
        return re.sub(rf"""(require\s*\(?\s*["']){old}(?=[.\"'])""", rf"\g<1>{new}", text)
    text = re.sub(rf"(?m)^(\s*)import {old}$", rf"\1import {new} as {old}", text)
    return re.sub(rf"(?m)^(\s*)from {old}(?=[. ])", rf"\1from {new}", text)


def _quoted(text: str) -> str:
    """One printable line, escaped for a quoted string of Lua and of Python."""
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())[:_LINE_CHARS]
    return line.replace("\\", "\\\\").replace('"', '\\"')
