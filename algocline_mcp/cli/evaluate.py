"""`alc eval`: runs strategies on cases, grades and compares them; lists and shows the runs.

Contract: as in main.py. The table goes to stdout. Exit code 1 where the run is not complete; the same command goes on.
"""

import json
import os
import shlex
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from algocline_mcp.cli import output
from algocline_mcp.cli.answering_options import JOBS, Chosen
from algocline_mcp.cli.evaluation_options import answered_by, answering_options, chosen_of, prices_of
from algocline_mcp.cli.evaluation_views import VIEWS, write_out
from algocline_mcp.errors import AlcError, Refused

if TYPE_CHECKING:
    from algocline_mcp.answering.prompts import Answerer
    from algocline_mcp.config.home import Home
    from algocline_mcp.evaluation.cases import Case
    from algocline_mcp.evaluation.graders import Grader
    from algocline_mcp.evaluation.runs import Progress, Result
    from algocline_mcp.evaluation.strategies import Contender
    from algocline_mcp.pool.pool import Pool

Done = TypeVar("Done")
_TEXT_MAX_BYTES = 64 * 1024 * 1024  # of a file of cases
_BAR = 24
_SHOWN = 5  # problems

EXAMPLES = """\b
Examples:
  alc eval sums.jsonl --strategy cot --strategy vote:n=5 --grader number --exec 'llm -m some-model'
  alc eval qa.csv --strategy mine.py --grader judge --epochs 3 --jobs 8 --exec … --out results
  alc eval list
  alc eval show last
  alc eval compare qa-20260102T030405-1a2b3c4d last
  alc eval last --regrade --grader contains
"""


_IS_SHORT = "algocline_mcp.eval"
_CASES = "CASES"


class EvalGroup(click.Group):
    """A group whose first argument may be a file of cases: `alc eval CASES …` is `alc eval run CASES …`. Errors and
    help then name the command as it was typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, *ctx.help_option_names):
            ctx.meta[_IS_SHORT] = True
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return _CASES if ctx.meta.get(_IS_SHORT) else name, command, rest


class RunCommand(click.Command):
    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """`alc eval CASES [OPTIONS]` has the argument in its name."""
        return [piece for piece in super().collect_usage_pieces(ctx) if piece != ctx.info_name]


@click.group("eval", cls=EvalGroup, epilog=EXAMPLES, short_help="Measure strategies on cases, and compare them.")
def evaluate() -> None:
    """Run strategies on cases, grade the answers, and compare the strategies case by case.

    alc eval CASES is short for alc eval run CASES. Every case is a session: after an interrupt or a crash the same
    command goes on, and no answered prompt is asked again.
    """


for view in VIEWS:
    evaluate.add_command(view)


@evaluate.command(cls=RunCommand, epilog=EXAMPLES, short_help="Run strategies on cases.")
@click.argument("cases", metavar=_CASES, type=click.Path())
@click.option(
    "--strategy", "strategies", multiple=True, metavar="FILE|NAME[:KEY=VALUE,…]",
    help="A strategy, with options for its ctx. Give several to compare them.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(1, 100), metavar="K", help="Runs of each case (1).")
@click.option("--anew", "is_anew", is_flag=True, help="Begin another run, also where this one is complete.")
@click.option(
    "--regrade", "is_regrade", is_flag=True,
    help="Only grade the recorded answers, with these graders; CASES may be the run: its id, or last.",
)  # fmt: skip
@answering_options
def run(cases: str, strategies: tuple[str, ...], **options: Any) -> None:
    """Run each strategy on each case in CASES: a .jsonl, .csv or .yaml file, or a .lua scenario.

    A case's input is ctx.task. The same command goes on with an unfinished run, and shows a complete one again.
    """
    if options["is_regrade"]:
        _regrade(cases, strategies, options)
    else:
        _evaluate(cases, _given(strategies), options)


def _given(strategies: tuple[str, ...]) -> tuple[str, ...]:
    if not strategies:
        raise click.UsageError("give --strategy: the file or the name of a strategy; several to compare them.")
    return strategies


def _evaluate(cases: str, strategies: tuple[str, ...], options: dict[str, Any]) -> None:
    from algocline_mcp.evaluation import runs
    from algocline_mcp.evaluation.plan import new_plan

    chosen = chosen_of(options)
    home, contenders = _contenders(strategies)
    named, own = _cases(cases)
    graders = _graders(options["graders"]) or own or _graders(("exact",))
    plan = new_plan(
        os.path.basename(cases),
        named,
        contenders,
        epochs=options["epochs"] or 1,
        answered_by=answered_by(chosen),
        prices=prices_of(chosen),
    )
    directory, plan = runs.prepare(home, plan, graders, is_anew=options["is_anew"])
    output.note(f"alc: run {directory.run_id}: {len(plan.cases)} cases, {len(plan.parts)} sessions")

    async def evaluated(pool: "Pool") -> "Result":
        async with _closing(_answerer_of(chosen)) as answerer:
            execution = runs.Execution(answerer, options["jobs"] or JOBS, _show_progress)
            return await runs.evaluate(pool, directory, plan, graders, execution)

    _finish(_in_pool(evaluated), options)


def _regrade(cases: str, strategies: tuple[str, ...], options: dict[str, Any]) -> None:
    from algocline_mcp.cli import regrading
    from algocline_mcp.config.home import Home
    from algocline_mcp.evaluation import runs
    from algocline_mcp.evaluation.plan import find_run

    if options["is_anew"]:
        raise click.UsageError("give --anew or --regrade, not both.")
    own: list[Grader] = []
    if regrading.is_run(cases, strategies):
        directory = find_run(Home.from_env(os.environ), cases)
    else:
        home, contenders = _contenders(_given(strategies))
        named, own = _cases(cases)
        directory = regrading.run_of(home, cases, named, contenders, options)
    run = regrading.recorded(directory, _graders(options["graders"]) or own, options)
    output.note(f"alc: run {directory.run_id}: its answers are graded by {', '.join(one.label for one in run.graders)}")

    async def regraded(pool: "Pool") -> "Result":
        async with _closing(regrading.WhenNeeded(lambda: _answerer_of(run.chosen))) as answerer:
            execution = runs.Execution(answerer, options["jobs"] or JOBS, judged_by=run.judged_by)
            return await runs.regrade(pool, directory, run.plan, run.graders, execution)

    _finish(_in_pool(regraded), options)


def _answerer_of(chosen: Chosen) -> "Answerer":
    from algocline_mcp.cli.answerers import Answering

    answering = chosen.answerer()
    assert isinstance(answering, Answering)  # a person is asked by alc run
    return answering.answerer


@asynccontextmanager
async def _closing(answerer: "Answerer") -> "AsyncIterator[Answerer]":
    from algocline_mcp.answering.prompts import close

    try:
        yield answerer
    finally:
        await close(answerer)


def _contenders(strategies: tuple[str, ...]) -> "tuple[Home, list[Contender]]":
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.evaluation.strategies import contender
    from algocline_mcp.packages.catalog import PackageContext

    context = PackageContext(Home.from_env(os.environ), Limits.from_env(os.environ), os.environ)
    return context.home, [contender(context, text) for text in strategies]


def _cases(path: str) -> "tuple[Sequence[Case], list[Grader]]":
    """The cases in a file, and the graders that a scenario has."""
    from algocline_mcp.evaluation import cases, scenario

    name, text = os.path.basename(path), _read(path)
    if not name.endswith(scenario.SUFFIX):
        return cases.parse_cases(name, text), []
    directory = os.path.dirname(os.path.abspath(path))

    async def read(pool: "Pool") -> "tuple[Sequence[Case], list[Grader]]":
        named, grader = await scenario.read_scenario(pool, name, text, [directory])
        return named, [grader]

    return _in_pool(read)


def _graders(texts: tuple[str, ...]) -> "list[Grader]":
    from algocline_mcp.evaluation.graders import parse_grader

    return [parse_grader(text, _read) for text in texts]


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_TEXT_MAX_BYTES + 1)
        if len(content) > _TEXT_MAX_BYTES:
            raise Refused(f"{path} has more than {_TEXT_MAX_BYTES} bytes: split it", code="too_large")
        return content.decode("utf-8-sig")
    except OSError as exc:
        raise Refused(f"{path} cannot be read: {exc.strerror}; give the path of a file") from exc
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise Refused(f"{path}, line {line}: not UTF-8; save the file as UTF-8") from exc


def _in_pool(work: "Callable[[Pool], Awaitable[Done]]") -> Done:
    """What `work` returns, with a pool of this process."""
    import anyio

    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.pool.pool import Pool

    async def main() -> Done:
        async with Pool(Home.from_env(os.environ), Limits.from_env(os.environ)) as pool:
            return await work(pool)

    try:
        return anyio.run(main)
    except KeyboardInterrupt:
        output.end_progress()
        output.note("alc: interrupted; the same command goes on")
        sys.exit(130)
    except BaseExceptionGroup as group:
        errors = group.subgroup(AlcError)
        if errors is None:
            raise
        raise _first(errors) from group


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def _show_progress(progress: "Progress") -> None:
    done, total = progress.done, progress.total
    filled = round(_BAR * done / total)
    rows = progress.rows.values()
    prompts, tokens = (sum(row[name] for row in rows) for name in ("prompts", "response_tokens"))
    errors = sum(row["status"] != "completed" for row in rows)
    failed = f", {errors} failed" if errors else ""
    bar = "█" * filled + "░" * (_BAR - filled)
    # Through a pipe each would be a line of its own.
    if output.screen().isatty() or done in (0, total):
        output.progress(f"{bar} {done}/{total} runs{failed}, {prompts} prompts, {tokens:,} tokens of answers")


def _finish(result: "Result", options: dict[str, Any]) -> None:
    """Shows the result and exits."""
    from algocline_mcp.evaluation import report

    output.end_progress()
    shown = result.report
    output.result(json.dumps(shown, indent=2, ensure_ascii=False) if options["is_json"] else report.as_table(shown))
    for warning in shown["warnings"]:
        output.note(f"alc: {warning}")
    for row in shown["rows"]:
        if "grade_error" in row:
            output.note(f"alc: case {row['case']!r}, {row['strategy']}: {row['grade_error']}")
    if options["directory"] is not None:
        write_out(result, Path(options["directory"]))
    if result.problems:
        for problem in result.problems[:_SHOWN]:
            output.note(f"alc: {problem}")
        more = len(result.problems) - _SHOWN
        output.note(f"alc: the run is not complete{f', {more} more of these' if more > 0 else ''}; go on with the same "
                    "command")  # fmt: skip
        sys.exit(1)
    if not options["is_json"]:
        output.note(f"alc: alc eval show {shlex.quote(result.directory.run_id)} shows each case")
