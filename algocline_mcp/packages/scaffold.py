"""Writes the skeleton of a new package, `NAME/init.lua`, into an existing directory.

Contract: an invalid name, or a package that exists already, is refused with one sentence, and nothing changes.
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
    """`{status, path, bytes_written}`. `target_dir`: relative to `root`. Blocks on the disk. Raises Refused."""
    if not _NAME.fullmatch(name):
        raise Refused(
            f"name {name[:80]!r} is not a package name: use a small letter, then at most 63 more, digits and _"
        )
    fields = {"description": _quoted(description or "what it does"), "category": _quoted(category or "custom")}
    content = _SOURCE.format(name=name, **fields).encode("utf-8", "replace")
    directory = Path(os.path.expanduser(root), os.path.expanduser(target_dir), name)
    path = Path(os.path.abspath(directory)) / "init.lua"
    try:
        path.parent.mkdir()
    except FileExistsError as exc:
        raise Refused(f"{path.parent} exists already: choose another name or target_dir", code="exists") from exc
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "the path contains a null byte"
        raise Refused(f"cannot create {path.parent}: {reason}; give an existing directory as target_dir") from exc
    try:
        path.write_bytes(content)
    except OSError as exc:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise Refused(f"cannot write {path}: {exc.strerror}; free space there, or give another target_dir") from exc
    return {"status": "ok", "path": str(path), "bytes_written": len(content)}


def _quoted(text: str) -> str:
    """One printable line, escaped for a quoted Lua string."""
    line = "".join(char for char in " ".join(text.split()) if char.isprintable())[:_LINE_CHARS]
    return line.replace("\\", "\\\\").replace('"', '\\"')
