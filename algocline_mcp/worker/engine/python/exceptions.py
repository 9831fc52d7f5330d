"""Exceptions that alc.* raises in a strategy."""


class Error(RuntimeError):
    """Everything that alc.* raises: what the keeper refused, and what a function cannot do with its arguments."""


class Refused(Error):
    """The host refused a prompt. `reason`: what it said."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class BudgetExceeded(Error):
    """ctx.budget permits no further prompt."""


for _kind in (Error, Refused, BudgetExceeded):
    _kind.__module__ = "alc"  # as a strategy knows it, and as its errors show it


def of_keeper(sentence: str) -> Error:
    """The exception for a sentence of the keeper."""
    return (BudgetExceeded if sentence.startswith("budget_exceeded:") else Error)(sentence)
