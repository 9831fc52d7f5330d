"""`alc lint` and `alc test`: what an author asks of a strategy before it runs in earnest.

Contract: as in main.py. Heavy imports are inside the commands.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.arguments import SessionId, StrategyFile, fitting_ids, home_of
from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused

if TYPE_CHECKING:
    from algocline_mcp.packages.catalog import PackageContext
    from algocline_mcp.packages.specs import SpecRun

LAST = "last"  # in the place of an id: the newest one
LINT_EXAMPLES = """\b
Examples:
  alc lint panel.py
  alc lint my_package other.lua
"""
TEST_EXAMPLES = """\b
Examples:
  alc test my_package                       its specs, the files in my_package/spec
  alc test my_package/spec/test_one.py      one of them
  alc test my_package --filter vote
  alc test my_package --from cdef           writes a spec from that finished session, and runs it
  alc test my_package --from last           the same from the newest finished session of my_package
"""


@click.command(epilog=LINT_EXAMPLES, short_help="Find mistakes in strategies without running them.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=StrategyFile(exists=True))
def lint(paths: tuple[str, ...]) -> None:
    """Find what would fail: names that alc does not have, wrong arguments, keys that a result lacks, a run without a
    result, code that does not compile. PATH is a file or the directory of a package. No code is run.

    Exit code 1 if something was found.
    """
    files = [file for path in paths for file in _sources(Path(path))]
    count = 0
    for file in files:
        for finding in _findings(file):
            count += 1
            output.result(f"{file}:{finding.line}: {finding.sentence}")
    mistakes = {0: "no mistake", 1: "1 mistake"}.get(count, f"{count} mistakes")
    output.note(f"{mistakes} in {len(files)} {'file' if len(files) == 1 else 'files'}")
    if count:
        raise click.exceptions.Exit(1)


def _sources(path: Path) -> list[Path]:
    from algocline_mcp.languages import language_of_file

    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file() and language_of_file(file.name) is not None)
        files = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        if not files:
            raise click.UsageError(f"{path} holds no .py or .lua: give a strategy, or the directory of a package.")
        return files
    if language_of_file(path.name) is None:
        raise click.UsageError(f"{path} is no strategy: its name ends with .py or .lua.")
    return [path]


def _findings(file: Path) -> list[Any]:
    from algocline_mcp.languages import LUA, language_of_file
    from algocline_mcp.packages import lint as linting

    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8"
        raise click.ClickException(f"{file} cannot be read: {reason}; give a file of text in UTF-8") from exc
    language = language_of_file(file.name) or LUA
    if language is LUA and (error := _lua_error(file, text)) is not None:
        return [error]
    return linting.findings(text, language)


def _lua_error(file: Path, text: str) -> Any:
    """Where the text does not compile, which the engine's own Lua says."""
    import lupa.lua55 as lua

    from algocline_mcp.packages.lint import Finding

    runtime = lua.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    try:
        runtime.compile((f"--{text}" if text.startswith("#") else text).encode(), name=b"@line", mode=b"t")
    except lua.LuaError as exc:
        reason = exc.args[0].decode("utf-8", "replace") if isinstance(exc.args[0], bytes) else str(exc)
        line, _, sentence = reason.removeprefix("line:").partition(": ")
        return Finding(int(line) if line.isdecimal() else 1, sentence or reason)
    return None


@click.command(epilog=TEST_EXAMPLES, short_help="Run the specs of a package; freeze a session as one.")
@click.argument("path", type=StrategyFile())
@click.option("--filter", "words", default="", metavar="TEXT", help="Only spec files with TEXT in their path.")
@click.option(
    "--from", "sid", metavar="[SID]", is_flag=False, flag_value=LAST, type=SessionId(is_unfinished=False),
    help="Write a spec from a finished session; without SID, or last: the newest one of the package.",
)  # fmt: skip
def test(path: str, words: str, sid: str | None) -> None:
    """Run the specs of a package, with answers that the specs give: functions test_… in Python, lust in Lua.

    PATH is the name or the directory of a package, or one spec file. With --from, writes a spec that asks the prompts
    of that session, answers them as they were answered, and expects its result. The exit code is 1 if a spec failed.
    """
    from algocline_mcp.packages import specs
    from algocline_mcp.packages.catalog import PackageContext

    context = PackageContext(Home.from_env(os.environ), Limits.from_env(os.environ), os.environ)
    if sid is not None:
        if words:
            raise click.UsageError("--filter chooses spec files: leave it out with --from.")
        report_specs(_frozen(context, _absolute(path), sid), context)
        return
    if os.path.isfile(path):
        package, _, words = os.path.abspath(path).rpartition(f"/{specs.DIRECTORY}/")
        if not package:
            raise click.UsageError(f"{path} is not below the directory spec of a package: give the package.")
        path = package
    report_specs(specs.select_specs(context, _absolute(path), words=words), context)


def _absolute(path: str) -> str:
    """A directory needs no `./` before its name, as a shell completes it."""
    return os.path.abspath(path) if os.path.isdir(path) else path


def _frozen(context: "PackageContext", name: str, sid: str) -> "SpecRun":
    """Writes the spec of a session, and selects it."""
    from algocline_mcp.history.reader import records_of
    from algocline_mcp.packages import freeze, specs
    from algocline_mcp.storage.files import replace_atomically

    package = specs.package_of(context.search_path(), name)
    if sid == LAST:
        sid = _newest(context, package.name)
    records = records_of(home_of(sid), context.limits, sid)
    frozen = freeze.spec_of(records, package.name, package.language)
    if len(frozen.surroundings.encode()) > context.limits.inherited_bytes:
        limit = f"{context.limits.inherited_bytes} bytes (ALC_INHERITED_BYTES)"
        raise click.ClickException(f"what state and other effects gave {sid} has over {limit}: raise that limit")
    target = package.file.parent / specs.DIRECTORY / frozen.file
    if target.exists():
        raise click.ClickException(f"{target} exists already: remove it, or rename it, to freeze {sid} again")
    target.parent.mkdir(exist_ok=True)
    beside = target.with_suffix(freeze.SURROUNDINGS)
    for path, text in ((beside, frozen.surroundings), (target, frozen.text)):  # a spec is never without the other
        replace_atomically(path, text.encode("utf-8", "backslashreplace"), is_durable=False, mode=0o644)
    output.result(f"wrote {target}")
    if frozen.reads_environment:
        output.note("alc: it reads variables of the environment, which are not in the spec: set them where it runs")
    return specs.select_specs(context, str(package.file.parent), words=frozen.file)


def _newest(context: "PackageContext", package: str) -> str:
    """The id of the newest session of the package that has completed."""
    from algocline_mcp.history.reader import first_record, session_of

    for sid in fitting_ids(context.home, "p-"):
        home = home_of(sid)
        try:
            if first_record(home, context.limits, sid).get("strategy") != package:
                continue
            final = session_of(home, context.limits, sid).final
        except (AlcError, OSError):  # damaged, or gone meanwhile
            continue
        if final is not None and final["status"] == "completed":
            return sid
    raise Refused(f"no session of {package} has completed here: alc run {package} … makes one", code="not_found")


def report_specs(chosen: "SpecRun", context: "PackageContext") -> None:
    """Runs specs and shows what failed. Ends the command with exit code 1 then."""
    import anyio

    from algocline_mcp.packages import specs

    for warning in chosen.warnings:
        output.note(warning)
    report = anyio.run(specs.run_specs, chosen, context.limits, os.environ, context.limits.package_specs_s)
    for failure in report.get("failures", ()):
        output.result(f"{failure['file']}: {failure['name'] or 'the file'}: {failure['error']}")
    files = len(report["spec_files"])
    counts = f"{report['passed']} passed, {report['failed']} failed, {report['pending']} pending"
    output.result(f"{counts} in {files} {'file' if files == 1 else 'files'}, {report['duration_ms'] / 1000:.1f} s")
    if report["failed"]:
        raise click.exceptions.Exit(1)


COMMANDS = (lint, test)
