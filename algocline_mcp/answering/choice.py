"""Chooses who answers by a text such as `openai:gpt-5`, and reads the prices of models."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algocline_mcp.answering.command import Command
from algocline_mcp.answering.correction import Correcting
from algocline_mcp.answering.model import ModelName, Price
from algocline_mcp.answering.prompts import Answerer
from algocline_mcp.errors import Refused

FORMS = "openai:NAME, anthropic:NAME or exec:CMD"
VENDORS = {"openai": "OPENAI", "anthropic": "ANTHROPIC"}  # with the beginning of their variables
_PRICE_FORM = '{"NAME": {"input": 1.25, "output": 10}}, in US dollars per million tokens'
Prices = Mapping[str, Price]


def answerer_of(
    spec: str, environ: Mapping[str, str], *, base_url: str | None = None, prices: Prices | None = None
) -> Answerer:
    """`base_url`: instead of OPENAI_BASE_URL or ANTHROPIC_BASE_URL, and of the vendor's own.

    Raises Refused for another form, without a key, and where the client of the vendor is not installed."""
    kind, _, name = spec.partition(":")
    if kind == "exec" and name.strip():
        return Correcting(Command(name))
    if kind not in VENDORS or not name.strip():
        raise Refused(f"{spec.split(' ')[0]!r} does not say who answers: write {FORMS}")
    variable = f"{VENDORS[kind]}_API_KEY"
    price = (prices or {}).get(spec) or (prices or {}).get(name)
    model = ModelName(kind, name, variable, _key(variable, environ), price)
    address = base_url or environ.get(f"{VENDORS[kind]}_BASE_URL") or None
    if kind == "openai":
        from algocline_mcp.answering.openai_model import OpenAIModel

        return Correcting(OpenAIModel(model, address))
    from algocline_mcp.answering.anthropic_model import AnthropicModel

    return Correcting(AnthropicModel(model, address))


def _key(variable: str, environ: Mapping[str, str]) -> str | None:
    """Without the line feed of a file. Raises Refused for what no header of a request can hold, such as a placeholder
    of a manual; the clients end with an error about a codec there."""
    key = environ.get(variable, "").strip()
    if not all("!" <= char <= "~" for char in key):
        raise Refused(f"{variable} holds a character that no key has: set it to the key itself")
    return key or None


def read_prices(path: str) -> dict[str, Price]:
    """Prices by the name of the model, with or without its vendor, from JSON or TOML. Raises Refused."""
    try:
        text = Path(path).read_text("utf-8-sig")
        content: Any = tomllib.loads(text) if path.endswith(".toml") else json.loads(text)
        return {name: Price(_dollars(price["input"]), _dollars(price["output"])) for name, price in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as exc:
        reason = getattr(exc, "strerror", None) or (f"{exc} is missing" if isinstance(exc, KeyError) else exc)
        raise Refused(f"{path} cannot be used for --prices: {reason}; give {_PRICE_FORM}") from exc


def _dollars(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is not a price")
    return float(value)
