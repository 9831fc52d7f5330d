"""Models of the real pydantic in a strategy, in a confined engine: ALC_PYTHON_PRELOAD=pydantic."""

import os

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.pool.dispatch import continue_via_pool
from algocline_mcp.session.events import Answer
from tests.rig.rig import WAIT_S, Rig, run

pytestmark = pytest.mark.anyio
CODE = """
from enum import Enum

import alc
from pydantic import BaseModel, Field, ValidationError, field_validator


class Kind(Enum):
    FACT = "fact"
    OPINION = "opinion"


class Claim(BaseModel):
    text: str = Field(min_length=2)
    kind: Kind
    line: int | None = Field(None, ge=1)
    parts: list["Claim"] = []

    @field_validator("text")
    @classmethod
    def has_no_question(cls, text: str) -> str:
        if "?" in text:
            raise ValueError("a question is no claim")
        return text


class Report(BaseModel):
    claims: list[Claim]


def run(ctx):
    try:
        text = alc.llm("List the claims.", schema=Report)
        report = Report.model_validate_json(alc.json_encode(alc.json_extract(text)))
        return report.model_dump(mode="json")
    except ValidationError as exc:
        return {"wrong": [error["msg"] for error in exc.errors()]}
    except alc.Refused as exc:
        return {"refused": exc.reason}
"""
PART: dict[str, object] = {"text": "part", "kind": "opinion", "line": None, "parts": []}
ENDS = [
    (
        Answer("q-0", '{"claims": [{"text": "ab", "kind": "fact", "line": 3, "parts": ['
                      '{"text": "part", "kind": "opinion"}]}]}'),
        {"claims": [{"text": "ab", "kind": "fact", "line": 3, "parts": [PART]}]},
    ),
    (
        Answer("q-0", '{"claims": [{"text": "why?", "kind": "fact"}]}'),
        {"wrong": ["Value error, a question is no claim"]},
    ),
    (Answer("q-0", refuse="no text"), {"refused": "no text"}),
]  # fmt: skip
WRONG = [
    ('{"claims": [{"text": "a", "kind": "fact"}]}', r"answer\.claims\[1\]\.text has 1 characters and needs at least 2"),
    ('{"claims": [{"text": "ab", "kind": "lie"}]}', r'answer\.claims\[1\]\.kind is "lie" and not one of "fact"'),
]


@pytest.mark.parametrize("way", ["fork", "exec"])
async def test_model_of_pydantic_is_a_schema_and_validates_the_answer(rig: Rig, way: str) -> None:
    environ = {**os.environ, "ALC_PYTHON_PRELOAD": "pydantic", "ALC_SPAWN": way}
    async with rig.pool(environ=environ) as pool:
        for answer, end in ENDS:
            sid, reply, _ = await run(pool, CODE, language="python")
            assert "prompt" in reply, reply
            for text, reason in WRONG:
                with pytest.raises(Refused, match=f"the answer to q-0 does not fit: {reason}"):
                    await continue_via_pool(pool, sid, [Answer("q-0", text)], wait_s=WAIT_S, is_checked=True)

            ended = await continue_via_pool(pool, sid, [answer], wait_s=WAIT_S, is_checked=True)
            assert ended.result["result"] == end


async def test_without_the_setting_pydantic_is_not_importable(rig: Rig) -> None:
    async with rig.pool() as pool:
        reply = (await run(pool, "import pydantic\nreturn 1", language="python")).result

    assert "pydantic" in reply["error"]
