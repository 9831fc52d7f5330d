"""What the clients of models share: time limits and retries, prices, and the sentence about a request that failed.

The clients retry by themselves what may pass (408, 409, 429, 5xx, a connection that fails or is cut), with back-off
from 0.5 to 8 s, or as `Retry-After` says. A request that still fails leaves its prompt open: nothing is lost.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from algocline_mcp.answering.prompts import NoAnswer, Prompt
from algocline_mcp.errors import Refused

RETRIES = 4  # of one request: with back-off alone they take 8 s
REQUEST_S = 600.0  # one request without a byte of its reply; a model that thinks sends none for minutes
ANSWER_S = 1800.0  # all requests for one prompt, with the pauses between them
MAX_TOKENS = 8192  # where the strategy names no limit, and the API wants one
_SHOWN = 300  # characters of what an endpoint says about an error
_KEY = re.compile(r"\b(?:sk|key|Bearer)[-_ ][A-Za-z0-9*_.-]{6,}")
_MILLION = 1_000_000
_CURES = {
    400: "it does not take this prompt or one of its options",
    401: "{variable} is not a key that it knows",
    403: "{variable} may not use this model",
    404: "check the name of the model, and --base-url",
    429: "its rate limit or your quota is reached: go on later, with fewer --jobs",
}


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def of(self, usage: Mapping[str, int]) -> float:
        tokens = usage.get("prompt_tokens", 0) * self.input + usage.get("completion_tokens", 0) * self.output
        return tokens / _MILLION


@dataclass(frozen=True, slots=True)
class ModelName:
    """`vendor:name` as the user wrote it, the environment variable with its key, and its price if it is known."""

    vendor: str
    name: str
    key_variable: str
    key: str | None
    price: Price | None = None

    def __str__(self) -> str:
        return f"{self.vendor}:{self.name}"

    def cost(self, usage: Mapping[str, int] | None) -> float | None:
        return self.price.of(usage) if self.price is not None and usage else None

    def no_answer(self, prompt: Prompt, exc: BaseException) -> NoAnswer:
        """The sentence about a request that failed. It never has the key, whatever the endpoint has written."""
        status = getattr(exc, "status_code", None)
        body = getattr(exc, "body", None)
        inner = body.get("error", body) if isinstance(body, Mapping) else None
        said = inner.get("message") if isinstance(inner, Mapping) else None
        text = " ".join(str(said or getattr(exc, "message", None) or exc or type(exc).__name__).split())
        if self.key:
            text = text.replace(self.key, "…")
        reason = f"{status}: " if status else ""
        cure = _CURES.get(status, "") if isinstance(status, int) else ""
        cure = f"; {cure.format(variable=self.key_variable)}" if cure else ""
        return NoAnswer(f"{self} gave no answer to {prompt.query_id}: {reason}{_KEY.sub('…', text)[:_SHOWN]}{cure}")


def no_client(package: str, exc: ImportError) -> Refused:
    sentence = "pip install 'algocline-mcp[models]' (in the environment of alc) installs it"
    return Refused(f"the package {package} is missing or does not work here ({exc}): {sentence}", code="no_client")


def chosen(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The options that the API has. The strategy chooses no model and no address: they cost the user's money."""
    return {name: options[name] for name in names if options.get(name) is not None}


def schema_of(prompt: Prompt) -> dict[str, Any] | None:
    """Of an object: the endpoints take no other, and an answer such as a number is asked for as a marked last line."""
    schema = prompt.options.get("schema")
    return dict(schema) if isinstance(schema, Mapping) and schema.get("type") == "object" else None
