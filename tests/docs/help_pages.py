"""The lines of functions in algocline_mcp/help/pages, written from the signatures and docstrings of the package alc.

python -m tests.docs.help_pages
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import alc
from algocline_mcp.help.topics import PAGES, TOPICS
from tests.docs.python_signatures import returned, shown

SPACES: dict[str, Any] = {"": alc, **{name: getattr(alc, name) for name in ("state", "stats", "card", "math", "env")}}
BLOCK = re.compile(r"<!-- (functions|signatures): ([^>]*) -->\n.*?<!-- end -->", re.DOTALL)


def public_functions() -> dict[str, Callable[..., Any]]:
    """Every public function of alc by its name behind `alc.`."""
    functions: dict[str, Callable[..., Any]] = {}
    for space, module in SPACES.items():
        names = ("get", "use") if space == "env" else sorted(vars(module))
        for name in names:
            if space == "env" or inspect.isfunction(vars(module)[name]):
                functions[f"{space}.{name}".lstrip(".")] = getattr(module, name)
    return functions


def lines_of(kind: str, words: str) -> str:
    """The lines between the marks: of the named functions with what they do, or of a space without."""
    functions = public_functions()
    names = [name for name in functions if name.startswith(f"{words}.")] if kind == "signatures" else words.split()
    lines = []
    for name in names:
        fn = functions[name]
        text = " ".join((inspect.getdoc(fn) or "").split()) if kind == "functions" else ""
        lines.append(f"- `{shown(name, fn)}{returned(fn)}`{': ' + text if text else ''}")
    return "".join(f"{line}\n" for line in lines)


def written(text: str) -> str:
    return BLOCK.sub(lambda match: f"<!-- {match[1]}: {match[2]} -->\n{lines_of(match[1], match[2])}<!-- end -->", text)


if __name__ == "__main__":
    for topic in TOPICS:
        file = PAGES / f"{topic}.md"
        file.write_text(written(file.read_text()))
