"""Answers of a model behind Anthropic's API."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from algocline_mcp.answering.api_model import ApiModel, of_text
from algocline_mcp.answering.model import MAX_TOKENS, chosen, schema_of
from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt
from algocline_mcp.session.results import DEFAULT_MAX_TOKENS

_OPTIONS = ("temperature", "top_p", "top_k")


class AnthropicModel(ApiModel):
    package, client, error = "anthropic", "AsyncAnthropic", "AnthropicError"

    def request(self, prompt: Prompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "model": self.model.name,
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
                schema = self.sdk.transform_schema(schema)
                request["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return request

    async def ask(self, client: Any, request: Mapping[str, Any]) -> Any:
        return await client.messages.create(**request)

    def answer_of(self, prompt: Prompt, reply: Any) -> Answer:
        blocks = getattr(reply, "content", None)
        if not isinstance(blocks, list):
            raise NoAnswer(f"{self.model} gave no answer to {prompt.query_id}: its reply is no message")
        common = self.common(_usage(getattr(reply, "usage", None)))
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
