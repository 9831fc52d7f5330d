"""Cases of an evaluation: an input, what is expected, and values of `ctx`; read from JSONL, CSV or YAML. Pure.

Contract: `parse_cases` returns at least one case, with unique ids, in the order of the file. Anything else raises
Refused with one sentence that names the file and the line.

    JSONL   an object a line, or a text a line, which is then the input
    CSV     a header line; the column ctx.NAME is a value of ctx; an empty cell is absent
    YAML    a list of such objects, or an object with the list in `cases`; needs the extra `eval`

Fields: input (or question), expected (or target; a list holds alternatives), id (or name), ctx, choices, tags,
metadata. Every other field is kept in `metadata`: a strategy does not see it, so a column `solution` tells it nothing.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from algocline_mcp.errors import Refused

MAX_CASES = 10_000  # each is a session
_ALIASES = {"question": "input", "target": "expected", "name": "id"}
_KINDS: dict[str, tuple[type, str]] = {
    "ctx": (dict, "an object"),
    "metadata": (dict, "an object"),
    "choices": (list, "a list"),
    "tags": (list, "a list"),
}
_CTX_COLUMN = "ctx."


@dataclass(frozen=True, slots=True)
class Case:
    """`input` becomes ctx.task, or the whole of ctx where it is an object; `ctx` is merged into it."""

    id: str
    input: Any
    expected: Any = None
    ctx: Mapping[str, Any] = field(default_factory=dict)
    choices: Sequence[str] = ()
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def context(self) -> dict[str, Any]:
        """The ctx of its session."""
        own = dict(self.input) if isinstance(self.input, dict) else {"task": self.input}
        choices = {"choices": list(self.choices)} if self.choices else {}
        return own | choices | dict(self.ctx)

    def as_json(self) -> dict[str, Any]:
        """The object that `case_of` makes this case of again."""
        values = {name: getattr(self, name) for name in ("id", "input", "expected")}
        rest = {name: getattr(self, name) for name in ("ctx", "choices", "tags", "metadata")}
        return values | {
            name: list(value) if isinstance(value, tuple) else value for name, value in rest.items() if value
        }


def parse_cases(name: str, text: str) -> list[Case]:
    """`name`: of the file; its suffix chooses the format."""
    suffix = name.rpartition(".")[2].lower()
    if suffix not in _FORMATS:
        formats = ", ".join(f".{known}" for known in _FORMATS)
        raise Refused(f"{name} is not a file of cases: its name must end in {formats}, or .lua for a scenario")
    return checked(name, _FORMATS[suffix](name, text))


def checked(name: str, values: Iterable[tuple[str, Any]]) -> list[Case]:
    """The cases of `(position, value)` pairs, such as `("line 3", {"input": …})`. Raises Refused."""
    cases: list[Case] = []
    positions: dict[str, str] = {}
    for position, value in values:
        case = case_of(f"{name}, {position}", value, number=len(cases) + 1)
        if case.id in positions:
            raise Refused(
                f"{name}, {position}: the id {case.id!r} is taken by {positions[case.id]}: give each case its own"
            )
        if len(cases) == MAX_CASES:
            raise Refused(f"{name} has more than {MAX_CASES} cases: split it into several files", code="too_large")
        positions[case.id] = position
        cases.append(case)
    if not cases:
        raise Refused(f'{name} has no case: write one a line, such as {{"input": "2+2?", "expected": "4"}}')
    return cases


def case_of(position: str, value: Any, *, number: int) -> Case:
    """`number`: its id where it names none. Raises Refused with `position` in front."""
    if isinstance(value, str):
        value = {"input": value}
    if not isinstance(value, Mapping):
        raise Refused(f"{position}: a case is an object with `input`, not {_shown(value)}")
    fields = _renamed(position, value)
    if _is_absent(fields.get("input")):
        names = ", ".join(map(str, value)) or "nothing"
        raise Refused(f"{position}: the case has no `input`, only {names}: name the field with the question `input`")
    for key, (kind, wanted) in _KINDS.items():
        if key in fields and not isinstance(fields[key], kind):
            raise Refused(f"{position}: `{key}` is {_shown(fields[key])}: it must be {wanted}")
    if isinstance(fields.get("id"), dict | list):
        raise Refused(f"{position}: `id` is {_shown(fields['id'])}: it must be a text or a number")
    identity = fields.pop("id", None)
    return Case(
        str(number if _is_absent(identity) else identity),
        fields.pop("input"),
        fields.pop("expected", None),
        fields.pop("ctx", {}),
        tuple(map(str, fields.pop("choices", ()))),
        tuple(map(str, fields.pop("tags", ()))),
        fields.pop("metadata", {}) | fields,
    )


def _renamed(position: str, value: Mapping[Any, Any]) -> dict[str, Any]:
    """The fields under their own names; null is absent."""
    fields: dict[str, Any] = {}
    for key, item in value.items():
        name = _ALIASES.get(str(key), str(key))
        if name in fields:
            raise Refused(f"{position}: `{key}` and `{name}` mean the same: give one of them")
        if item is not None:
            fields[name] = item
    return fields


def _is_absent(value: Any) -> bool:
    return value is None or value == ""


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


# ── formats ───────────────────────────────────────────────────────────────────────────────────────────────


def _jsonl(name: str, text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except (ValueError, RecursionError) as exc:
                why = getattr(exc, "msg", None) or type(exc).__name__
                cure = "write one whole JSON object a line"
                raise Refused(f"{name}, line {number}: not JSON ({why}) in {_shown(line.strip())}: {cure}") from exc


def _csv(name: str, text: str) -> Iterator[tuple[str, Any]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: list[str] = []
    line = 1  # where the row begins: a quoted cell may hold line feeds
    try:
        for row in reader:
            position, line = f"line {line}", reader.line_num + 1
            if not any(row):
                continue
            if not header:
                header = _header(name, position, row)
                continue
            if len(row) != len(header):
                raise Refused(
                    f"{name}, {position}: {len(row)} cells under {len(header)} columns: put a cell that has a comma "
                    'or a quote into quotes: "a, b"'
                )
            yield position, _row(header, row)
    except csv.Error as exc:
        raise Refused(f"{name}, line {reader.line_num}: not CSV ({exc}): check the quotes of that row") from exc


def _header(name: str, position: str, row: Sequence[str]) -> list[str]:
    header = [cell.strip() for cell in row]
    twice = {cell for cell in header if header.count(cell) > 1}
    if twice or not {"input", "question"} & set(header):
        why = f"the column {sorted(twice)[0]!r} is there twice" if twice else "no column is named `input`"
        raise Refused(f"{name}, {position}: {why}: the first line names the columns, such as id,input,expected")
    return header


def _row(header: Sequence[str], row: Sequence[str]) -> dict[str, Any]:
    cells: dict[str, Any] = {column: cell for column, cell in zip(header, row, strict=True) if cell != ""}
    names = [column for column in cells if column.startswith(_CTX_COLUMN)]
    ctx = {column.removeprefix(_CTX_COLUMN): cells.pop(column) for column in names}
    for key in ("choices", "tags"):
        if key in cells:
            cells[key] = [part.strip() for part in cells[key].split("|")]
    return cells | ({"ctx": ctx} if ctx else {})


def _yaml(name: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        import yaml  # of the extra
    except ModuleNotFoundError as exc:
        raise Refused(
            f"{name} is YAML, which needs the extra: pip install 'algocline-mcp[eval]', or use JSONL"
        ) from exc
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == "cases"), node)
        if not isinstance(node, yaml.SequenceNode):
            raise Refused(f"{name}, line 1: neither a list of cases nor an object with the list in `cases`")
        loader = yaml.SafeLoader("")
        for item in node.value:
            yield f"line {item.start_mark.line + 1}", _plain(loader.construct_document(item))
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        position = f", line {mark.line + 1}" if mark is not None else ""
        raise Refused(
            f"{name}{position}: not YAML ({getattr(exc, 'problem', None) or exc}): correct that line"
        ) from exc


def _plain(value: Any) -> Any:
    """Dates and other values that JSON lacks become texts."""
    return json.loads(json.dumps(value, default=str, ensure_ascii=False))


_FORMATS: dict[str, Callable[[str, str], Iterator[tuple[str, Any]]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "yaml": _yaml,
    "yml": _yaml,
}
