"""Counts of a session's prompts and answers: `stats.auto` of a result, in upstream's names and units. Pure.

Tokens are estimated unless the host reports them in `usage`. A sum that mixes both counts as estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Usage:
    """`chars` are bytes of UTF-8, as upstream counts them."""

    calls: int = 0
    pauses: int = 0
    rounds: int = 0
    prompt_chars: int = 0
    response_chars: int = 0
    prompt_tokens: int = 0
    response_tokens: int = 0
    prompts_provided: int = 0
    responses_provided: int = 0

    def ask(self, query: Mapping[str, Any]) -> None:
        self.calls += 1
        self.prompt_chars += byte_size(query["prompt"]) + byte_size(query["system"] or "")
        self.prompt_tokens += _prompt_tokens(query)

    def answer(self, query: Mapping[str, Any], item: Mapping[str, Any]) -> None:
        text, usage = item.get("response", ""), item.get("usage") or {}
        self.response_chars += byte_size(text)
        if "prompt_tokens" in usage:
            self.prompt_tokens += usage["prompt_tokens"] - _prompt_tokens(query)
            self.prompts_provided += 1
        if "completion_tokens" in usage:
            self.responses_provided += 1
        self.response_tokens += usage.get("completion_tokens", estimate_tokens(text))

    def stats(self, *, elapsed_s: float) -> dict[str, Any]:
        prompt, response = self._source(self.prompts_provided), self._source(self.responses_provided)
        total = "estimated" if "estimated" in (prompt, response) else prompt
        return {
            "elapsed_ms": max(0, round(elapsed_s * 1000)),
            "llm_calls": self.calls,
            "pauses": self.pauses,
            "rounds": self.rounds,
            "total_prompt_chars": self.prompt_chars,
            "total_response_chars": self.response_chars,
            "prompt_tokens": {"tokens": self.prompt_tokens, "source": prompt},
            "response_tokens": {"tokens": self.response_tokens, "source": response},
            "total_tokens": {"tokens": self.prompt_tokens + self.response_tokens, "source": total},
        }

    def _source(self, provided: int) -> str:
        if not self.calls:
            return "definite"
        return "provided" if provided == self.calls else "estimated"


def estimate_tokens(text: str) -> int:
    """Upstream's rule: a quarter of the ASCII characters plus two thirds of the others, each rounded up."""
    other = 0 if text.isascii() else sum(not char.isascii() for char in text)
    return -(-(len(text) - other) // 4) + -(-2 * other // 3)


def byte_size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def _prompt_tokens(query: Mapping[str, Any]) -> int:
    """The system prompt is estimated apart and added."""
    return estimate_tokens(query["prompt"]) + estimate_tokens(query["system"] or "")
