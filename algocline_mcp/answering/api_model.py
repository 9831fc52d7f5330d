"""Answers of a model behind an API, by the official client of that API.

The client is imported when a model is chosen, because it takes a second, and connects with the first answer.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import anyio

from algocline_mcp.answering.model import ANSWER_S, REQUEST_S, RETRIES, ModelName, no_client
from algocline_mcp.answering.prompts import Answer, Prompt
from algocline_mcp.errors import Refused


class ApiModel(ABC):
    """An Answerer. `package`, `client`, `error`: of the API's client."""

    package: ClassVar[str]
    client: ClassVar[str]
    error: ClassVar[str]

    def __init__(self, model: ModelName, base_url: str | None) -> None:
        """Raises Refused without a key, and without the package."""
        if not model.key and base_url is None:
            raise Refused(f"{model} needs a key: set {model.key_variable}, or --base-url for an endpoint without one")
        try:
            self.sdk: Any = importlib.import_module(self.package)
        except ImportError as exc:
            raise no_client(self.package, exc) from exc
        self.model = model
        self.base_url = base_url
        self._client: Any = None

    async def answer(self, prompt: Prompt) -> Answer:
        """Raises NoAnswer."""
        if self._client is None:
            self._client = getattr(self.sdk, self.client)(
                api_key=self.model.key or "none",  # a client insists on one
                base_url=self.base_url,
                max_retries=RETRIES,
                timeout=REQUEST_S,
            )
        try:
            with anyio.fail_after(ANSWER_S):
                return self.answer_of(prompt, await self.ask(self._client, self.request(prompt)))
        except (getattr(self.sdk, self.error), ValueError, TimeoutError) as exc:
            raise self.model.no_answer(prompt, exc) from None  # the cause would hold the request, with the key

    async def aclose(self) -> None:
        """The next answer opens a new connection."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @abstractmethod
    def request(self, prompt: Prompt) -> dict[str, Any]: ...

    @abstractmethod
    async def ask(self, client: Any, request: Mapping[str, Any]) -> Any: ...

    @abstractmethod
    def answer_of(self, prompt: Prompt, reply: Any) -> Answer:
        """Raises NoAnswer where the reply is something else."""

    def common(self, usage: Mapping[str, int] | None) -> dict[str, Any]:
        """Of each Answer: what it took, what it cost, and who gave it."""
        return {"usage": usage, "cost": self.model.cost(usage), "by": str(self.model)}


def of_text(prompt: Prompt, text: Any, *, is_cut: bool, common: Mapping[str, Any]) -> Answer:
    """A cut answer counts, because the strategy has set its length; one without a text is a refusal, which the strategy
    can deal with: the same prompt would only get the same again."""
    if not isinstance(text, str) or not text.strip():
        cut = f"it spent the {prompt.max_tokens} tokens of max_tokens before it wrote an answer"
        return Answer(refusal=cut if is_cut else "the model gave an empty answer", **common)
    warning = f"the answer to {prompt.query_id} was cut at its limit of tokens" if is_cut else None
    return Answer(text=text, warning=warning, **common)
