"""The spec that a finished session becomes: the same ctx, prompts, answers and result. Pure.

Contract: `spec_of(records, package, language)` returns a Frozen, whose spec fails with the first prompt that differs.
Beside the spec lies `surroundings`, as JSON: the seed, the time zone, and what alc.state, the clock and all other
effects gave, which run_specs gives the spec again as to a branch. Left out is what the environment gave: it may be
secret. Raises Refused where a spec cannot repeat the session: it has not completed, ran another package, has children
of alc.fork, whose prompts a spec cannot answer, or its texts were removed by ALC_KEEP.
"""

import json
import pprint
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.languages import PYTHON, Language
from algocline_mcp.session.records import Record

SURROUNDINGS = ".json"  # suffix of the file beside the spec
_WIDTH = 110
_PYTHON = '''\
"""Session {sid}, frozen: it asks these prompts, gets these answers, and ends with this result."""

import {package}

CTX = {ctx}
TURNS = {turns}
RESULT = {result}


def test_session_{short}(model):
    result = model.replay({package}.run, CTX, TURNS)

    assert result == RESULT
'''
_LUA = """\
-- Session {sid}, frozen: it asks these prompts, gets these answers, and ends with this result.

local recorded = alc.json_decode({recorded})

lust.describe("{package}", function()
  lust.it("plays session {short}", function()
    local result = lust.model().replay(require("{package}").run, recorded.ctx, recorded.turns)

    lust.expect(result).to.equal(recorded.result)
  end)
end)
"""


@dataclass(frozen=True, slots=True)
class Frozen:
    """`file`: the name of the spec. `reads_environment`: the spec reads it anew."""

    file: str
    text: str
    surroundings: str
    reads_environment: bool = False


def header_fields(surroundings: str) -> Mapping[str, Any]:
    """What the header of a session has in the place of its own, so that it is given what the frozen one was given.
    Raises ValueError, KeyError or TypeError for a text that is no `surroundings`."""
    value = json.loads(surroundings)
    carried = {"answers": {}, "effects": [*value["effects"]]}
    return {"seed": int(value["seed"]), "utc_offset_s": int(value["utc_offset_s"]), "carried": carried}


def spec_of(records: Iterable[Record], package: str, language: Language) -> Frozen:
    session = _Reading(package)
    for record in records:
        session.add(record)
    sid, ctx, turns, result = session.finished()
    short = sid[-4:]
    fields: dict[str, Any] = {"sid": sid, "package": package, "short": short}
    beside = json.dumps(session.surroundings(), ensure_ascii=False, indent=1), session.reads_environment
    if language is PYTHON:
        shown = {"ctx": ctx, "turns": turns, "result": result}
        literals = {name: pprint.pformat(value, width=_WIDTH, sort_dicts=False) for name, value in shown.items()}
        return Frozen(f"test_session_{short}.py", _PYTHON.format(**fields, **literals), *beside)
    recorded = json.dumps({"ctx": ctx, "turns": turns, "result": result}, ensure_ascii=False, indent=1)
    text = _LUA.format(**fields, recorded=_long_string(recorded))
    return Frozen(f"session_{short}_spec.lua", text, *beside)


class _Reading:
    """What the records say, one after the other."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._header: Record = {}
        self._end: Record = {}
        self._turns: dict[str, dict[str, str]] = {}  # id of a query -> its prompt and answer, in the order of asking
        self._effects: list[list[Any]] = []  # as a branch inherits them
        self.reads_environment = False

    def add(self, record: Record) -> None:
        match record["kind"]:
            case "header":
                self._header = record
                self._check_header()
            case "fork":
                raise Refused(
                    f"{self._header['sid']} ran other strategies by alc.fork or alc.call, whose prompts the model of a "
                    "spec does not answer: freeze a session of each of them, and give this one a spec whose alc.fork "
                    "is a function of yours"
                )
            case "prompt":
                self._turns |= {query["id"]: {"prompt": query["prompt"]} for query in record["queries"]}
            case "answer":
                for item in record["answers"]:
                    kind = "response" if "response" in item else "refuse"
                    self._turns.get(item["id"], {})[kind] = item[kind]
            case "effect" if record["name"] == "env":
                self.reads_environment = True
            case "effect":
                outcome = {key: record[key] for key in ("result", "error") if key in record}
                self._effects.append([record["name"], record["args"], outcome, record.get("times", 1)])
            case "final":
                self._end = record
            case "end":
                self._end = self._end or record

    def _check_header(self) -> None:
        ran, sid = self._header.get("strategy"), self._header["sid"]
        if "kept" in self._header:
            raise Refused(f"the texts of {sid} were removed by ALC_KEEP: a session with its prompts is needed")
        if ran != self._package:
            what = f"the package {ran}" if ran else "code that is no package"
            raise Refused(f"{sid} ran {what}, not {self._package}: run the package, then freeze that session")

    def surroundings(self) -> dict[str, Any]:
        return {name: self._header.get(name, 0) for name in ("seed", "utc_offset_s")} | {"effects": self._effects}

    def finished(self) -> tuple[str, Any, list[dict[str, str]], Any]:
        sid = self._header.get("sid", "the session")
        if "result" not in self._end:
            raise Refused(f"{sid} has no result: a spec is made of a session that has completed")
        turns = [turn for turn in self._turns.values() if len(turn) == 2]
        return sid, json.loads(self._header["ctx"]), turns, self._end["result"]


def _long_string(text: str) -> str:
    """A literal of Lua, whose brackets do not occur in the text."""
    level = 1
    while f"]{'=' * level}]" in text:
        level += 1
    return f"[{'=' * level}[{text}]{'=' * level}]"
