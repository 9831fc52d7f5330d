"""OpenTelemetry spans of steps and queries. The SDK has one for each message of a host, so for each call of a tool.

    alc.step    from a request to the worker of a session to its next pause or its end, below the span of the call
    alc.query   from the moment at which a prompt was handed out to that at which its answer was accepted, below the
                span of the step that asked; of prompts that this server handed out itself

Contract. Nothing is imported, kept or measured where the process has no OpenTelemetry SDK: `step` then took 10 to 20 us
on a busy machine, of a step of 4 ms or more. Attributes are ids, kinds and counts, never a text of the session.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from algocline_mcp.errors import AlcError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    Asked = tuple[int, Span]

_SESSIONS = 1000  # whose open queries are known; of more, the spans of the oldest are lost


class Step:
    """A step that is traced. `end` is called with the result of the tool."""

    def __init__(self, tracer: "Tracer", span: "Span", key: str, answered: Sequence[str | None]) -> None:
        self._tracer = tracer
        self._span = span
        self._key = key
        self._answered = answered

    def end(self, result: Mapping[str, Any]) -> None:
        status = str(result.get("status"))
        queries = result.get("queries") or ([result] if "query_id" in result else [])
        self._span.set_attributes({"alc.status": status, "alc.queries": len(queries)})
        asked = _asked.pop(self._key, {})
        refused = {item.get("query_id") for item in result.get("refused", ())}
        if not result.get("not_taken"):
            for query_id in self._answered:
                if query_id not in refused:
                    self._end_query(asked, query_id)
        for query in queries:
            asked.setdefault(str(query["query_id"]), (time.time_ns(), self._span))
        if asked and status not in _ENDS:
            _asked[self._key] = asked
            if len(_asked) > _SESSIONS:
                del _asked[next(iter(_asked))]

    def _end_query(self, asked: "dict[str, Asked]", query_id: str | None) -> None:
        """`query_id` is None where the session had asked one prompt alone."""
        known = next(iter(asked), None) if query_id is None else query_id
        if known in asked:
            from opentelemetry.trace import set_span_in_context

            began_ns, span = asked.pop(known)
            attributes = {"alc.session": self._key.partition(".")[0], "alc.query": known}
            context = set_span_in_context(span)
            self._tracer.start_span("alc.query", context, attributes=attributes, start_time=began_ns).end()


_ENDS = ("completed", "cancelled", "error")
_asked: "dict[str, dict[str, Asked]]" = {}  # worker key -> query id -> when it was handed out, by which step


def tracer_of_process() -> "Tracer | None":
    """None where no SDK is configured. Whoever configures one has imported the API."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(provider := trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    tracer: Tracer = provider.get_tracer("algocline-mcp")
    return tracer


@contextmanager
def step(key: str, kind: str, answered: Sequence[str | None] = ()) -> Iterator[Step | None]:
    """A span around one request to the worker with this key. `kind`: of the request. `answered`: ids of the queries
    that it answers. Yields None where nothing is traced."""
    if (tracer := tracer_of_process()) is None:
        yield None
        return
    attributes = {"alc.session": key.partition(".")[0], "alc.request": kind}
    with tracer.start_as_current_span(
        "alc.step", attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield Step(tracer, span, key, answered)
        except AlcError as exc:
            span.set_attribute("error.type", exc.code)
            raise
