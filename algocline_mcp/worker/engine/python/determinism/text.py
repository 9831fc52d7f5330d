"""Texts without the addresses of objects."""

import re

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def clean(text: str) -> str:
    """`text` without the addresses of objects, as in <function f at 0x7f…>."""
    return _ADDRESS.sub(" at 0x0", text) if " at 0x" in text else text
