"""Who calls: the owner of what a call begins, and of all that it may see.

Contract: `caller()` is "" for the user of the home, over stdio and at the terminal, and the name of a principal over
HTTP. `calling_as` sets it for a request: tasks and threads that are started within it inherit it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

USER = ""  # whose home it is

_caller: ContextVar[str] = ContextVar("caller", default=USER)


def caller() -> str:
    return _caller.get()


@contextmanager
def calling_as(owner: str) -> Iterator[None]:
    token = _caller.set(owner)
    try:
        yield
    finally:
        _caller.reset(token)
