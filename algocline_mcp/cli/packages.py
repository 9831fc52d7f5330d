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
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits

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
  alc run cot task="Why is the sky blue?"
"""


@click.group(epilog=PKG_EXAMPLES, short_help="Install, link, list and remove packages.")
def pkg() -> None:
    """Packages are strategies that `alc run NAME` runs, and libraries that they require."""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    try:
        names = os.listdir(Home.from_env(os.environ).packages)
    except Exception:  # noqa: BLE001  a shell that completes cannot show an error
        return []
    return sorted(name for name in names if name.startswith(incomplete) and not name.startswith("."))


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

    A directory with an init.lua is one package; otherwise each directory in it with an init.lua is a package. No code
    of a package is run.
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
        which = (
            f"no package matches {' '.join(words)!r}; alc pkg list lists all" if words else "no package is installed"
        )
        output.note(f"{which}; install one with: alc pkg install URL_OR_DIRECTORY")
    else:
        rows = [_HEADS, *map(_row, packages)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
        for row in rows:
            output.result("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@pkg.command(epilog="\b\nExample:\n  alc pkg show cot")
@NAME
def show(name: str) -> None:
    """Show the description of a package, and where it comes from."""
    details = _catalog("packages", name=name)
    doc = details.pop("doc", "")
    for key, value in details.items():
        output.result(f"{key:<12}  {value if isinstance(value, str) else json.dumps(value)}")
    if doc:
        output.result(f"\n{doc}")


@pkg.command(epilog="\b\nExamples:\n  alc pkg test my_package\n  alc pkg test . --filter vote")
@click.argument("name", metavar="NAME_OR_DIRECTORY", shell_complete=_complete)
@click.option("--filter", "words", default="", metavar="TEXT", help="Only spec files with TEXT in their path.")
def test(name: str, words: str) -> None:
    """Run the specs of a package, the files in its directory spec, written for the test library lust.

    Each file runs as a strategy does, in a home that is deleted afterwards. The exit code is 1 if a spec failed.
    """
    import anyio

    from algocline_mcp.packages import specs
    from algocline_mcp.packages.catalog import PackageContext

    limits = Limits.from_env(os.environ)
    chosen = specs.select_specs(
        PackageContext(Home.from_env(os.environ), limits, os.environ), _source(name), words=words
    )
    for warning in chosen.warnings:
        output.note(warning)
    report = anyio.run(specs.run_specs, chosen, limits, os.environ, limits.package_specs_s)
    for failure in report.get("failures", ()):
        output.result(f"{failure['file']}: {failure['name'] or 'the file'}: {failure['error']}")
    files = len(report["spec_files"])
    counts = f"{report['passed']} passed, {report['failed']} failed, {report['pending']} pending"
    output.result(f"{counts} in {files} {'file' if files == 1 else 'files'}, {report['duration_ms'] / 1000:.1f} s")
    if report["failed"]:
        raise click.exceptions.Exit(1)


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


def _source(text: str) -> str:
    """A directory needs no `./` before its name, as a shell completes it."""
    return os.path.abspath(text) if os.path.isdir(text) else text


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    about = line.get("about", "its source cannot be read")
    short = about if len(about) <= _ABOUT_CHARS else about[: _ABOUT_CHARS - 1] + "…"
    cells = line["name"], line.get("version", ""), line.get("type", ""), line["origin"], short
    return tuple(" ".join(cell.split()) for cell in cells)
