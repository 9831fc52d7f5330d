"""A review: a text is read once through each lens, then every finding is attacked by a reader who did not make it.

A reviewer who must find something finds something. So a finding counts only if its quotation is in the text, which code
checks, and if an attempt to refute it has failed. What was refuted is returned too, with the reason.
"""

from typing import Any

import alc
from alc_rounds import Rounds, cut, labelled, list_of, verdict_of

meta = {
    "name": "review",
    "version": "1.0.0",
    "category": "built in",
    "description": "Reviews a text or code through several lenses, and refutes each finding before it counts",
    "reference": "Perspective-based reading: Basili et al. 1996, doi:10.1007/BF00368702; practice: refute each finding",
    "inputs": {
        "file": {"type": "string", "description": "the text to review"},
        "task": {"type": "string", "default": "", "description": "what the text is for, or what to look for"},
        "lenses": {
            "type": "array",
            "default": [
                "what is wrong: false statements, errors in logic, defects, contradictions",
                "what is missing: cases, conditions, failures that the text does not deal with",
                "what a reader will misunderstand: unclear, ambiguous or misleading passages",
            ],
            "description": "what each reading looks for",
        },
        "max_findings": {
            "type": "integer",
            "default": 5,
            "minimum": 1,
            "maximum": 50,
            "description": "how many of one lens",
        },
    },
    "outputs": {
        "findings": "those that stand, the gravest first: {severity, problem, quote, fix, lens, checked}",
        "refuted": "those that do not: {problem, quote, lens, reason}",
    },
    "cost": "1 prompt a lens in one pause, then 1 a finding in one pause: 3 + 6 are typical",
}

_READ = """\
{task}Review this text:
<text>
{text}
</text>
Look for one thing alone: {lens}.
List at most {count} findings that matter, the gravest first. An empty list is a good answer: do not invent findings.
Answer with JSON only, a list of objects of this form:
[{{"quote": "the passage, copied from the text, or an empty text where something is missing",
  "problem": "what is wrong, in one or two sentences", "severity": "high, medium or low", "fix": "what to do"}}]"""
_REFUTE = """\
{task}A reviewer says of a text:
<finding>
{problem}
</finding>
<quote>
{quote}
</quote>
This is the text, or the part of it around the quotation:
<text>
{text}
</text>
Try to refute the finding: does the text say what the reviewer says that it says? Is it dealt with elsewhere? Would a
careful author change anything? If you can refute it, or if it is a matter of taste, it does not stand.
Answer with JSON only, the reason first: {{"reason": "in one or two sentences", "stands": true or false}}"""
_ADVOCATE = "You defend texts against wrong findings. You did not write this finding. You are fair: a true one stands."
_TEXT_CHARS = 200_000  # of the text in one prompt of a reading
_AROUND_CHARS = 12_000  # of the text in one prompt of a refutation
_SEVERITIES = ["high", "medium", "low"]


def run(ctx: dict[str, Any]) -> dict[str, Any]:
    rounds = Rounds(meta, ctx)
    text, lenses, count = (rounds.inputs[name] for name in ("file", "lenses", "max_findings"))
    task = f"{rounds.inputs['task']}\n\n" if rounds.inputs["task"] else ""
    if len(text) > _TEXT_CHARS:
        rounds.warn(f"the text has {len(text)} characters: {_TEXT_CHARS} of them were read, its beginning and its end")
    shown = cut(text, _TEXT_CHARS)
    alc.progress(0, 2, f"reading through {len(lenses)} lenses")
    prompts = [
        labelled(_READ.format(task=task, text=shown, lens=lens, count=count), str(lens).partition(":")[0])
        for lens in lenses
    ]
    lists = rounds.ask_all(prompts, list_of("problem", "quote"), "readings", max_tokens=4096)
    findings = _distinct(
        [_finding(item, str(lens)) for lens, found in zip(lenses, lists, strict=True) for item in (found or [])[:count]]
    )
    real = [finding for finding in findings if _is_in(finding["quote"], text)]
    refuted = [_refuted(item, "its quotation is not in the text") for item in findings if item not in real]
    alc.progress(1, 2, f"refuting {len(real)} findings")
    attacks = [labelled(_attack(task, text, item), item["problem"]) for item in real]
    verdicts = rounds.ask_all(attacks, verdict_of("stands", "reason"), "refutations", system=_ADVOCATE)
    judged = list(zip(real, verdicts, strict=True))
    standing = [item | {"checked": verdict is not None} for item, verdict in judged if not verdict or verdict["stands"]]
    refuted += [_refuted(item, verdict["reason"]) for item, verdict in judged if verdict and not verdict["stands"]]
    alc.progress(2, 2)
    return rounds.result(
        findings=sorted(standing, key=lambda item: _SEVERITIES.index(item["severity"])), refuted=refuted
    )


def _attack(task: str, text: str, item: dict[str, Any]) -> str:
    return _REFUTE.format(task=task, text=_around(text, item["quote"]), problem=item["problem"], quote=item["quote"])


def _finding(item: dict[str, Any], lens: str) -> dict[str, Any]:
    severity = alc.match_enum(str(item.get("severity", "")), _SEVERITIES) or "medium"
    texts = {name: str(item.get(name) or "").strip() for name in ("problem", "quote", "fix")}
    return {"severity": severity, **texts, "lens": lens}


def _distinct(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without a second finding of the same words, which two lenses may see."""
    return list({(_bare(item["quote"]), _bare(item["problem"])): item for item in reversed(findings)}.values())[::-1]


def _refuted(item: dict[str, Any], reason: str) -> dict[str, Any]:
    return {name: item[name] for name in ("problem", "quote", "lens")} | {"reason": reason}


def _is_in(quote: str, text: str) -> bool:
    """Each part of the quotation is in the text, whatever the line breaks and the marks of quotation."""
    bare = _bare(text)
    return all(_bare(part).strip("\"'` .") in bare for part in quote.replace("…", "...").split("..."))


def _around(text: str, quote: str) -> str:
    if len(text) <= _AROUND_CHARS:
        return text
    at = text.find(quote[:80]) if quote else -1
    if at < 0:
        return cut(text, _AROUND_CHARS)
    begin = max(0, at - _AROUND_CHARS // 2)
    return text[begin : begin + _AROUND_CHARS]


def _bare(text: str) -> str:
    return " ".join(text.split()).casefold()
