"""Research: questions, claims with sources, a second look at each claim, and a report of what was confirmed.

The prompts that need facts have the option `grounded`: the host looks them up, with the tools that it has. The check of
a claim sees the claim and its source alone, so that it does not repeat the reasoning that led there. The report is
written from confirmed claims; the others are listed in the result, refuted ones apart from those nobody could confirm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import alc
from alc_rounds import Rounds, cut, labelled, list_of, text_of, texts_of

meta = {
    "name": "research",
    "version": "1.0.0",
    "category": "built in",
    "description": "Questions, sources that the host looks up, each claim checked, and a report of what was confirmed",
    "reference": "Search-augmented checks of single claims: Wei et al. 2024 (SAFE), arXiv:2403.18802; chain of "
    "verification: Dhuliawala et al. 2023, arXiv:2309.11495",
    "inputs": {
        "task": {"type": "string", "description": "what to find out"},
        "questions": {
            "type": "integer",
            "default": 4,
            "minimum": 1,
            "maximum": 12,
            "description": "at most how many questions it is divided into",
        },
        "claims": {
            "type": "integer",
            "default": 12,
            "minimum": 1,
            "maximum": 60,
            "description": "at most how many claims are checked; those of all questions in turn",
        },
    },
    "outputs": {
        "answer": "the report; [n] in it is a claim. Without the prompt for it, the confirmed claims",
        "confirmed": "claims that a second look confirmed: {claim, source, check}",
        "refuted": "claims that the second look found wrong",
        "unconfirmed": "claims that it could not confirm, and those that were not checked",
        "open": "questions that no claim answers",
    },
    "cost": "a prompt for the questions, one for each of them, one for each claim, one for the report: 18",
}

_QUESTIONS = """\
{task}

Divide this into at most {count} questions that can be looked up one by one and together answer it. Each must be \
understandable alone."""
_LOOK_UP = """\
{question}
(Part of: {task})

Look this up; do not answer from memory. Give at most {count} claims that answer the question, the most important one \
first: each one sentence that can be checked alone, with its numbers and dates, and its source, a URL or a title and \
place. Give no claim without a source, and none if you find nothing."""
_CHECK = """\
Claim: {claim}
Stated source: {source}

Look this claim up, in another source than the stated one if there is one. Say in one sentence what you found and \
where. The verdict is confirmed only if a source that you have seen now says so; wrong if one says otherwise; else \
unclear."""
_REPORT = """\
{task}

Confirmed claims:
{claims}

Write the answer from these claims alone, the conclusion first. Put the number, such as [2], behind each statement. Do \
not fill gaps: end with what the claims leave open.{gaps}"""

_LIST_OF_TEXTS = {"type": "array", "items": {"type": "string"}}
_CLAIM = {"claim": {"type": "string"}, "source": {"type": "string"}}
_LIST_OF_CLAIMS = {
    "type": "array",
    "items": {"type": "object", "properties": _CLAIM, "required": ["claim", "source"]},
}
_VERDICTS = ["confirmed", "wrong", "unclear"]
_TOKENS = 4096  # of claims and of the report
_TEXT_CHARS = 1000  # of a question, a claim and a source


@dataclass(frozen=True, slots=True)
class Claim:
    claim: str
    source: str
    question: int  # index


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    task = rounds.inputs["task"]
    questions = _questions(rounds, task)
    alc.progress(1, 4, f"{len(questions)} questions")
    claims = _look_up(rounds, task, questions)
    alc.progress(2, 4, f"{len(claims)} claims to check")
    checks = _check(rounds, claims)
    alc.progress(3, 4, "writing the report")

    by_verdict: dict[str, list[dict[str, str]]] = {verdict: [] for verdict in _VERDICTS}
    for claim, (verdict, check) in zip(claims, checks, strict=True):
        by_verdict[verdict].append({"claim": claim.claim, "source": claim.source, "check": check})
    answered = {claim.question for claim in claims}
    unanswered = [question for index, question in enumerate(questions) if index not in answered]
    return rounds.result(
        answer=_report(rounds, task, by_verdict["confirmed"], unanswered),
        confirmed=by_verdict["confirmed"],
        refuted=by_verdict["wrong"],
        unconfirmed=by_verdict["unclear"],
        open=unanswered,
    )


def _questions(rounds: Rounds, task: str) -> list[str]:
    """The questions; the task itself where no answer came."""
    count = rounds.inputs["questions"]
    if count == 1:
        return [task]
    prompt = _QUESTIONS.format(task=task, count=count)
    listed = rounds.ask(prompt, texts_of, "the questions", reserve=2, schema=_LIST_OF_TEXTS)
    questions = [cut(question, _TEXT_CHARS) for question in listed or [] if question.strip()]
    return questions[:count] or [task]


def _look_up(rounds: Rounds, task: str, questions: Sequence[str]) -> list[Claim]:
    """Distinct claims, as many as are to be checked, of all questions in turn."""
    wanted = rounds.inputs["claims"]
    count = -(-wanted // len(questions)) + 1  # one more, because several questions may lead to the same claim
    prompts = [labelled(_LOOK_UP.format(question=question, task=task, count=count), question) for question in questions]
    read = list_of(claim=str, source=str)
    answers = rounds.ask_all(
        prompts, read, "sources", reserve=2, grounded=True, schema=_LIST_OF_CLAIMS, max_tokens=_TOKENS
    )
    by_question = [
        [Claim(cut(item["claim"], _TEXT_CHARS), cut(item["source"], _TEXT_CHARS), index) for item in answer or []]
        for index, answer in enumerate(answers)
    ]
    in_turn = [
        claims[place]
        for place in range(max(map(len, by_question)))
        for claims in by_question
        if place < len(claims) and claims[place].claim.strip()
    ]
    distinct: dict[str, Claim] = {}
    for claim in in_turn:
        distinct.setdefault(" ".join(claim.claim.casefold().split()).rstrip("."), claim)
    return list(distinct.values())[:wanted]


def _check(rounds: Rounds, claims: Sequence[Claim]) -> list[tuple[str, str]]:
    """Verdict and finding of each claim; unclear where no answer came."""

    def read(answer: str) -> tuple[str, str] | None:
        verdict = alc.match_enum(answer, _VERDICTS)
        return None if verdict is None else (verdict, cut(answer.strip(), _TEXT_CHARS))

    if not claims:
        return []
    prompts = [labelled(_CHECK.format(claim=claim.claim, source=claim.source), claim.claim) for claim in claims]
    checks = rounds.ask_all(prompts, read, "checks", reserve=1, grounded=True, schema={"enum": _VERDICTS})
    return [check or ("unclear", "not checked") for check in checks]


def _report(rounds: Rounds, task: str, confirmed: Sequence[dict[str, str]], unanswered: Sequence[str]) -> str | None:
    """None where nothing was confirmed."""
    if not confirmed:
        rounds.warn("no claim was confirmed: there is no report")
        return None
    listed = "\n".join(f"[{n}] {item['claim']} ({item['source']})" for n, item in enumerate(confirmed, 1))
    gaps = f" No source was found for: {'; '.join(unanswered)}" if unanswered else ""
    prompt = _REPORT.format(task=task, claims=listed, gaps=gaps)
    return rounds.ask(prompt, text_of, "the report", max_tokens=_TOKENS) or listed
