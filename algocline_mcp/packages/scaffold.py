"""Writes the beginning of a package: `NAME/init.lua` in a directory that is there.

Contract: refused with one sentence, and nothing is changed, where the name is none or the package is there already.
"""

import os
import re
import shutil
from pathlib import Path
from typing import Any

from algocline_mcp.errors import Refused

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LINE_CHARS = 200
_SOURCE = """\
--- {name}: {description}
---
--- Options: none yet.

local M = {{}}

M.meta = {{
  name = "{name}",
  version = "0.1.0",
  description = "{description}",
  category = "{category}",
}}

function M.run(ctx)
  ctx.result = alc.llm(ctx.task)
  return ctx
end

return M
"""


def write(root: str, target_dir: str, name: str, category: str, description: str) -> dict[str, Any]:
    """`target_dir`: relative to `root`. It blocks."""
    if not _NAME.fullmatch(name):
        raise Refused(f"name {name[:80]!r} is no name of a package: a small letter, then at most 63 more, digits and _")
    told, kind = _quoted(description or "what it does"), _quoted(category or "custom")
    content = _SOURCE.format(name=name, description=told, category=kind).encode("utf-8", "replace")
    directory = Path(os.path.expanduser(root), os.path.expanduser(target_dir), name)
    path = Path(os.path.abspath(directory)) / "init.lua"
    try:
        path.parent.mkdir()
    except FileExistsError as exc:
        raise Refused(f"{path.parent} is there already: choose another name or target_dir", code="exists") from exc
    except (OSError, ValueError) as exc:
        said = getattr(exc, "strerror", None) or "the path holds a null byte"
        raise Refused(f"cannot make {path.parent}: {said}; name a directory that is there as target_dir") from exc
    try:
        path.write_bytes(content)
    except OSError as exc:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise Refused(f"cannot write {path}: {exc.strerror}; make room there, or name another target_dir") from exc
    return {"status": "ok", "path": str(path), "bytes_written": len(content)}


def _quoted(text: str) -> str:
    """One line, for between quotes in Lua."""
    line = "".join(each for each in " ".join(text.split()) if each.isprintable())[:_LINE_CHARS]
    return line.replace("\\", "\\\\").replace('"', '\\"')
