"""A debate of two sides before a judge who sees nothing but the debate.

In each round both sides write at the same time, with a view of the rounds before. The judge reads the debate twice,
with the sides in either order: a verdict that changes with the order is none.
"""

from collections.abc import Sequence
from typing import Any

import alc
from alc_rounds import INDEPENDENT, Rounds, cut, json_of, labelled, text_of

meta = {
    "name": "debate",
    "version": "1.0.0",
    "category": "built in",
    "description": "Two sides argue, round by round, and a judge who sees only their arguments decides",
    "reference": "AI safety via debate: Irving et al. 2018, arXiv:1805.00899; Khan et al. 2024, arXiv:2402.06782",
    "inputs": {
        "task": {"type": "string", "description": "the question that is in dispute"},
        "sides": {
            "type": "array",
            "default": [],
            "description": "the two positions; without them a prompt names the strongest two",
        },
        "rounds": {
            "type": "integer",
            "default": 2,
            "minimum": 1,
            "maximum": 6,
            "description": "how often each side writes",
        },
    },
    "outputs": {
        "answer": "the position that won; null where the judge is undecided or the order of the sides decided",
        "verdicts": "both verdicts of the judge, with their reasons: {position, reasons}",
        "debate": "what the sides wrote: {round, position, text}",
    },
    "cost": "2 prompts for each round, 2 for the judge, 1 for the positions if they are not given: 7",
}

_POSITIONS = """\
{task}

Name the two positions on this question that have the best arguments and exclude each other. One sentence each, in the \
words of someone who holds it."""
_ARGUE = """\
Question: {task}
Your position: {own}
The position of the other side: {other}

{debate}Write your {part}, at most 150 words. {advice}The judge knows only what both sides write, so give reasons and \
facts that can be checked; invent none."""
_REPLY = "Answer the strongest argument of the other side first, and concede what is right in it. "
_JUDGE = """\
Question: {task}
A: {a}
B: {b}

{debate}Which side has the better case in this debate? Do not count what is asserted without a reason, or was answered \
by the other side. Name in two sentences the argument that decides."""
_SYSTEM = "You judge a debate. You hold neither position, and style is no argument."

_TWO_TEXTS = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
    "required": ["a", "b"],
}
_VERDICTS = ["A", "B", "undecided"]
_SPEECH_CHARS = 6000
_REASONS_CHARS = 2000

Speech = tuple[int, int, str]  # round, side (0 or 1), text


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    task, count = rounds.inputs["task"], rounds.inputs["rounds"]
    sides = _sides(rounds, task)
    speeches: list[Speech] = []
    for number in range(1, count + 1 if sides else 1):
        if rounds.affordable(2, reserve=2) < 2:
            rounds.warn(f"the budget ended before round {number} of {count}")
            break
        speeches += _round(rounds, task, sides, speeches, number)
        alc.progress(number, count + 1)
    verdicts = _judge(rounds, task, sides, speeches) if speeches else []
    decided = {side for side, _ in verdicts}
    winner = decided.pop() if len(verdicts) == 2 and len(decided) == 1 else None
    if len(decided) > 1:
        rounds.warn("the verdict changed with the order of the sides: the debate decides nothing")
    return rounds.result(
        answer=None if winner is None else sides[winner],
        verdicts=[{"position": None if side is None else sides[side], "reasons": why} for side, why in verdicts],
        debate=[{"round": number, "position": sides[side], "text": text} for number, side, text in speeches],
    )


def _sides(rounds: Rounds, task: str) -> list[str]:
    """The two positions; empty where no answer names them."""
    given = [str(side) for side in rounds.inputs["sides"]]
    if given:
        if len(given) != 2:
            raise ValueError(f"debate: sides must be two positions; there are {len(given)}")
        return given
    prompt = _POSITIONS.format(task=task)
    named = rounds.ask(prompt, json_of(a=str, b=str), "the positions", reserve=4, schema=_TWO_TEXTS)
    return [cut(named[side], _REASONS_CHARS) for side in ("a", "b")] if named else []


def _round(rounds: Rounds, task: str, sides: Sequence[str], speeches: Sequence[Speech], number: int) -> list[Speech]:
    """What both sides write in one round; nothing of a side that no answer came from."""
    prompts = [
        _ARGUE.format(
            task=task,
            own=sides[side],
            other=sides[1 - side],
            debate=_written(speeches, ("You", "They") if side == 0 else ("They", "You")),
            part="reply" if speeches else "opening",
            advice=_REPLY if speeches else "",
        )
        for side in (0, 1)
    ]
    speakers = [labelled(prompt, side) for prompt, side in zip(prompts, sides, strict=True)]
    texts = rounds.ask_all(speakers, text_of, f"speeches of round {number}", reserve=2, options=INDEPENDENT)
    return [(number, side, cut(text, _SPEECH_CHARS)) for side, text in enumerate(texts) if text is not None]


def _judge(rounds: Rounds, task: str, sides: Sequence[str], speeches: Sequence[Speech]) -> list[tuple[int | None, str]]:
    """The verdicts of both orders that came: the side that won, or None, and the reasons."""

    def read(answer: str) -> tuple[str, str] | None:
        verdict = alc.match_enum(answer, _VERDICTS)
        return None if verdict is None else (verdict, cut(answer.strip(), _REASONS_CHARS))

    prompts = [
        _JUDGE.format(
            task=task,
            a=sides[first],
            b=sides[1 - first],
            debate=_written(speeches, ("A", "B") if first == 0 else ("B", "A"), first),
        )
        for first in (0, 1)
    ]
    orders = [labelled(prompt, f"first: {side}") for prompt, side in zip(prompts, sides, strict=True)]
    answers = rounds.ask_all(orders, read, "verdicts", schema={"enum": _VERDICTS}, system=_SYSTEM, options=INDEPENDENT)
    winners = {"A": (0, 1), "B": (1, 0)}  # by the side that stands first
    return [
        (winners[answer[0]][first] if answer[0] in winners else None, answer[1])
        for first, answer in enumerate(answers)
        if answer is not None
    ]


def _written(speeches: Sequence[Speech], names: Sequence[str], first: int = 0) -> str:
    """The debate so far; `first`: the side that is shown first in each round."""
    ordered = sorted(speeches, key=lambda speech: (speech[0], speech[1] != first))
    shown = [f"{names[side]}, round {number}:\n{text}" for number, side, text in ordered]
    return "The debate:\n" + "\n\n".join(shown) + "\n\n" if shown else ""
