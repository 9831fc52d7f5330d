"""The sections of docs/built-in.md, written from `meta` and the docstring of each built-in strategy.

python -m tests.docs.built_in_page
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import BUILT_IN_PACKAGES
from algocline_mcp.packages.lookup import Package, entry_of
from algocline_mcp.packages.metadata import PackageMetadata, metadata_of

PAGE = Path(__file__).parents[2] / "docs" / "built-in.md"
BLOCK = re.compile(r"(?<=<!-- strategies -->\n).*?(?=<!-- end -->)", re.DOTALL)
_LONG = ("text", "file")  # inputs that come from a file


def strategies() -> dict[str, PackageMetadata]:
    """By name. Libraries are left out."""
    names = sorted(path.name for path in BUILT_IN_PACKAGES.iterdir() if not path.name.startswith(("_", ".")))
    packages = [Package(name, entry_of(BUILT_IN_PACKAGES / name), "built in") for name in names]
    read = {package.name: metadata_of(package.file.read_text(), package.language) for package in packages}
    return {name: metadata for name, metadata in read.items() if not metadata.is_library}


def sections() -> str:
    packages = strategies()
    rows = [
        f"| [`{name}`](#{name}) | {metadata.description} | {metadata.cost} |\n" for name, metadata in packages.items()
    ]
    parts = [_section(name, metadata) for name, metadata in packages.items()]
    return "".join(["| strategy | what it does | prompts |\n|---|---|---|\n", *rows, "\n", *parts])


def _section(name: str, metadata: PackageMetadata) -> str:
    required = [f"{key}{_given(key, form)}" for key, form in metadata.inputs.items() if "default" not in form]
    inputs = [f"| `{key}` | {_default(form)} | {form['description']} |" for key, form in metadata.inputs.items()]
    outputs = [f"| `{key}` | {text} |" for key, text in metadata.outputs.items()]
    lines = [
        f"## {name}", "", metadata.doc, "", f"`alc run {name} {' '.join(required)}`", "",
        "| input | default | |", "|---|---|---|", *inputs, "",
        "| result | |", "|---|---|", *outputs, "",
        f"Prompts: {metadata.cost}.\n\nAfter: {metadata.reference}.", "",
    ]  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


def _given(key: str, form: Mapping[str, Any]) -> str:
    if form["type"] in ("array", "object"):
        return ":=…"
    return "=@FILE" if key in _LONG else "=…"


def _default(form: Mapping[str, Any]) -> str:
    if "default" not in form:
        return "needed"
    default = form["default"]
    if default in ("", []):
        return "none"
    return "; ".join(map(str, default)) if isinstance(default, list) else f"`{json.dumps(default)}`"


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda _: sections(), PAGE.read_text()))
