"""Arguments that a host sends for *not given*.

Contract, pure. Hosts fill in every argument that a schema lists: null, "", "null", an empty list or an empty object
stand for an optional argument that the model has left out. `given` removes these, so that each default is written once,
in the signature of the tool. A required argument stays as it is and is checked by its tool.

An argument marked VERBATIM holds an answer: "null", [] and {} are answers, and only null and blank text are absent.
"""

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

VERBATIM = "verbatim"  # in the metadata of an annotation


def is_blank(value: Any) -> bool:
    """Null or text without a letter: absent, whatever the argument holds."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_absent(value: Any) -> bool:
    return is_blank(value) or value in ([], {}) or (isinstance(value, str) and value.strip() in ("null", "[]", "{}"))


def given(fields: Mapping[str, FieldInfo], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` of the tool with these `fields`, without those that stand for *not given*."""
    return {name: value for name, value in arguments.items() if not _is_left_out(fields.get(name), value)}


def _is_left_out(field: FieldInfo | None, value: Any) -> bool:
    if field is None or field.is_required():
        return False
    return is_blank(value) if VERBATIM in field.metadata else is_absent(value)
