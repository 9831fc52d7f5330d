"""Options that choose who answers; `run`, `branch` and `continue` have them."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from algocline_mcp.answering.recordings import Recording
    from algocline_mcp.cli.answerers import Answering
    from algocline_mcp.cli.person import Person

JOBS = 4  # few models allow many requests at once
Function = TypeVar("Function", bound=Callable[..., Any])


def answerer_options(command: Function) -> Function:
    """Adds the options."""
    for option in reversed(
        [
            click.option(
                "--model",
                metavar="openai:NAME|anthropic:NAME",
                help="A model that answers; its key comes from OPENAI_API_KEY or ANTHROPIC_API_KEY.",
            ),
            click.option(
                "--base-url",
                metavar="URL",
                help="Of an endpoint that is compatible, such as http://localhost:11434/v1.",
            ),
            click.option(
                "--prices",
                metavar="FILE",
                type=click.Path(),
                help='Prices, for the cost: {"NAME": {"input": 1.25, "output": 10}}, in dollars per million tokens.',
            ),
            click.option(
                "--exec",
                "command",
                metavar="CMD",
                help="A shell command that answers: the prompt on its stdin, the answer on its stdout; "
                "$ALC_SYSTEM, $ALC_QUERY_ID, $ALC_MAX_TOKENS.",
            ),
            click.option(
                "--jobs",
                type=click.IntRange(min=1),
                metavar="N",
                help=f"How many prompts --model or --exec answers at once ({JOBS}).",
            ),
            click.option(
                "--answers",
                "answer_file",
                metavar="FILE",
                type=click.Path(),
                help="A file that answers: a JSON list or a .txt (one per line) in the order of the session's "
                "prompts, the first for q-0 also where continue goes on; a JSON object from query_id to answer; or a "
                ".jsonl of --record, by prompt; what it lacks --model or --exec answers.",
            ),
            click.option(
                "--record", metavar="FILE.jsonl", type=click.Path(), help="Append every prompt and its answer to FILE."
            ),
            click.option("--quiet", "is_quiet", is_flag=True, help="No progress, no phases, and no summary."),
            click.option("--json", "is_json", is_flag=True, help="Show the result as JSON, also where it is a text."),
            click.option(
                "--out",
                metavar="FILE",
                type=click.Path(),
                help="Write the result into FILE, which is replaced in one step; stdout stays empty.",
            ),
            click.option(
                "--wait", "wait_s", type=click.FloatRange(min=0), metavar="S", help="Longest wait of one call."
            ),
        ]
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What the options say."""

    command: str | None = None
    model: str | None = None
    base_url: str | None = None
    prices: str | None = None
    jobs: int | None = None
    answer_file: str | None = None
    record: str | None = None
    is_quiet: bool = False

    @property
    def is_recording(self) -> bool:
        """The answers are those of a recording."""
        return self.answer_file is not None and self.answer_file.endswith(".jsonl")

    def check(self) -> None:
        """Raises click.UsageError for options that do not go together."""
        if self.command is not None and self.model is not None:
            raise click.UsageError("give --model or --exec, not both.")
        given = "--exec" if self.command is not None else "--model" if self.model is not None else None
        if given is not None and self.answer_file is not None and not self.is_recording:
            raise click.UsageError(f"give {given} or --answers, not both.")
        if self.jobs is not None and given is None:
            raise click.UsageError("--jobs belongs to --exec or --model: give one of them too, or leave --jobs out.")
        for name, value in (("--base-url", self.base_url), ("--prices", self.prices)):
            if value is not None and self.model is None:
                raise click.UsageError(f"{name} belongs to --model: give --model too, or leave {name} out.")

    def words(self) -> str:
        """The options again, for the command that goes on."""
        values = {
            "--model": self.model,
            "--base-url": self.base_url,
            "--prices": self.prices,
            "--exec": self.command,
            "--jobs": self.jobs,
            "--answers": self.answer_file,
            "--record": self.record,
        }
        words = "".join(f" {name} {shlex.quote(str(value))}" for name, value in values.items() if value is not None)
        return words + (" --quiet" if self.is_quiet else "")

    def answerer(self, recording: "Recording | None" = None) -> "Answering | Person":
        """`recording`: answers of earlier runs, which is added to. Raises click.ClickException."""
        from algocline_mcp.cli.answerers import choose_answerer

        return choose_answerer(self, recording)
