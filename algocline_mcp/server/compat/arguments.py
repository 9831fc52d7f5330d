"""Argument types of upstream's tools. Pure."""

from typing import Annotated, Any

from pydantic import PlainValidator, WithJsonSchema


def names_of(value: Any) -> list[str]:
    """The names in a list, or in a text that separates them by commas."""
    names = value.split(",") if isinstance(value, str) else value or []
    return [str(name).strip() for name in names] if isinstance(names, list) else []


Names = Annotated[Any, PlainValidator(names_of), WithJsonSchema({"type": "array"})]
AnyValue = Annotated[Any, PlainValidator(lambda value: value), WithJsonSchema({})]
