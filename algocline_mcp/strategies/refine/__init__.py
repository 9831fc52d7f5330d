"""A text that is written again until a critic accepts it, at most n times.

The critic is another prompt, in the role of a reader who did not write the text, and names problems that can be mended.
"""

from typing import Any

import alc
from alc_rounds import Rounds, json_of, text_of

meta = {
    "name": "refine",
    "version": "1.0.0",
    "category": "built in",
    "description": "Writes a text, lets a critic name its problems, and writes it again until the critic accepts it",
    "reference": "Self-Refine: Madaan et al. 2023, arXiv:2303.17651",
    "inputs": {
        "task": {"type": "string", "description": "what to write"},
        "criteria": {"type": "string", "default": "", "description": "what the critic looks for"},
        "draft": {"type": "string", "default": "", "description": "a text to begin with; without it one is written"},
        "n": {"type": "integer", "default": 3, "minimum": 1, "maximum": 20, "description": "critiques at most"},
    },
    "outputs": {
        "answer": "the last text",
        "is_accepted": "whether the critic had no problem left",
        "critiques": "the problems that the critic named, a list for each critique",
    },
    "cost": "2 prompts in 2 pauses where the first text is accepted, 2 more for each critique; 2n + 1 at most",
}

_CRITIQUE = """\
A writer had this task:
<task>
{task}
</task>
{criteria}and wrote:
<text>
{text}
</text>
Name the problems that the writer has to mend, the gravest first, each in one sentence that says where it is and what to
do. Leave matters of taste out. If the text does the task well, the list is empty.
Answer with JSON only: {{"problems": ["…"]}}"""
_REWRITE = """\
{task}
{criteria}
This is the last version:
<text>
{text}
</text>
A critic has named these problems:
{problems}
Write the whole text again: mend these problems and keep the rest. Where the critic is wrong, keep what is right. Write
the text and nothing else."""
_CRITIC = "You are a demanding and fair critic. You did not write this text."
_PROBLEMS = 8  # of one critique


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    task, text, n = (rounds.inputs[name] for name in ("task", "draft", "n"))
    criteria = f"It has to meet these criteria: {rounds.inputs['criteria']}\n" if rounds.inputs["criteria"] else ""
    if not text:
        text = rounds.ask(f"{task}\n{criteria}", text_of, "the draft", max_tokens=4096)
    critiques: list[list[str]] = []
    is_accepted = False
    while text is not None and len(critiques) < n:
        alc.progress(len(critiques), n, "asking the critic")
        critique = _CRITIQUE.format(task=task, criteria=criteria, text=text)
        problems = rounds.ask(critique, _problems_of, "the critique", system=_CRITIC)
        if problems is None:
            break
        critiques.append(problems)
        if not problems:
            is_accepted = True
            break
        lines = "\n".join(f"- {problem}" for problem in problems)
        prompt = _REWRITE.format(task=task, criteria=criteria, text=text, problems=lines)
        version = rounds.ask(prompt, text_of, "the next version", max_tokens=4096)
        if version is None:
            break
        text = version
    alc.progress(n, n)
    return rounds.result(answer=text, is_accepted=is_accepted, critiques=critiques)


def _problems_of(answer: str) -> list[str] | None:
    value = json_of("problems")(answer)
    problems = value["problems"] if value is not None else None
    if not isinstance(problems, list):
        return None
    return [str(problem) for problem in problems if problem][:_PROBLEMS]
