"""`alc eval list`, `show` and `compare`: stored runs; and the files of a run.

Contract: as in main.py.
"""

import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from algocline_mcp.cli import output
from algocline_mcp.errors import Refused

if TYPE_CHECKING:
    from algocline_mcp.evaluation.plan import Plan
    from algocline_mcp.evaluation.runs import Result


def write_out(result: "Result", directory: Path) -> None:
    from algocline_mcp.evaluation import charts, report

    expected = {case.id: case.expected for case in result.plan.cases}
    files = {
        "report.json": json.dumps(result.report, indent=2, ensure_ascii=False) + "\n",
        "rows.csv": report.as_csv(result.report, expected),
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (directory / name).write_text(text, "utf-8")
        drawn = charts.write_charts(result.report, directory) if charts.has_matplotlib() else []
    except OSError as exc:
        raise Refused(f"{exc.filename} cannot be written: {exc.strerror}; give another --out") from exc
    output.note(f"alc: wrote {', '.join([*files, *drawn])} into {directory}")
    if not charts.has_matplotlib():
        output.note(f"alc: {charts.NEEDS}")


@click.command("list", short_help="List the runs, newest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, metavar="N", help="How many (20).")
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
def list_(limit: int, is_json: bool) -> None:
    """List the runs, newest first."""
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.evaluation.runs import summaries

    lines = summaries(Home.from_env(os.environ), Limits.from_env(os.environ), limit)
    if is_json:
        output.result(json.dumps(lines, indent=2, ensure_ascii=False))
        return
    for line in lines:
        scores = ", ".join(
            f"{entry['strategy']} {'-' if entry['score'] is None else format(100 * entry['score'], '.1f') + ' %'}"
            for entry in line["strategies"]
        )
        state = "" if line["status"] == "completed" else f" ({line['status']})"
        output.result(f"{line['run_id']}{state}  {line['cases']} cases: {scores}")
    if not lines:
        output.note("alc: no run yet: alc eval CASES --strategy … begins one")


@click.command(short_help="Show a run, case by case.")
@click.argument("run_id", metavar="RUN")
@click.option("--out", "directory", metavar="DIR", type=click.Path(file_okay=False), help="Write its files again.")
@click.option(
    "--inspect", "log_directory", metavar="DIR", type=click.Path(file_okay=False),
    help="Write it as logs of inspect_ai, which inspect view opens.",
)  # fmt: skip
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
def show(run_id: str, directory: str | None, log_directory: str | None, is_json: bool) -> None:
    """Show the table of RUN and the score of each case. RUN is an id, its beginning or its end, or last."""
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.evaluation import report
    from algocline_mcp.evaluation.plan import find_run
    from algocline_mcp.evaluation.runs import Result, stored_report

    if log_directory is not None:
        from algocline_mcp.evaluation.inspect_log import require_library

        require_library()  # before the table, which would hide the refusal
    run = find_run(Home.from_env(os.environ), run_id)
    shown = stored_report(run, Limits.from_env(os.environ))
    if is_json:
        output.result(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        output.result(f"{run.run_id}\n{report.as_table(shown)}\n\n{report.as_cases(shown)}")
    if directory is not None:
        write_out(Result(run, run.plan(), shown), Path(directory))
    if log_directory is not None:
        _write_logs(run.plan(), shown, Path(log_directory))


def _write_logs(plan: "Plan", shown: dict[str, Any], directory: Path) -> None:
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.evaluation.inspect_log import write_logs
    from algocline_mcp.history.reader import records_of

    home, limits = Home.from_env(os.environ), Limits.from_env(os.environ)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = write_logs(plan, shown, directory, lambda sid: list(records_of(home, limits, sid)))
    except OSError as exc:
        raise Refused(f"{exc.filename} cannot be written: {exc.strerror}; give another --inspect") from exc
    output.note(f"alc: wrote {', '.join(names)} into {directory}: inspect view --log-dir {shlex.quote(str(directory))}")


@click.command(short_help="Compare two runs, case by case.")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--json", "is_json", is_flag=True, help="As JSON.")
def compare(first: str, second: str, is_json: bool) -> None:
    """Compare the strategies of the second RUN with those of the first, on the cases that both have."""
    from algocline_mcp.config.home import Home
    from algocline_mcp.config.limits import Limits
    from algocline_mcp.evaluation import report
    from algocline_mcp.evaluation.runs import compare_runs

    home, limits = Home.from_env(os.environ), Limits.from_env(os.environ)
    comparisons = [report.comparison(item) for item in compare_runs(home, limits, first, second)]
    if is_json:
        output.result(json.dumps(comparisons, indent=2, ensure_ascii=False))
    else:
        output.result("\n".join(report.sentence(item) for item in comparisons))


VIEWS = (list_, show, compare)
