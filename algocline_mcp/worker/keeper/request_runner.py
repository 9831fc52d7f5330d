"""Takes requests of clients through their life, as the table of `requests` says, and sends their replies.

Contract: a request is accepted or refused when it arrives; `process` is called after every event of the loop until the
request is answered. Everything that was recorded is flushed before a reply tells the state. Methods raise StorageBroken
where the disk's content is unknown; any other StorageFailed becomes the reply.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from algocline_mcp.errors import AlcError, ProtocolError, StorageBroken, StorageFailed
from algocline_mcp.protocol import messages
from algocline_mcp.protocol.messages import PoolRequest, PoolResponse, WorkerIdentity
from algocline_mcp.session.events import Answer, Cancel, Continue, HostEvent, Status
from algocline_mcp.session.records import Record
from algocline_mcp.session.results import computing_s
from algocline_mcp.session.state import Phase
from algocline_mcp.storage.clock import now_s
from algocline_mcp.worker.keeper import requests
from algocline_mcp.worker.keeper.connections import Client
from algocline_mcp.worker.keeper.requests import UNDECIDED, RequestEvent, RequestState
from algocline_mcp.worker.keeper.session_runner import SessionRunner
from algocline_mcp.worker.lowlevel.failpoints import fail_point

_NO_PROGRESS: Record = {"step": 0, "total": 0, "message": None}


class RequestRunner:
    def __init__(
        self,
        runner: SessionRunner,
        identity: WorkerIdentity,
        *,
        linger_s: float,
        watch_output: Callable[[Client], None],
    ) -> None:
        """`identity` stands in every response. `watch_output` is called after something was sent to a client."""
        self.runner = runner
        self.identity = identity
        self._client_s = runner.limits.client_s
        self._linger_s = linger_s
        self._watch_output = watch_output

    # ── arrival ───────────────────────────────────────────────────────────────────────────────────────────

    def accept(self, client: Client, line: bytes, *, is_busy: Callable[[], bool]) -> None:
        """Accepts one request, or refuses it and keeps the connection. `is_busy`: some client has a request."""
        try:
            request = PoolRequest.decode(line)
        except ProtocolError as exc:
            self.refuse(client, 0, exc)
            return
        sid = self.identity.sid
        if request.protocol != messages.PROTOCOL:
            sentence = f"this worker uses protocol {messages.PROTOCOL}, the request uses {request.protocol}"
            self.refuse(client, request.id, AlcError(sentence, code="protocol"))
        elif request.sid != sid:
            sentence = f"this worker holds session {sid}, not {request.sid}"
            self.refuse(client, request.id, AlcError(sentence, code="wrong_session"))
        elif request.mode == "make_room" and is_busy():
            sentence = f"session {sid} has a request just now: ask another session to make room"
            self.refuse(client, request.id, AlcError(sentence, code="busy"))
        else:
            client.accept(request, time.monotonic())
            self.runner.step_error = None  # every request tries again
            reported = self.runner.session.progress
            if client.is_waiting and (client.op != "run" or reported) and self.runner.session.phase is Phase.RUNNING:
                # The step began before this request, also that of a run whose engine was faster: how long ago, and
                # what the strategy has reported since.
                self._send_progress(client, reported or _NO_PROGRESS)

    # ── life ──────────────────────────────────────────────────────────────────────────────────────────────

    def process(self, client: Client) -> None:
        """Takes a request as far as the session allows. Starts the engines that it needs."""
        if client.state not in UNDECIDED:
            self._advance(client, self._rest_or_computing())
            return
        runner = self.runner
        is_engine_needed = requests.is_engine_needed(client.op, is_waiting=client.is_waiting)
        if is_engine_needed and runner.session.phase is not Phase.STUCK and runner.step_error is None:
            runner.start_engines()
        event = requests.observe(
            is_cancel=client.op == "shutdown",
            is_unreadable=runner.session.phase is Phase.NEW,
            is_fatal=runner.fatal is not None,
            is_step_failed=is_engine_needed and runner.step_error is not None,
            is_replaying=runner.is_replaying,
            is_computing=runner.computing > 0,
        )
        self._advance(client, event)

    def end(self, client: Client) -> None:
        """The time of a request is up: it is answered with the state as it is."""
        self._advance(client, RequestEvent.TIME_UP)

    def _rest_or_computing(self) -> RequestEvent:
        is_at_rest = not self.runner.computing and not self.runner.is_asleep
        return RequestEvent.AT_REST if is_at_rest else RequestEvent.COMPUTING

    def _advance(self, client: Client, event: RequestEvent) -> None:
        before, client.state = client.state, requests.TRANSITIONS[client.state, event]
        if client.state is before:
            return
        match client.state:
            case RequestState.DECIDING | RequestState.DECIDING_FINALLY:
                self._decide(client)
            case RequestState.RETRIED:
                self.runner.start_engines()
                if self.runner.step_error is not None:  # no event of the loop would come before the deadline
                    self.process(client)
            case RequestState.DECIDED | RequestState.PUT_OFF:
                self._advance(client, self._rest_or_computing())
            case RequestState.REPORTED | RequestState.ACCEPTED | RequestState.NOT_TAKEN:
                self._report(client)
            case RequestState.REFUSED:
                assert client.request is not None
                assert client.error is not None
                self.refuse(client, client.request.id, client.error)

    def _decide(self, client: Client) -> None:
        assert client.request is not None
        try:
            decision = self.runner.apply(_event(client.request))
            if decision.error is not None and decision.records:
                self.runner.flush()  # answers that did not fit are counted before the host corrects them
        except StorageBroken:
            raise
        except StorageFailed as exc:
            client.error = exc
            self._advance(client, RequestEvent.REFUSE)
            return
        client.refused = decision.refused
        if decision.is_retry:
            self._advance(client, RequestEvent.RETRY if client.is_waiting else RequestEvent.PUT_OFF)
        elif decision.error is not None:
            client.error = AlcError(decision.error.reason, code=decision.error.code)
            self._advance(client, RequestEvent.REFUSE)
        elif client.op == "continue" and decision.is_taken and not self.runner.computing:
            self._advance(client, RequestEvent.ACCEPT)
        else:
            self._advance(client, RequestEvent.DECIDE)

    # ── replies ───────────────────────────────────────────────────────────────────────────────────────────

    def _report(self, client: Client) -> None:
        """Answers with the state of the session, or with the error that stopped its step."""
        assert client.request is not None
        if self.runner.step_error is not None and self.runner.needs_engine:
            self.refuse(client, client.request.id, self.runner.step_error)
            return
        try:
            self.runner.flush()
        except StorageBroken:
            raise
        except StorageFailed as exc:
            self.refuse(client, client.request.id, exc)
            return
        fail_point("reply.flushed")
        feed_result = self.runner.feed_result(is_accepted=client.state is RequestState.ACCEPTED)
        data: Record = {"kind": "feed", "session_id": self.identity.sid, "feed_result": feed_result}
        if client.refused:
            data["refused"] = [{"query_id": item.query_id, "reason": item.reason} for item in client.refused]
        if client.op == "continue" and client.state is RequestState.NOT_TAKEN and "Stuck" not in feed_result:
            data["not_taken"] = True
        self._respond(client, PoolResponse(client.request.id, self.identity, data=data))

    def refuse(self, client: Client, request_id: int, error: AlcError) -> None:
        response = PoolResponse(request_id, self.identity, error=str(error), code=error.code)
        self._respond(client, response)

    def _respond(self, client: Client, response: PoolResponse) -> None:
        client.request = None
        client.send(response.encode())
        is_over = self.runner.session.phase is Phase.FINISHED and not client.has_output
        client.deadline = time.monotonic() + (self._linger_s if is_over else self._client_s)
        self._watch_output(client)

    def push_progress(self, client: Client, progress: Record) -> None:
        """Sends a progress report to a client that waits; a slow reader gets the next report instead."""
        if client.request is not None and not client.has_output:
            self._send_progress(client, progress)

    def _send_progress(self, client: Client, progress: Record) -> None:
        assert client.request is not None
        elapsed_s = computing_s(self.runner.session, now_s=now_s())
        data = {"kind": "progress", "session_id": self.identity.sid, "progress": progress, "elapsed_s": elapsed_s}
        client.send(PoolResponse(client.request.id, self.identity, data=data).encode())
        self._watch_output(client)


def _event(request: PoolRequest) -> HostEvent:
    if request.op == "continue":
        answers = tuple(_answer(raw) for raw in request.answers)
        return Continue(answers, now_s(), request.check)
    if request.op == "shutdown":
        return Cancel(now_s())
    return Status()


def _answer(raw: Mapping[str, Any]) -> Answer:
    return Answer(
        query_id=raw.get("query_id"),
        response=raw.get("response"),
        refuse=raw.get("refuse"),
        usage=raw.get("usage"),
        by=raw.get("by"),
    )
