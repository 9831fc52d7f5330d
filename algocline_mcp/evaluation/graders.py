"""Graders: score an answer against its case. Pure.

    exact      the text is the expected one, or one of several; ignore_case=true
    contains   the text contains the expected one; all=true: every one of several
    regex      the expected text, or pattern=…, is found; ignore_case=true
    number     the number in the text is the expected one; tolerance=… (absolute), relative=…
    choice     the letter, or the words, of the expected choice
    schema     the JSON in the text fits a JSON Schema: file=…
    judge      a model reads the answer: criteria=… (see judge.py)
    FILE       the function `grade(output, expected, case)` of a .py or .lua file

Contract: the last two run as strategies in sessions of their own, see code_graders.py. `grade` carries out the others.
A grader that cannot work, such as one without anything expected, raises Refused before anything is asked.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.answers.json_text import json_extract
from algocline_mcp.answers.numbers import parse_number
from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.answer_text import choice_of, normalized
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.options import parse_options

_RELATIVE = 1e-9  # of `number` without an option: how far 0.1 + 0.2 is from 0.3, and more
CODE_SUFFIXES = (".py", ".lua")


@dataclass(frozen=True, slots=True)
class Grade:
    """`score`: 0 to 1."""

    score: float
    is_pass: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grader:
    """`kind`: a name of OPTIONS, or "function". `source`: of a function, with `language`; `lib_paths`: where it finds
    modules."""

    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    language: str = ""
    lib_paths: tuple[str, ...] = ()

    @property
    def is_code(self) -> bool:
        return self.kind in ("judge", "function")

    @property
    def label(self) -> str:
        shown = ",".join(f"{key}={value}" for key, value in self.options.items() if key != "schema")
        return f"{self.kind}:{shown}" if shown else self.kind


OPTIONS: Mapping[str, tuple[str, ...]] = {
    "exact": ("ignore_case",),
    "contains": ("ignore_case", "all"),
    "regex": ("ignore_case", "pattern"),
    "number": ("tolerance", "relative"),
    "choice": (),
    "schema": ("file", "schema"),
    "judge": ("criteria",),
    "function": ("file",),
}
_ALIASES = {"exact_match": "exact", "json_schema": "schema", "numeric": "number", "match": "exact"}


def parse_grader(text: str, read_text: Callable[[str], str]) -> Grader:
    """The grader that `KIND[:KEY=VALUE,…]` or a file names. `read_text` reads a file. Raises Refused."""
    if text.endswith(CODE_SUFFIXES):
        language = "python" if text.endswith(".py") else "lua"
        near = (os.path.dirname(os.path.abspath(text)),)
        return Grader("function", {"file": text}, read_text(text), language, near)
    name, options = parse_options(text, what="the grader")
    kind = _ALIASES.get(name, name)
    if kind not in OPTIONS or kind == "function":
        known = ", ".join(kind for kind in OPTIONS if kind != "function")
        raise Refused(f"there is no grader {name!r}: use {known}, or a file .py or .lua with a function `grade`")
    if unknown := [key for key in options if key not in OPTIONS[kind]]:
        known = ", ".join(OPTIONS[kind]) or "none"
        raise Refused(f"the grader {kind} has no option {unknown[0]!r}: its options are {known}")
    if kind == "schema":
        options["schema"] = _schema(options, read_text)
    _check_values(kind, options)
    return Grader(kind, options)


def _check_values(kind: str, options: Mapping[str, Any]) -> None:
    for key in ("tolerance", "relative"):
        value = options.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise Refused(f"the grader {kind}: {key} is {value!r}: it must be a number, 0 or more")
    if "pattern" in options:
        _pattern(str(options["pattern"]), options, "pattern")


def _schema(options: Mapping[str, Any], read_text: Callable[[str], str]) -> Any:
    if "file" not in options:
        raise Refused("the grader schema needs a file: schema:file=answer.schema.json")
    try:
        schema = json.loads(read_text(str(options["file"])))
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict | bool):
        raise Refused(f"{options['file']} is not a JSON Schema: it must hold one JSON object")
    _validator(schema, str(options["file"]))
    return schema


def check(graders: Sequence[Grader], cases: Sequence[Case]) -> None:
    """Raises Refused for the first case that a grader cannot grade: before anything is asked, not after."""
    for grader in graders:
        for case in cases:
            why = _unusable(grader, case)
            if why is not None:
                raise Refused(f"case {case.id!r}: {why}")


def _unusable(grader: Grader, case: Case) -> str | None:
    alternatives = alternatives_of(case)
    if grader.kind in ("exact", "contains", "number", "choice") and not alternatives:
        return f"the grader {grader.kind} needs `expected`, which the case lacks"
    if grader.kind == "regex" and "pattern" not in grader.options:
        if not alternatives:
            return "the grader regex needs `expected` or pattern=…"
        for text in alternatives:
            _pattern(text, grader.options, f"expected of case {case.id!r}")
    if grader.kind == "number" and (bad := [text for text in alternatives if parse_number(text) is None]):
        return f"expected is {bad[0]!r}, in which the grader number finds no number"
    if grader.kind == "choice" and (bad := [text for text in alternatives if choice_of(text, case.choices) is None]):
        return f"expected is {bad[0]!r}, which is neither a letter nor one of the {len(case.choices)} choices"
    return None


def alternatives_of(case: Case) -> list[str]:
    """What is expected, as texts: each of them is right."""
    values = case.expected if isinstance(case.expected, list) else [case.expected]
    return [value if isinstance(value, str) else _json_text(value) for value in values if value is not None]


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def grade(grader: Grader, output: str, case: Case) -> Grade:
    """The grade by a grader that is not code. Never raises for what a model wrote."""
    return _GRADERS[grader.kind](output, case, grader.options)


def combined(grades: Sequence[Grade]) -> Grade:
    """One grade of several: the mean of the scores; a pass if all pass."""
    if len(grades) == 1:
        return grades[0]
    reasons = "; ".join(grade.reason for grade in grades if grade.reason)
    return Grade(sum(grade.score for grade in grades) / len(grades), all(grade.is_pass for grade in grades), reasons)


def grade_of_value(value: Any, what: str) -> Grade:
    """The grade that a function returned: true, a number from 0 to 1, or {score, pass?, reason?}. Raises Refused."""
    reason = ""
    is_pass = None
    if isinstance(value, dict):
        reason, is_pass = str(value.get("reason") or ""), value.get("pass")
        value = value.get("score", is_pass)
    if isinstance(value, bool):
        value = float(value)
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Refused(f"{what} returned {value!r}: it must be true, false, a number from 0 to 1, or {{score, reason}}")
    return Grade(float(value), value >= 1 if is_pass is None else bool(is_pass), reason)


# ── the graders ───────────────────────────────────────────────────────────────────────────────────────────


def _verdict(is_pass: bool, reason: str) -> Grade:
    return Grade(float(is_pass), is_pass, "" if is_pass else reason)


def _exact(output: str, case: Case, options: Mapping[str, Any]) -> Grade:
    ignores_case = bool(options.get("ignore_case"))
    wanted = {normalized(text, ignores_case=ignores_case) for text in alternatives_of(case)}
    return _verdict(normalized(output, ignores_case=ignores_case) in wanted, "another text")


def _contains(output: str, case: Case, options: Mapping[str, Any]) -> Grade:
    ignores_case = bool(options.get("ignore_case"))
    text = normalized(output, ignores_case=ignores_case)
    has = [normalized(wanted, ignores_case=ignores_case) in text for wanted in alternatives_of(case)]
    return _verdict(all(has) if options.get("all") else any(has), "the expected text is not in it")


def _pattern(text: str, options: Mapping[str, Any], what: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE if options.get("ignore_case") else 0)
    except (re.error, RecursionError, OverflowError) as exc:
        raise Refused(f"{what} is {text!r}, which is not a regular expression: {exc}") from exc


def _regex(output: str, case: Case, options: Mapping[str, Any]) -> Grade:
    texts = [str(options["pattern"])] if "pattern" in options else alternatives_of(case)
    is_match = any(_pattern(text, options, "pattern").search(output) for text in texts)
    return _verdict(is_match, "the pattern is not found")


def _number(output: str, case: Case, options: Mapping[str, Any]) -> Grade:
    number = parse_number(output)
    if number is None:
        return _verdict(False, "no clear number in it")
    absolute = float(options.get("tolerance", 0.0))
    relative = float(options.get("relative", 0.0 if "tolerance" in options else _RELATIVE))
    wanted = [parse_number(text) for text in alternatives_of(case)]
    is_near = any(
        value is not None and math.isclose(number, value, rel_tol=relative, abs_tol=absolute) for value in wanted
    )
    return _verdict(is_near, f"it says {number}")


def _choice(output: str, case: Case, options: Mapping[str, Any]) -> Grade:
    index = choice_of(output, case.choices)
    if index is None:
        return _verdict(False, "no clear choice in it")
    wanted = [choice_of(text, case.choices) for text in alternatives_of(case)]
    return _verdict(index in wanted, f"it says {chr(ord('A') + index)}")


def _validator(schema: Any, file: str) -> Any:
    try:
        import jsonschema  # of the extra; the SDK brings it too
    except ModuleNotFoundError as exc:
        raise Refused("the grader schema needs the extra: pip install 'algocline-mcp[eval]'") from exc
    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        validator.check_schema(schema)
    except jsonschema.SchemaError as exc:
        raise Refused(f"{file} is not a JSON Schema: {exc.message}") from exc
    return validator(schema)


def _fits_schema(output: str, case: Case, options: Mapping[str, Any]) -> Grade:
    text = json_extract(output)
    if text is None:
        return _verdict(False, "no JSON in it")
    try:
        value = json.loads(text)
    except ValueError:  # a whole number of more than 4,300 digits
        return _verdict(False, "a number in its JSON is too long")
    error = next(iter(_validator(options["schema"], str(options.get("file"))).iter_errors(value)), None)
    return _verdict(error is None, "" if error is None else f"{error.json_path}: {error.message[:200]}")


_GRADERS: dict[str, Callable[[str, Case, Mapping[str, Any]], Grade]] = {
    "exact": _exact,
    "contains": _contains,
    "regex": _regex,
    "number": _number,
    "choice": _choice,
    "schema": _fits_schema,
}
