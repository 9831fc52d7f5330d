"""Options of `alc eval`: who answers, and who grades.

Contract: as in answering_options.py. A person does not answer here: each case is a session of its own.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from algocline_mcp.cli.answering_options import JOBS, Chosen
from algocline_mcp.errors import Refused


def answering_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say who answers and who grades."""
    for option in reversed(
        [
            click.option(
                "--model",
                metavar="openai:NAME|anthropic:NAME",
                help="A model that answers; its key comes from OPENAI_API_KEY or ANTHROPIC_API_KEY.",
            ),
            click.option("--base-url", metavar="URL", help="Of an endpoint that is compatible."),
            click.option(
                "--prices",
                metavar="FILE",
                type=click.Path(),
                help='Prices, for the cost: {"NAME": {"input": 1.25, "output": 10}}, in dollars per million tokens.',
            ),
            click.option("--exec", "command", metavar="CMD", help="A shell command that answers, as of alc run."),
            click.option(
                "--answers",
                "answer_file",
                metavar="FILE.jsonl",
                type=click.Path(),
                help="Answers of --record, by prompt; what it lacks --model or --exec answers.",
            ),
            click.option(
                "--record", metavar="FILE.jsonl", type=click.Path(), help="Append every prompt and its answer to FILE."
            ),
            click.option(
                "--jobs", type=click.IntRange(1, 64), metavar="N", help=f"Prompts at once ({JOBS})."
            ),
            click.option(
                "--grader", "graders", multiple=True, metavar="GRADER",
                help="exact (default), contains, regex, number, choice, schema, judge, with options as in "
                "number:tolerance=0.1, or a file .py or .lua with a function grade(output, expected, case). Several: "
                "all must pass.",
            ),
            click.option(
                "--out", "directory", metavar="DIR", type=click.Path(file_okay=False),
                help="Write report.json, rows.csv and charts into this directory.",
            ),
            click.option("--json", "is_json", is_flag=True, help="Show the report as JSON."),
        ]
    ):  # fmt: skip
        command = option(command)
    return command


def prices_of(chosen: Chosen) -> tuple[float, float] | None:
    """Of the model, for a million tokens of prompts and of answers."""
    if chosen.prices is None or chosen.model is None:
        return None
    from algocline_mcp.answering.choice import read_prices

    prices = read_prices(chosen.prices)
    price = prices.get(chosen.model) or prices.get(chosen.model.partition(":")[2])
    if price is None:
        raise Refused(f"{chosen.prices} has no price of {chosen.model}: it names {', '.join(prices) or 'nothing'}")
    return price.input, price.output


def chosen_of(options: dict[str, Any]) -> Chosen:
    """Raises click.UsageError where nobody answers, or for options that do not go together."""
    names = ("command", "model", "base_url", "prices", "jobs", "answer_file", "record")
    chosen = Chosen(**{name: options[name] for name in names})
    if chosen.command is None and chosen.model is None:
        chosen = replace(chosen, jobs=None)  # of sessions alone, which is not for Chosen to refuse
    if chosen.answer_file is not None and not chosen.is_recording:
        raise click.UsageError(f"--answers is {chosen.answer_file}: give a .jsonl that --record has written.")
    if chosen.command is None and chosen.model is None and chosen.answer_file is None:
        raise click.UsageError("say who answers: --model openai:NAME, --exec CMD, or --answers FILE.jsonl.")
    chosen.check()
    return chosen


def answered_by(chosen: Chosen) -> str:
    """A part of the key of the run: another model is another run."""
    if chosen.model is not None:
        return chosen.model + (f" at {chosen.base_url}" if chosen.base_url else "")
    return f"exec:{chosen.command}" if chosen.command is not None else f"answers:{chosen.answer_file}"
