"""Hides the values that a strategy read from the environment: a journal keeps them only for its replay. Pure.

Contract: `value` and `text` return copies without the values of `ctx.env.*` and without the results of the host
function `env`. A value of at least `_SECRET_CHARS` characters is also hidden inside other texts. A shorter value
("1", "prod") occurs in other texts by chance, and is hidden only in its own field.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from algocline_mcp.session.records import Record
from algocline_mcp.session.state import Session, evolve

Pass = Callable[[Iterable[Record]], Iterable[Record]]  # passes each record on

HIDDEN = "[hidden]"
_SECRET_CHARS = 6


@dataclass(frozen=True, slots=True)
class Redaction:
    secrets: tuple[str, ...]  # longest first: a secret may be part of another

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Redaction":
        """The redaction of one journal. `records`: all of them, from the header on."""
        secrets = {text for text in _read(records) if len(text) >= _SECRET_CHARS}
        return cls(tuple(sorted(secrets, key=len, reverse=True)))

    def text(self, text: str) -> str:
        for secret in self.secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """A copy of a JSON value; keys stay."""
        if not self.secrets:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        return value

    def ctx(self, text: str) -> Any:
        """The ctx of a header, parsed, with every leaf of `env` hidden."""
        ctx = json.loads(text)
        if isinstance(ctx, dict) and "env" in ctx:
            ctx = ctx | {"env": _hidden(ctx["env"])}
        return self.value(ctx)

    def record(self, record: Record) -> Record:
        """An `env` effect without its result; any other record without the secrets."""
        if record["kind"] == "effect" and record.get("name") == "env":
            return {**record, "result": HIDDEN}
        if record["kind"] == "header":
            record = {**record, "ctx": json.dumps(self.ctx(record["ctx"]))}
        if record["kind"] == "fork":
            record = {**record, "ctx": self.ctx(json.dumps(record["ctx"]))}
        redacted: Record = self.value(record)
        return redacted


class _NotKept(dict[str, str]):
    """The digests of accepted answers, which nothing that only looks needs: 300 bytes for each answer."""

    def __setitem__(self, query_id: str, digest: str) -> None:
        pass


def folded(records: Iterable[Record], also: Pass = iter) -> tuple[Session, Redaction]:
    """What the records of one journal fold to, without `answered`, and their redaction, in one pass, with `also` in it:
    reading is what takes time. Raises IllegalRecord."""
    session = Session(answered=_NotKept())
    return session, Redaction.of(also(_evolved(session, records)))


def _evolved(session: Session, records: Iterable[Record]) -> Iterator[Record]:
    for record in records:
        evolve(session, record)
        yield record


def _read(records: Iterable[Record]) -> Iterator[str]:
    for record in records:
        if record["kind"] == "header":
            if '"env"' in record.get("ctx", ""):
                ctx = json.loads(record["ctx"])
                yield from _leaves(ctx.get("env") if isinstance(ctx, dict) else None)
            for name, _, outcome, _ in record.get("carried", {}).get("effects", ()):  # inherited of its parent
                if name == "env":
                    yield from _leaves(outcome.get("result"))
        elif record["kind"] == "fork":
            yield from _leaves(record["ctx"].get("env"))
        elif record["kind"] == "effect" and record["name"] == "env":
            yield from _leaves(record.get("result"))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)
    elif isinstance(value, dict | list):
        inner: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for item in inner:
            yield from _leaves(item)


def _hidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    return HIDDEN
