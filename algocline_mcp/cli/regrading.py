"""`alc eval … --regrade`: finds the run, and who answers a judge, by what the run has recorded.

Contract: CASES is the run itself, its id or last, or the file of its cases; then --strategy says which run of them.
What is given again, such as --epochs or --model, must fit; the rest is that of the run. Raises Refused.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from algocline_mcp.answering.prompts import Answer, Answerer, NoAnswer, Prompt, close
from algocline_mcp.cli.answering_options import Chosen
from algocline_mcp.cli.evaluation_options import answered_by, chosen_of, prices_of
from algocline_mcp.errors import Refused

if TYPE_CHECKING:
    from algocline_mcp.config.home import Home
    from algocline_mcp.evaluation.cases import Case
    from algocline_mcp.evaluation.graders import Grader
    from algocline_mcp.evaluation.plan import Plan, RunDirectory
    from algocline_mcp.evaluation.strategies import Contender

_WHO = ("command", "model", "answer_file")
_FITTING = ("prices", "base_url", "record")  # options that may be added to who answered before


@dataclass(frozen=True, slots=True)
class Recorded:
    """A run to grade anew, with prices and graders that are given or its own. `chosen`: who answers a judge."""

    directory: "RunDirectory"
    plan: "Plan"
    graders: "Sequence[Grader]"
    chosen: Chosen
    judged_by: str


def is_run(cases: str, strategies: Sequence[str]) -> bool:
    """Whether CASES names a run, not a file."""
    return not strategies and not os.path.exists(cases)


def recorded(directory: "RunDirectory", graders: "Sequence[Grader]", options: dict[str, Any]) -> Recorded:
    """`graders`: those that are given; without any the run's last ones."""
    from algocline_mcp.evaluation.graders import Grader
    from algocline_mcp.evaluation.grading import judge_of, saved_graders

    plan = directory.plan()
    if _says_who(options):
        chosen = chosen_of(options)
    else:
        added = {name: options[name] for name in _FITTING if options[name] is not None}
        chosen = replace(chosen_again(judge_of(directory, plan)), **added)
        chosen.check()
    if (prices := prices_of(chosen)) is not None:
        plan = replace(plan, prices=prices)
    graders = graders or saved_graders(directory) or [Grader("exact")]
    return Recorded(directory, plan, graders, chosen, answered_by(chosen))


def _says_who(options: dict[str, Any]) -> bool:
    """Whether the options say who answers."""
    return any(options[name] is not None for name in _WHO)


def run_of(
    home: "Home", name: str, cases: "Sequence[Case]", contenders: "Sequence[Contender]", options: dict[str, Any]
) -> "RunDirectory":
    """The newest run of these strategies on these cases; of those, one that --model or --exec answered, if any."""
    from algocline_mcp.evaluation.plan import find_alike

    epochs = options["epochs"]
    by = answered_by(chosen_of(options)) if _says_who(options) else None
    directory = find_alike(home, cases, contenders, epochs=epochs, answered_by=by) if by is not None else None
    directory = directory or find_alike(home, cases, contenders, epochs=epochs)
    if directory is None:
        again = "alc eval RUN --regrade grades one of alc eval list, whatever its files have become"
        raise Refused(f"{name} has no run of these strategies with --regrade: {again}", code="not_found")
    return directory


def chosen_again(who: str) -> Chosen:
    """The options that `answered_by` has made this text of."""
    kind, _, rest = who.partition(":")
    if kind == "exec":
        return Chosen(command=rest)
    if kind == "answers":
        return Chosen(answer_file=rest)
    model, _, base_url = who.partition(" at ")
    return Chosen(model=model, base_url=base_url or None)


class WhenNeeded:
    """An answerer that is made for the first prompt: most graders ask nothing, and then need neither key nor client."""

    def __init__(self, make: Callable[[], Answerer]) -> None:
        self._make = make
        self._made: Answerer | None = None

    async def answer(self, prompt: Prompt) -> Answer:
        if self._made is None:
            try:
                self._made = self._make()
            except click.ClickException as exc:
                raise NoAnswer(exc.message) from exc
        return await self._made.answer(prompt)

    async def aclose(self) -> None:
        if self._made is not None:
            await close(self._made)
