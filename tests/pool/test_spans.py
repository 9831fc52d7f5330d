"""Spans of steps and queries, with a provider that records them, and without one."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, Tracer, TracerProvider, get_current_span

from algocline_mcp.errors import Refused
from algocline_mcp.pool import spans
from algocline_mcp.pool.dispatch import status_via_pool
from tests.rig.rig import ASK_TWICE, Rig, run, say

pytestmark = pytest.mark.anyio


class Recorded(NonRecordingSpan):
    def __init__(self, number: int, name: str, parent: int, attributes: Any, start_time: int | None) -> None:
        super().__init__(SpanContext(1, number, is_remote=False))
        self.name = name
        self.parent = parent
        self.attributes = dict(attributes or {})
        self.start_time = start_time
        self.has_ended = False

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value

    def set_attributes(self, attributes: Any) -> None:
        self.attributes |= attributes

    def end(self, end_time: int | None = None) -> None:
        self.has_ended = True


class Recorder(TracerProvider, Tracer):
    def __init__(self) -> None:
        self.spans: list[Recorded] = []

    def get_tracer(self, *args: Any, **options: Any) -> Tracer:
        return self

    def start_span(
        self, name: str, context: Context | None = None, *args: Any, attributes: Any = None, **options: Any
    ) -> Span:
        parent = get_current_span(context).get_span_context().span_id
        span = Recorded(len(self.spans) + 1, name, parent, attributes, options.get("start_time"))
        self.spans.append(span)
        return span

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, **options: Any) -> Iterator[Any]:  # type: ignore[override]  # less options
        span = self.start_span(name, attributes=options.get("attributes"))
        token = attach(trace.set_span_in_context(span))
        try:
            yield span
        finally:
            detach(token)
            span.end()

    def named(self, name: str) -> Sequence[Recorded]:
        return [span for span in self.spans if span.name == name]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: recorder)
    return recorder


async def test_each_step_and_each_answered_query_is_a_span_without_texts(rig: Rig, recorder: Recorder) -> None:
    async with rig.pool() as pool:
        sid = (await run(pool, ASK_TWICE)).session_id
        await status_via_pool(pool, sid)
        await say(pool, sid, "q-0", "secret")
        with pytest.raises(Refused):
            await say(pool, sid, "q-7", "unknown")
        await say(pool, sid, "q-1", "secret")

    steps, queries = recorder.named("alc.step"), recorder.named("alc.query")
    assert [span.attributes.get("alc.status") for span in steps] == [
        "needs_response", "needs_response", "needs_response", None, "completed",
    ]  # fmt: skip
    assert steps[3].attributes["error.type"]
    assert [span.attributes for span in queries] == [{"alc.session": sid, "alc.query": id} for id in ("q-0", "q-1")]
    asked_by = [steps[number].get_span_context().span_id for number in (0, 2)]
    assert [span.parent for span in queries] == asked_by
    assert all(span.has_ended for span in recorder.spans)
    assert all(span.start_time for span in queries)
    assert "secret" not in str([span.attributes for span in recorder.spans])
    assert not spans._asked


async def test_sessions_whose_open_queries_are_known_are_bounded(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "_SESSIONS", 2)
    for number in range(5):
        with spans.step(f"p-{number}", "run") as step:
            assert step is not None
            step.end({"status": "needs_response", "query_id": "q-0"})

    assert list(spans._asked) == ["p-3", "p-4"]
    spans._asked.clear()


def test_nothing_is_kept_where_no_sdk_is_configured() -> None:
    with spans.step("p-1", "run") as step:
        assert step is None

    assert not spans._asked
