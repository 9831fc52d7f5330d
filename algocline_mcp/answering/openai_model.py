"""Answers of a model behind OpenAI's API, or any endpoint that is compatible with it."""

from collections.abc import Mapping
from typing import Any

from algocline_mcp.answering.api_model import ApiModel, of_text
from algocline_mcp.answering.model import chosen, schema_of
from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt
from algocline_mcp.session.results import DEFAULT_MAX_TOKENS

_OPTIONS = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort")


class OpenAIModel(ApiModel):
    package, client, error = "openai", "AsyncOpenAI", "OpenAIError"

    def request(self, prompt: Prompt) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt.text}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        request = {"model": self.model.name, "messages": messages, **chosen(prompt.options, _OPTIONS)}
        if prompt.max_tokens != DEFAULT_MAX_TOKENS:
            # OpenAI has renamed it, and its newer models refuse the old name, which other endpoints know alone.
            name = "max_completion_tokens" if self.base_url is None else "max_tokens"
            request[name] = prompt.max_tokens
        if (schema := schema_of(prompt)) is not None:
            request["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return request

    async def ask(self, client: Any, request: Mapping[str, Any]) -> Any:
        return await client.chat.completions.create(**request)

    def answer_of(self, prompt: Prompt, reply: Any) -> Answer:
        choices = getattr(reply, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise NoAnswer(f"{self.model} gave no answer to {prompt.query_id}: its reply is no chat completion")
        message, reason = choices[0].message, choices[0].finish_reason
        common = self.common(_usage(getattr(reply, "usage", None)))
        if refusal := getattr(message, "refusal", None):
            return Answer(refusal=str(refusal), **common)
        if reason == "content_filter":
            return Answer(refusal="the filter of the endpoint has withheld the answer", **common)
        return of_text(prompt, message.content, is_cut=reason == "length", common=common)


def _usage(usage: Any) -> dict[str, int] | None:
    counts = {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count for name, count in counts.items() if isinstance(count, int)} or None
