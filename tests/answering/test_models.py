"""Models behind OpenAI's and Anthropic's API: an endpoint on the loopback that also misbehaves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.answering.choice import answerer_of, read_prices
from algocline_mcp.answering.drive import Drive
from algocline_mcp.answering.model import Price
from algocline_mcp.answering.prompts import Answer, NoAnswer, Numbering, Prompt, close
from algocline_mcp.errors import Refused
from tests.answering.test_drive import Batch
from tests.peers.model_endpoint import KEY, MARKS, ModelEndpoint

LIMIT_S = 120.0
VENDORS = ("openai", "anthropic")
KEYS = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}


@pytest.fixture(scope="module")
def shared_endpoint() -> Iterator[ModelEndpoint]:
    with ModelEndpoint() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(shared_endpoint: ModelEndpoint) -> ModelEndpoint:
    shared_endpoint.requests.clear()
    shared_endpoint.served.clear()
    shared_endpoint._seen.clear()
    shared_endpoint.is_refusing = False
    return shared_endpoint


def _address(endpoint: ModelEndpoint, vendor: str) -> str:
    return f"{endpoint.address}/v1" if vendor == "openai" else endpoint.address


def _ask(endpoint: ModelEndpoint, vendor: str, prompt: Prompt, **options: Any) -> Answer:
    async def ask() -> Answer:
        with anyio.fail_after(LIMIT_S):
            answerer = answerer_of(f"{vendor}:m", KEYS, base_url=_address(endpoint, vendor), **options)
            try:
                return await answerer.answer(prompt)
            finally:
                await close(answerer)

    return anyio.run(ask)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_model_gets_the_prompt_its_system_its_limit_and_the_options_that_the_api_has(
    endpoint: ModelEndpoint, vendor: str
) -> None:
    options = {"temperature": 0.5, "model": "expensive", "base_url": "http://elsewhere", "grounded": True}
    prices = {"m": Price(1.0, 10.0)}
    prompt = Prompt(text="Why?", system="a judge", max_tokens=7, options=options)

    answer = _ask(endpoint, vendor, prompt, prices=prices)

    usage = {"prompt_tokens": 100, "completion_tokens": 7}
    assert answer == Answer(text="<Why?>", usage=usage, cost=170 / 1e6, by=f"{vendor}:m")
    (request,) = endpoint.requests
    assert (request.pop("path"), request.pop("key")) == (PATHS[vendor], KEY)
    user, common = {"role": "user", "content": "Why?"}, {"model": "m", "temperature": 0.5, "max_tokens": 7}
    if vendor == "openai":
        assert request == {**common, "messages": [{"role": "system", "content": "a judge"}, user]}
    else:
        assert request == {**common, "messages": [user], "system": "a judge"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_schema_goes_to_the_api_as_a_schema(endpoint: ModelEndpoint, vendor: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    _ask(endpoint, vendor, Prompt(text="A?", options={"schema": schema}))

    assert len(endpoint.requests) == 3  # the endpoint's answer does not fit, and goes back twice
    for request in endpoint.requests:
        if vendor == "openai":
            assert request["response_format"]["json_schema"]["schema"] == schema
            assert "max_tokens" not in request
        else:
            assert request["output_config"]["format"]["schema"]["required"] == ["a"]
            assert request["max_tokens"] == 8192


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[refuse]", {"refusal": "I cannot do this."}),
        ("[empty]", {"refusal": "the model gave an empty answer"}),
        ("[long]", {"text": "<[long]>", "warning": "the answer to q-0 was cut at its limit of tokens"}),
        ("[long][empty]", {"refusal": "it spent the 9 tokens of max_tokens before it wrote an answer"}),
    ],
)
def test_refusals_and_cut_answers(endpoint: ModelEndpoint, vendor: str, text: str, expected: dict[str, str]) -> None:
    answer = _ask(endpoint, vendor, Prompt(text=text, max_tokens=9))

    got = {"text": answer.text, "refusal": answer.refusal, "warning": answer.warning}
    assert {key: value for key, value in got.items() if value is not None} == expected


@pytest.mark.parametrize("vendor", VENDORS)
def test_what_may_pass_is_tried_again_and_no_prompt_is_answered_twice(endpoint: ModelEndpoint, vendor: str) -> None:
    texts = [f"{mark} {number}" for number in range(3) for mark in (*MARKS, "well")]

    class Marked(Batch):
        def state(self) -> Any:
            state = dict(super().state())
            if "queries" in state:
                named = ({**query, "prompt": texts[int(query["query_id"][2:])]} for query in state["queries"])
                state["queries"] = list(named)
            return state

    async def run() -> tuple[Any, str | None]:
        with anyio.fail_after(LIMIT_S):
            answerer = answerer_of(f"{vendor}:m", KEYS, base_url=_address(endpoint, vendor))
            drive = Drive(answerer, session, Numbering(), jobs=8)
            state = await drive.run(session.state())
            await close(answerer)
            return state, drive.problem

    session = Marked(len(texts))
    assert anyio.run(run) == ({"status": "completed", "result": len(texts)}, None)
    assert session.answers == {f"q-{n}": f"<{text}>" for n, text in enumerate(texts)}
    assert sorted(endpoint.served) == sorted(texts)
    assert len(endpoint.requests) == len(texts) + 3 * len(MARKS)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_key_stands_in_no_error(endpoint: ModelEndpoint, vendor: str) -> None:
    endpoint.is_refusing = True

    with pytest.raises(NoAnswer) as raised:
        _ask(endpoint, vendor, Prompt(text="Why?"))

    sentence = f"{vendor}:m gave no answer to q-0: 401: Incorrect API key: …; {vendor.upper()}_API_KEY is not a key"
    assert str(raised.value).startswith(sentence)
    assert KEY not in repr(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("gpt-5", "'gpt-5' does not say who answers: write openai:NAME"),
        ("openai:", "does not say who answers"),
        ("exec: ", "does not say who answers"),
        ("openai:m", "openai:m needs a key: set OPENAI_API_KEY, or --base-url"),
        ("anthropic:m", "anthropic:m needs a key: set ANTHROPIC_API_KEY, or --base-url"),
    ],
)
def test_who_answers_is_said_in_one_form_and_with_a_key(spec: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        answerer_of(spec, {})


@pytest.mark.parametrize("key", ["sk-…", "sk-a sk-b", "sk-\x00"])
def test_a_key_that_no_request_can_hold_is_refused_before_the_first_prompt(key: str) -> None:
    with pytest.raises(Refused, match="OPENAI_API_KEY holds a character that no key has") as raised:
        answerer_of("openai:m", {"OPENAI_API_KEY": key})

    assert key not in str(raised.value)


@pytest.mark.parametrize("content", ["[]", "{", '{"m": 1}', '{"m": {"input": 1}}', '{"m": {"input": -1, "output": 1}}'])
def test_prices_that_cannot_be_read_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "prices.json"
    file.write_text(content)

    with pytest.raises(Refused, match="cannot be used for --prices"):
        read_prices(str(file))


def test_prices_are_read_from_json_and_toml(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"a": {"input": 1, "output": 2.5}}))
    (tmp_path / "p.toml").write_text("a = {input = 1, output = 2.5}\n")

    assert read_prices(str(tmp_path / "p.json")) == read_prices(str(tmp_path / "p.toml")) == {"a": Price(1.0, 2.5)}
