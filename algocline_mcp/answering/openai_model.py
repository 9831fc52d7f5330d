"""Answers of a model behind OpenAI's API, or any endpoint that is compatible with it."""

from collections.abc import Mapping
from typing import Any

import anyio

from algocline_mcp.answering.model import ANSWER_S, REQUEST_S, RETRIES, ModelName, chosen, no_client, schema_of
from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt
from algocline_mcp.errors import Refused
from algocline_mcp.session.results import DEFAULT_MAX_TOKENS

KEY_VARIABLE = "OPENAI_API_KEY"
_OPTIONS = ("temperature", "top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "reasoning_effort")


class OpenAIModel:
    def __init__(self, model: ModelName, base_url: str | None) -> None:
        """Raises Refused without a key, and without the client."""
        if not model.key and base_url is None:
            raise Refused(f"{model} needs a key: set {KEY_VARIABLE}, or --base-url for an endpoint without one")
        try:
            import openai
        except ImportError as exc:
            raise no_client("openai", exc) from exc
        self._sdk: Any = openai
        self._model = model
        self._base_url = base_url
        self._client: Any = None

    async def answer(self, prompt: Prompt) -> Answer:
        if self._client is None:
            key = self._model.key or "none"  # the client insists on one
            self._client = self._sdk.AsyncOpenAI(
                api_key=key, base_url=self._base_url, max_retries=RETRIES, timeout=REQUEST_S
            )
        try:
            with anyio.fail_after(ANSWER_S):
                reply = await self._client.chat.completions.create(**self._request(prompt))
                return self._answer_of(prompt, reply)
        except (self._sdk.OpenAIError, ValueError, TimeoutError) as exc:
            raise self._model.no_answer(prompt, exc) from None  # the cause would hold the request, with the key

    async def aclose(self) -> None:
        """The next answer opens a new connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt.text}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        request = {"model": self._model.name, "messages": messages, **chosen(prompt.options, _OPTIONS)}
        if prompt.max_tokens != DEFAULT_MAX_TOKENS:
            # OpenAI has renamed it, and its newer models refuse the old name, which other endpoints know alone.
            name = "max_completion_tokens" if self._base_url is None else "max_tokens"
            request[name] = prompt.max_tokens
        if (schema := schema_of(prompt)) is not None:
            request["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
        return request

    def _answer_of(self, prompt: Prompt, reply: Any) -> Answer:
        choices = getattr(reply, "choices", None)
        if not choices or getattr(choices[0], "message", None) is None:
            raise NoAnswer(f"{self._model} gave no answer to {prompt.query_id}: its reply is no chat completion")
        message, reason = choices[0].message, choices[0].finish_reason
        usage = _usage(getattr(reply, "usage", None))
        common: dict[str, Any] = {"usage": usage, "cost": self._model.cost(usage), "by": str(self._model)}
        if refusal := getattr(message, "refusal", None):
            return Answer(refusal=str(refusal), **common)
        if reason == "content_filter":
            return Answer(refusal="the filter of the endpoint has withheld the answer", **common)
        return of_text(prompt, message.content, is_cut=reason == "length", common=common)


def of_text(prompt: Prompt, text: Any, *, is_cut: bool, common: Mapping[str, Any]) -> Answer:
    """A cut answer counts, because the strategy has set its length; one without a text is a refusal, which the strategy
    can deal with: the same prompt would only get the same again."""
    if not isinstance(text, str) or not text.strip():
        cut = f"it spent the {prompt.max_tokens} tokens of max_tokens before it wrote an answer"
        return Answer(refusal=cut if is_cut else "the model gave an empty answer", **common)
    warning = f"the answer to {prompt.query_id} was cut at its limit of tokens" if is_cut else None
    return Answer(text=text, warning=warning, **common)


def _usage(usage: Any) -> dict[str, int] | None:
    counts = {name: getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")}
    return {name: count for name, count in counts.items() if isinstance(count, int)} or None
