"""Numbers of strategies. A bool is none, although Python makes it an int."""

import math
from typing import Any, TypeGuard

_SMALLEST, _LARGEST = -(1 << 63), (1 << 63) - 1  # whole numbers that both languages have


def is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: Any) -> TypeGuard[int | float]:
    return is_number(value) and math.isfinite(value)


def whole(value: Any) -> int | None:
    """The whole number of 64 bits that the value is, or None."""
    if not is_finite(value) or value != math.floor(value):
        return None
    return int(value) if _SMALLEST <= value <= _LARGEST else None
