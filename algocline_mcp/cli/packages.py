"""`alc pkg`: lists, installs, links, tests and removes packages.

Contract: as in main.py. No server is started: the commands call the functions that the tools call. Heavy imports are
inside the commands.
"""

import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.arguments import complete_names
from algocline_mcp.cli.authoring import report_specs
from algocline_mcp.cli.wording import at_terminal
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused

_HEADS = ("NAME", "VERSION", "TYPE", "FROM", "ABOUT")
_ABOUT_CHARS = 80
_ALL = 1_000_000

PKG_EXAMPLES = """\b
Examples:
  alc pkg install https://github.com/ynishi/algocline-bundled-packages
  alc pkg install ./my_package --force
  alc pkg link ~/my_package
  alc pkg list vote
  alc pkg test ~/my_package
  alc run vote task="Which is larger, 9.9 or 9.11?"
"""


@click.group(epilog=PKG_EXAMPLES, short_help="Install, link, list and remove packages.")
def pkg() -> None:
    """Packages are strategies that `alc run NAME` runs, and libraries that they require."""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return complete_names(incomplete)


NAME = click.argument("name", shell_complete=_complete)
OWN_NAME = click.option("--name", metavar="NAME", help="Under another name; for a source with one package.")
FORCE = click.option("--force", is_flag=True, help="Replace the package that has this name.")


@pkg.command(
    epilog="\b\nExamples:\n  alc pkg install github.com/ynishi/algocline-bundled-packages\n  alc pkg install ."
)
@click.argument("source")
@OWN_NAME
@FORCE
def install(source: str, name: str | None, force: bool) -> None:
    """Copy the packages in SOURCE, a git URL (with #REVISION after it if needed) or a directory, into this home.

    A directory with an __init__.py or init.lua is one package; otherwise each directory in it with such a file is a
    package. No code of a package is run.
    """
    from algocline_mcp.packages import install

    result = _carry_out(partial(install.install_package, source=_source(source), name=name, force=force))
    output.result(f"installed {', '.join(result['installed'])}")
    if result.get("skipped"):
        output.note(f"not changed: {', '.join(result['skipped'])}; --force replaces packages of the same name")


@pkg.command(epilog="\b\nExample:\n  alc pkg remove cot")
@NAME
def remove(name: str) -> None:
    """Delete an installed package. Sessions that have begun keep the modules that they have loaded."""
    from algocline_mcp.packages import install

    _carry_out(partial(install.remove_package, name=name))
    output.result(f"removed {name}")


@pkg.command(epilog="\b\nExample:\n  alc pkg link ~/my_package")
@click.argument("source", metavar="DIRECTORY")
@OWN_NAME
@FORCE
def link(source: str, name: str | None, force: bool) -> None:
    """Use the package in DIRECTORY, or all packages in it, without a copy: for packages that you work on."""
    from algocline_mcp.packages import install

    result = _carry_out(partial(install.link_package, source=_source(source), name=name, force=force))
    output.result(f"linked {', '.join(result['linked'])}")


@pkg.command(epilog="\b\nExample:\n  alc pkg unlink my_package")
@NAME
def unlink(name: str) -> None:
    """Remove a link. The linked directory stays."""
    from algocline_mcp.packages import install

    output.result(f"unlinked {name}; {_carry_out(partial(install.unlink_package, name=name))['source']} is not changed")


@pkg.command("list", epilog="\b\nExamples:\n  alc pkg list\n  alc pkg list vote --json")
@click.argument("words", nargs=-1)
@click.option("--json", "is_json", is_flag=True, help="As JSON, with all fields.")
def list_(words: tuple[str, ...], is_json: bool) -> None:
    """List the packages that a session would find here; with WORDS, only lines that contain all of the words."""
    packages = _catalog("packages", query=" ".join(words))["packages"]
    if is_json:
        output.result(json.dumps(packages, indent=2, ensure_ascii=False))
    elif not packages:
        lists_all = f"no package matches {' '.join(words)!r}; alc pkg list lists all"
        output.note(f"{lists_all}; install one with: alc pkg install URL_OR_DIRECTORY")
    else:
        rows = [_HEADS, *map(_row, packages)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
        for row in rows:
            output.result("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@pkg.command(epilog="\b\nExample:\n  alc pkg show review")
@NAME
def show(name: str) -> None:
    """Show the description of a package, and where it comes from."""
    details = _catalog("packages", name=name)
    doc = details.pop("doc", "")
    for key, value in details.items():
        for line in _shown_lines(value):
            output.result(f"{key:<12}  {line}".rstrip())
            key = ""
    if doc:
        output.result(f"\n{doc}")


@pkg.command(epilog="\b\nExamples:\n  alc pkg test my_package\n  alc pkg test . --filter vote")
@click.argument("name", metavar="NAME_OR_DIRECTORY", shell_complete=_complete)
@click.option("--filter", "words", default="", metavar="TEXT", help="Only spec files with TEXT in their path.")
def test(name: str, words: str) -> None:
    """Run the specs of a package, the files in its directory spec: in Python functions test_…, in Lua for lust.

    Each file runs as a strategy does, in a home that is deleted afterwards. The exit code is 1 if a spec failed.
    """
    from algocline_mcp.packages import specs
    from algocline_mcp.packages.catalog import PackageContext

    context = PackageContext(Home.from_env(os.environ), Limits.from_env(os.environ), os.environ)
    report_specs(specs.select_specs(context, _source(name), words=words), context)


NEW_EXAMPLES = """\b
Examples:
  alc new panel                      writes panel/__init__.py and panel/spec/test_panel.py
  alc new panel --lua --about "asks three times"
  alc new my_review --from review    a copy of that strategy, to be changed
  alc pkg link ./panel               from then on, panel is a strategy in every directory
"""


@click.command(epilog=NEW_EXAMPLES, short_help="Write a package: a skeleton, or a copy of another.")
@click.argument("name")
@click.option("--lua", "is_lua", is_flag=True, help="In Lua, as init.lua.")
@click.option("--from", "source", metavar="NAME", shell_complete=_complete, help="Copy this package, built in or not.")
@click.option("--about", default="", metavar="TEXT", help="What it does, in one line.")
@click.option("--category", default="", metavar="TEXT", help="A word to find it by.")
def new(name: str, is_lua: bool, source: str | None, about: str, category: str) -> None:
    """Write the directory NAME with the skeleton of a strategy and a spec in Python, or with --lua in Lua; or with
    --from a copy of another package and its specs.

    NAME has small letters, digits and _. `alc run NAME` runs it where it lies; `alc pkg link NAME` makes the package
    usable everywhere.
    """
    if source is not None:
        if is_lua or about or category:
            raise click.UsageError("--from copies a package as it is: leave --lua, --about and --category out.")
        _copy(name, source)
        return
    from algocline_mcp.languages import LUA, PYTHON
    from algocline_mcp.packages import scaffold

    language = LUA if is_lua else PYTHON
    written = scaffold.write(os.getcwd(), ".", name, category, about, language=language)
    output.result(written["path"])
    output.note(f"try it with: alc test {name}, and alc run {name} task=…")


def _copy(name: str, source: str) -> None:
    from algocline_mcp.package_inputs import how_to_give
    from algocline_mcp.packages import scaffold
    from algocline_mcp.packages.catalog import PackageContext
    from algocline_mcp.packages.lookup import nearest_names, not_found_text, read_metadata

    limits = Limits.from_env(os.environ)
    search_path = PackageContext(Home.from_env(os.environ), limits, os.environ).search_path()
    package = search_path.find(source)
    if package is None:
        nearest = nearest_names(source, [package.name for package in search_path.all()])
        raise Refused(not_found_text("package", source, nearest), code="not_found")
    output.result(scaffold.copy(os.getcwd(), name, package)["path"])
    metadata = read_metadata(package, limits.code_bytes)
    inputs = {} if metadata is None else metadata.inputs
    needed = [how_to_give({key: form}) for key, form in inputs.items() if "default" not in form]
    pairs = "".join(f" {at_terminal(way.partition(', or ')[0])}" for way in needed)
    is_library = metadata is not None and metadata.is_library
    output.note(f"try it with: alc test {name}" + ("" if is_library else f", and alc run {name}{pairs}"))


# ── shared by the commands ────────────────────────────────────────────────────────────────────────────────────


def _carry_out(change: Callable[[Home, Limits], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    import anyio

    home, limits = Home.from_env(os.environ), Limits.from_env(os.environ)

    async def run() -> dict[str, Any]:
        return await change(home, limits)

    return anyio.run(run)


def _catalog(kind: str, *, name: str = "", query: str = "") -> dict[str, Any]:
    from dataclasses import replace

    from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog

    limits = replace(Limits.from_env(os.environ), listed_max=_ALL)
    return catalog(PackageContext(Home.from_env(os.environ), limits, os.environ), kind, CatalogQuery(name, query, _ALL))


def _shown_lines(value: Any) -> list[str]:
    """Of a table, such as the inputs and outputs of a package, a line for each name."""
    if not isinstance(value, dict) or not value:
        return [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
    width = max(map(len, value))
    return [f"{name:<{width}}  {_shown_form(form)}" for name, form in value.items()]


def _shown_form(form: Any) -> str:
    """`the text to review (needed)`, `how many votes (5)`."""
    if not isinstance(form, dict):
        return form if isinstance(form, str) else json.dumps(form, ensure_ascii=False)
    default = "needed" if "default" not in form else json.dumps(form["default"], ensure_ascii=False)
    about = str(form.get("description", ""))
    return about if default in ('""', "[]", "{}") else f"{about} ({default})".strip()


def _source(text: str) -> str:
    """A directory needs no `./` before its name, as a shell completes it."""
    return os.path.abspath(text) if os.path.isdir(text) else text


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    about = line.get("about", "its source cannot be read")
    short = about if len(about) <= _ABOUT_CHARS else about[: _ABOUT_CHARS - 1] + "…"
    cells = line["name"], line.get("version", ""), line.get("type", ""), line["origin"], short
    return tuple(" ".join(cell.split()) for cell in cells)
