"""Counts of the server for Prometheus, at /metrics. Needs the extra `metrics`.

Contract. `Metrics` stands around the whole application, so refused requests count too. Labels have few values: the
status, and whether the path is /mcp. No principal, no session and no text is in a metric. Gauges are read when they are
asked for, so a call pays for one counter and one observation, some microseconds.
"""

import time
from collections.abc import Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 15, 60)


class Metrics:
    def __init__(self, path: str, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """`path`: whose requests are told apart from the rest. `gauges`: name -> what it is, and a function that reads
        it."""
        self._path = path
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "alc_http_requests", "Requests that have their reply.", ["path", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "alc_http_request_seconds",
            "From the headers of a request at /mcp to its whole reply; a call may wait for the next prompt.",
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        for name, (meaning, read) in gauges.items():
            Gauge(name, meaning, registry=self._registry).set_function(read)

    def around(self, app: ASGIApp) -> ASGIApp:
        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            began_s, status = time.perf_counter(), "none"  # none: its client left before a reply began

            async def note(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = str(message["status"])
                await send(message)

            is_call = scope.get("path") in (self._path, f"{self._path}/")
            try:
                await app(scope, receive, note)
            finally:
                self._requests.labels(self._path if is_call else "other", status).inc()
                if is_call:
                    self._seconds.observe(time.perf_counter() - began_s)

        return counted

    async def show(self, request: Request) -> Response:
        return Response(generate_latest(self._registry), headers={"content-type": CONTENT_TYPE_LATEST})
