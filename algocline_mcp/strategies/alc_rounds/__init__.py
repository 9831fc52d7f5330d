"""Inputs, rounds of prompts and warnings of the built-in strategies.

A strategy begins with `rounds = Rounds(meta, ctx)`, reads `rounds.inputs`, asks by `rounds.ask` or `rounds.ask_all`,
and ends with `rounds.result(...)`. What was out of order on the way stands in `warnings` of the result: answers that
had to be asked for twice, prompts without an answer, a budget that ended early.

Each round is a phase of the run under the name of its answers, and a prompt may have a label (`labelled`), so that
`alc show` says what it is for.

A prompt without a usable answer is None, also where the host refuses it twice or the budget is used up: a strategy goes
on with what it has.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, Unpack

import alc
from alc_rounds.readers import cut as cut
from alc_rounds.readers import is_a as is_a
from alc_rounds.readers import json_of as json_of
from alc_rounds.readers import list_of as list_of
from alc_rounds.readers import text_of as text_of
from alc_rounds.readers import texts_of as texts_of
from alc_rounds.readers import verdict_of as verdict_of

meta = {
    "name": "alc_rounds",
    "version": "1.0.1",
    "type": "library",
    "category": "built in",
    "description": "Asks rounds of prompts, reads the answers, asks again once, and collects warnings",
}

Value = TypeVar("Value")
# Of prompts whose answers must not know of each other: a host sees the option, and a result warns where one call
# answered several of them without saying by whom.
INDEPENDENT: Mapping[str, bool] = {"independent": True}
_AT_ONCE = 200  # prompts of one pause; ALC_QUERIES allows 256
_CHARS_AT_ONCE = 1_000_000  # of the prompts of one pause; ALC_PROMPT_BYTES allows 4 MiB
_ANSWER_CHARS = 100_000  # that are read of one answer
_QUOTED_CHARS = 2000  # of a broken answer that is shown to the model again
_REASON_CHARS = 200
_LABEL_CHARS = 60
_ONCE_MORE = "Answer the request above, in the form that it asks for."


class Rounds:
    """One run of a strategy. `inputs`: what ctx gives, with the defaults of `meta`; the types were checked before."""

    def __init__(self, meta: Mapping[str, Any], ctx: Mapping[str, Any]) -> None:
        self.warnings: list[str] = []
        self.is_out_of_budget = False
        self._phase = ""
        self.inputs = {key: _input(str(meta["name"]), key, form, ctx.get(key)) for key, form in meta["inputs"].items()}

    def ask(
        self,
        prompt: str,
        read: Callable[[str], Value | None],
        what: str = "the answer",
        *,
        reserve: int = 0,
        **options: Unpack[alc.Options],
    ) -> Value | None:
        """What `read` makes of the answer. Where that is None, the prompt is asked once more. `what` names the answer
        in warnings; `reserve` prompts of the budget are left for what follows; `options` are those of alc.llm."""
        return self.ask_all([prompt], read, what, reserve=reserve, **options)[0]

    def ask_all(
        self,
        prompts: Sequence[str | alc.Query],
        read: Callable[[str], Value | None],
        what: str = "answers",
        *,
        reserve: int = 0,
        **options: Unpack[alc.Options],
    ) -> list[Value | None]:
        """As `ask`, of all prompts at once. A prompt may be an item of alc.llm_batch, with options of its own."""
        items: list[alc.Query] = [
            {**options, "prompt": prompt} if isinstance(prompt, str) else {**options, **prompt} for prompt in prompts
        ]
        self._begin(what.removeprefix("the ") if items else self._phase)
        values: list[Value | None] = [None] * len(items)
        problems = self._round(items, list(range(len(items))), read, values, reserve)
        broken = {number: problem for number, problem in problems.items() if problem is not None}
        if broken:
            for number, problem in broken.items():
                items[number] = _again(items[number], problem)
            self._round(items, list(broken), read, values, reserve)
            mended = sum(values[number] is not None for number in broken)
            self._warn_of_broken(what, len(broken), mended, len(prompts))
        return values

    def affordable(self, wanted: int, *, reserve: int = 0) -> int:
        """How many of the `wanted` prompts the budget allows, with `reserve` left for what follows."""
        left = (alc.budget_remaining() or {}).get("llm_calls")
        return wanted if left is None else max(0, min(wanted, left - reserve))

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def result(self, **fields: Any) -> dict[str, Any]:
        """The result of the run, with the warnings if there are any."""
        return fields | ({"warnings": self.warnings} if self.warnings else {})

    def _begin(self, phase: str) -> None:
        if phase != self._phase:
            alc.phase(phase)
            self._phase = phase

    # ── rounds ────────────────────────────────────────────────────────────────────────────────────────────

    def _round(
        self,
        items: Sequence[alc.Query],
        numbers: Sequence[int],
        read: Callable[[str], Value | None],
        values: list[Value | None],
        reserve: int,
    ) -> dict[int, str | None]:
        """Asks the items with these numbers and puts what is read into `values`. Returns what is wrong, by number; None
        where there was no budget to ask."""
        problems: dict[int, str | None] = {}
        for part in _parts(items, numbers):
            answers = self._answers([items[number] for number in part], reserve)
            for number, answer in zip(part, answers, strict=True):
                problem = _problem_of(answer)
                if problem is None and answer is not None:
                    text = self._shortened(str(answer))
                    values[number] = read(text)
                    problem = None if values[number] is not None else _not_usable(text)
                if problem is not None or answer is None:
                    problems[number] = problem
        return problems

    def _answers(self, items: Sequence[alc.Query], reserve: int) -> list[Any]:
        """The answers; None for those that the budget does not allow."""
        count = self.affordable(len(items), reserve=reserve)
        answers: list[Any] = []
        try:
            answers = list(alc.llm_batch(items[:count])) if count else []
        except alc.BudgetExceeded:
            count = 0
        if count < len(items):
            self.is_out_of_budget = True
            self.warn("the budget ended before all prompts were asked: the result is that of the prompts until then")
        return [*answers, *[None] * (len(items) - len(answers))]

    def _shortened(self, answer: str) -> str:
        if len(answer) > _ANSWER_CHARS:
            self.warn(f"of an answer that is longer than {_ANSWER_CHARS} characters the middle was left out")
        return cut(answer, _ANSWER_CHARS)

    def _warn_of_broken(self, what: str, broken: int, mended: int, asked: int) -> None:
        if mended:
            self.warn(f"{what}: {mended} of {asked} could not be used, and were usable when asked for again")
        if broken > mended:
            self.warn(f"{what}: {broken - mended} of {asked} could not be used, and are missing from the result")


def labelled(prompt: str, label: str) -> alc.Query:
    """The prompt under a few words that tell it from the others of its round."""
    words = " ".join(label.split())
    return {"prompt": prompt, "label": words if len(words) <= _LABEL_CHARS else f"{words[: _LABEL_CHARS - 1]}…"}


def _again(item: alc.Query, problem: str) -> alc.Query:
    """The prompt, what is wrong with its answer, and the request to answer again, in paragraphs."""
    prompt = f"{item['prompt']}\n\n{problem}\n\n{_ONCE_MORE}"
    label = item.get("label")
    return {**item, "prompt": prompt} if label is None else {**item, "prompt": prompt, "label": f"{label}, again"}


def _parts(items: Sequence[alc.Query], numbers: Sequence[int]) -> list[list[int]]:
    """The numbers of the prompts of each pause."""
    parts: list[list[int]] = []
    chars = 0
    for number in numbers:
        length = len(str(items[number]["prompt"]))
        if not parts or len(parts[-1]) == _AT_ONCE or chars + length > _CHARS_AT_ONCE:
            parts.append([])
            chars = 0
        parts[-1].append(number)
        chars += length
    return parts


def _problem_of(answer: Any) -> str | None:
    reason = alc.refused(answer)
    return None if reason is None else f"The first answer to this was a refusal: {reason[:_REASON_CHARS]}."


def _not_usable(answer: str) -> str:
    if not answer.strip():
        return "The first answer to this was empty."
    return f"The first answer to this could not be read. It was:\n<answer>\n{cut(answer, _QUOTED_CHARS)}\n</answer>"


def _input(name: str, key: str, form: Mapping[str, Any], value: Any) -> Any:
    """Where a strategy calls `run` itself, nobody has looked at ctx before."""
    if value is None or (isinstance(value, str) and not value.strip()):
        if "default" not in form:
            raise ValueError(f"{name} needs {key} ({form['description']})")
        return form["default"]
    return value
