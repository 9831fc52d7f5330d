"""`alc pkg`: which packages are installed, and how that changes.

Contract: as in cli.py. No server is started: the commands call what the tools call. What is heavy they import
themselves.
"""

import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import click

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
    except Exception:  # noqa: BLE001  a shell that completes has no place for a sentence
        return []
    return sorted(name for name in names if name.startswith(incomplete) and not name.startswith("."))


NAME = click.argument("name", shell_complete=_complete)
OWN_NAME = click.option("--name", metavar="NAME", help="Under another name; for a source with one package.")
FORCE = click.option("--force", is_flag=True, help="Replace what is installed or linked under this name.")


@pkg.command(
    epilog="\b\nExamples:\n  alc pkg install github.com/ynishi/algocline-bundled-packages\n  alc pkg install ."
)
@click.argument("source")
@OWN_NAME
@FORCE
def install(source: str, name: str | None, force: bool) -> None:
    """Copy what is in SOURCE, a git URL (with #REVISION behind it if need be) or a directory, into this home.

    A directory with init.lua is one package; else each directory in it that has one. Nothing of it is run.
    """
    from algocline_mcp.packages import install

    told = _carry_out(partial(install.install_package, source=_source(source), name=name, force=force))
    click.echo(f"installed {', '.join(told['installed'])}")
    if told.get("skipped"):
        click.echo(f"left as they were: {', '.join(told['skipped'])}; --force replaces what is installed", err=True)


@pkg.command(epilog="\b\nExample:\n  alc pkg remove cot")
@NAME
def remove(name: str) -> None:
    """Delete an installed package. Sessions that have begun keep what they have loaded."""
    from algocline_mcp.packages import install

    _carry_out(partial(install.remove_package, name=name))
    click.echo(f"removed {name}")


@pkg.command(epilog="\b\nExample:\n  alc pkg link ~/my_package")
@click.argument("source", metavar="DIRECTORY")
@OWN_NAME
@FORCE
def link(source: str, name: str | None, force: bool) -> None:
    """Use the package in DIRECTORY, or all packages in it, as they are there: for those that you work on."""
    from algocline_mcp.packages import install

    told = _carry_out(partial(install.link_package, source=_source(source), name=name, force=force))
    click.echo(f"linked {', '.join(told['linked'])}")


@pkg.command(epilog="\b\nExample:\n  alc pkg unlink my_package")
@NAME
def unlink(name: str) -> None:
    """Take a link away. What it leads to stays."""
    from algocline_mcp.packages import install

    click.echo(f"unlinked {name}; {_carry_out(partial(install.unlink_package, name=name))['source']} is as it was")


@pkg.command("list", epilog="\b\nExamples:\n  alc pkg list\n  alc pkg list vote --json")
@click.argument("words", nargs=-1)
@click.option("--json", "is_json", is_flag=True, help="As JSON, with all fields.")
def list_(words: tuple[str, ...], is_json: bool) -> None:
    """List the packages that a session would find here; with WORDS, those that have all of them in their line."""
    found = _catalog("packages", query=" ".join(words))["packages"]
    if is_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif not found:
        click.echo("there is no such package; install some with: alc pkg install URL_OR_DIRECTORY", err=True)
    else:
        rows = [_HEADS, *map(_row, found)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
        for row in rows:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@pkg.command(epilog="\b\nExample:\n  alc pkg show cot")
@NAME
def show(name: str) -> None:
    """Show what a package says of itself, and where it comes from."""
    told = _catalog("packages", name=name)
    doc = told.pop("doc", "")
    for key, value in told.items():
        click.echo(f"{key:<12}  {value if isinstance(value, str) else json.dumps(value)}")
    if doc:
        click.echo(f"\n{doc}")


@pkg.command(epilog="\b\nExamples:\n  alc pkg test my_package\n  alc pkg test . --filter vote")
@click.argument("name", metavar="NAME_OR_DIRECTORY", shell_complete=_complete)
@click.option("--filter", "words", default="", metavar="TEXT", help="Only spec files with TEXT in their path.")
def test(name: str, words: str) -> None:
    """Run the specs of a package, the files in its directory spec, written for the test library lust.

    Each runs as a strategy does, in a home that is thrown away. Ends with 1 where one failed.
    """
    import anyio

    from algocline_mcp.packages import specs
    from algocline_mcp.packages.catalog import PackageContext

    limits = Limits.from_env(os.environ)
    chosen = specs.select_specs(
        PackageContext(Home.from_env(os.environ), limits, os.environ), _source(name), words=words
    )
    for warning in chosen.warnings:
        click.echo(warning, err=True)
    told = anyio.run(specs.run_specs, chosen, limits, os.environ, limits.package_specs_s)
    for each in told.get("failures", ()):
        click.echo(f"{each['file']}: {each['name'] or 'the file'}: {each['error']}")
    files = len(told["spec_files"])
    counts = f"{told['passed']} passed, {told['failed']} failed, {told['pending']} pending"
    click.echo(f"{counts} in {files} {'file' if files == 1 else 'files'}, {told['duration_ms'] / 1000:.1f} s")
    if told["failed"]:
        raise click.exceptions.Exit(1)


# ── what they stand on ────────────────────────────────────────────────────────────────────────────────────


def _carry_out(change: Callable[[Home, Limits], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    import anyio

    home, limits = Home.from_env(os.environ), Limits.from_env(os.environ)

    async def play() -> dict[str, Any]:
        return await change(home, limits)

    return anyio.run(play)


def _catalog(kind: str, *, name: str = "", query: str = "") -> dict[str, Any]:
    from dataclasses import replace

    from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog

    limits = replace(Limits.from_env(os.environ), listed_max=_ALL)
    return catalog(PackageContext(Home.from_env(os.environ), limits, os.environ), kind, CatalogQuery(name, query, _ALL))


def _source(text: str) -> str:
    """As a shell completes it: a directory needs no `./` before its name."""
    return os.path.abspath(text) if os.path.isdir(text) else text


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    about = line.get("about", "its source cannot be read")
    short = about if len(about) <= _ABOUT_CHARS else about[: _ABOUT_CHARS - 1] + "…"
    return line["name"], line.get("version", ""), line.get("type", ""), line["origin"], short
