"""What the readers of answers return for texts as models write them: one table of rows for each kind of trap.

A row of KIND.json: `kind`; `fn`, a function of the strategies (`match_enum{A,B}` names its candidates); `text`;
`right`, each value that counts as right, as text: `nil`, `default` (nothing was read: the caller's default holds), a
number, a candidate, JSON with sorted keys. The rows were written without knowledge of the readers: a row is evidence,
and a change of the readers is measured on all of them. Where `right` has `nil` beside a value, a careful reader could
doubt: nil misleads nobody, and the question can be asked again.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.worker.engine import stdlib

ANSWERS = Path(__file__).parent

THRESHOLD = 0.7
"""The default of alc.match_enum."""

FLOORS: dict[str, float] = {
    # The share of rows that must be read rightly. The readers raise it, nothing lowers it.
    "correction": 0.97,
    "fence_inside": 0.97,
    "last_block": 0.97,
    "letters_in_words": 0.97,
    "negated_choice": 0.97,
    "number_syntax": 0.99,
    "part_of_whole": 0.97,
    "refusal": 0.97,
    "reported": 0.98,
    "score_scale": 0.97,
    "think": 0.97,
    "yes_no": 0.97,
}


def _perform(name: str, *arguments: Any) -> Any:
    """The result of a pure function, called as the language calls it."""
    message = json.loads(stdlib.perform(name.encode(), json.dumps(arguments).encode()))
    return message.get("result", message)


def _reading(fn: str, text: str) -> str:
    """What `fn` reads in `text`, spelled as the rows spell it."""
    name, _, listed = fn.partition("{")
    if name == "match_enum":
        candidates = listed.removesuffix("}").split(",")
        index = _perform(name, text, candidates, THRESHOLD)
        return "nil" if index is None else candidates[index]
    value = _perform(name, text)
    if value is None:
        return "default" if name == "parse_score" else "nil"
    if name == "json_extract":
        value = json.loads(value)
        return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return str(value).lower()


def _is_right(fn: str, reading: str, right: list[str]) -> bool:
    if fn in {"parse_score", "parse_number"} and reading not in {"nil", "default"}:
        return any(value not in {"nil", "default"} and float(value) == float(reading) for value in right)
    return reading in right


@pytest.mark.parametrize("kind", sorted(FLOORS))
def test_answers_of_a_kind_are_read_rightly(kind: str) -> None:
    rows = json.loads((ANSWERS / f"{kind}.json").read_text(encoding="utf-8"))

    readings = [_reading(row["fn"], row["text"]) for row in rows]

    wrong = [
        f"{row['fn']} of {row['text']!r} is {reading}, right is {' or '.join(row['right'])}"
        for row, reading in zip(rows, readings, strict=True)
        if not _is_right(row["fn"], reading, row["right"])
    ]
    share = 1 - len(wrong) / len(rows)
    assert share >= FLOORS[kind], f"{share:.3f} of {len(rows)} rows are read rightly:\n" + "\n".join(wrong)


def test_each_file_of_rows_has_a_floor() -> None:
    files = {path.stem for path in ANSWERS.glob("*.json")}

    assert files == set(FLOORS)
