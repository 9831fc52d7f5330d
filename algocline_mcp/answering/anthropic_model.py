"""Answers of a model behind Anthropic's API."""

from contextlib import suppress
from typing import Any

import anyio

from algocline_mcp.answering.model import (
    ANSWER_S,
    MAX_TOKENS,
    REQUEST_S,
    RETRIES,
    ModelName,
    chosen,
    no_client,
    schema_of,
)
from algocline_mcp.answering.openai_model import of_text
from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt
from algocline_mcp.errors import Refused
from algocline_mcp.session.results import DEFAULT_MAX_TOKENS

KEY_VARIABLE = "ANTHROPIC_API_KEY"
_OPTIONS = ("temperature", "top_p", "top_k")


class AnthropicModel:
    def __init__(self, model: ModelName, base_url: str | None) -> None:
        """Raises Refused without a key, and without the client."""
        if not model.key and base_url is None:
            raise Refused(f"{model} needs a key: set {KEY_VARIABLE}, or --base-url for an endpoint without one")
        try:
            import anthropic
        except ImportError as exc:
            raise no_client("anthropic", exc) from exc
        self._sdk: Any = anthropic
        self._model = model
        self._base_url = base_url
        self._client: Any = None

    async def answer(self, prompt: Prompt) -> Answer:
        if self._client is None:
            key = self._model.key or "none"
            self._client = self._sdk.AsyncAnthropic(
                api_key=key, base_url=self._base_url, max_retries=RETRIES, timeout=REQUEST_S
            )
        try:
            with anyio.fail_after(ANSWER_S):
                reply = await self._client.messages.create(**self._request(prompt))
                return self._answer_of(prompt, reply)
        except (self._sdk.AnthropicError, ValueError, TimeoutError) as exc:
            raise self._model.no_answer(prompt, exc) from None  # the cause would hold the request, with the key

    async def aclose(self) -> None:
        """The next answer opens a new connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self._model.name,
            "messages": [{"role": "user", "content": prompt.text}],
            "max_tokens": MAX_TOKENS if prompt.max_tokens == DEFAULT_MAX_TOKENS else prompt.max_tokens,
            # The client has no names for them: newer models take none, and say so.
            "extra_body": chosen(prompt.options, _OPTIONS),
        }
        if prompt.system:
            request["system"] = prompt.system
        if (schema := schema_of(prompt)) is not None:
            # The API takes a part of JSON Schema; the client turns most of the rest into descriptions. What it cannot
            # turn stands in the prompt all the same.
            with suppress(ValueError, TypeError):
                schema = self._sdk.transform_schema(schema)
                request["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return request

    def _answer_of(self, prompt: Prompt, reply: Any) -> Answer:
        blocks = getattr(reply, "content", None)
        if not isinstance(blocks, list):
            raise NoAnswer(f"{self._model} gave no answer to {prompt.query_id}: its reply is no message")
        usage = _usage(getattr(reply, "usage", None))
        common: dict[str, Any] = {"usage": usage, "cost": self._model.cost(usage), "by": str(self._model)}
        text = "".join(block.text for block in blocks if getattr(block, "type", None) == "text")
        if reply.stop_reason == "refusal":
            details = getattr(reply, "stop_details", None)
            return Answer(refusal=getattr(details, "explanation", None) or text or "the model has refused", **common)
        return of_text(prompt, text, is_cut=reply.stop_reason == "max_tokens", common=common)


def _usage(usage: Any) -> dict[str, int] | None:
    """Tokens read from a cache and written into one are tokens of the prompt."""
    if not isinstance(getattr(usage, "input_tokens", None), int):
        return None
    cached = (getattr(usage, f"cache_{name}_input_tokens", None) or 0 for name in ("read", "creation"))
    return {"prompt_tokens": usage.input_tokens + sum(cached), "completion_tokens": usage.output_tokens or 0}
