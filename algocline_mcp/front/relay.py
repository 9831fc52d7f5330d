"""The decisions of the front: what becomes of each line of the host and of the server. Pure.

Contract. Events come in by the methods; lines go out in `to_host` and `to_server`, which the shell empties. Every
request of the host gets exactly one reply, unless the host cancels it, whatever servers end in between:

  question     (a request of the ResponseCache) is asked by the front under an id of its own, once of each server. The
               host is answered as soon as the answer is known, also where no server runs. Where a server has other
               prompts than the host was given, a host that has begun with `initialize` gets a notification
  other        is sent to a server that has said that it reads. If that server ends before it replied, the request is
               sent again where this is safe (`is_repeatable`), else refused with a sentence that says what to look at.
               After DELIVERIES_MAX servers it is refused, whatever it is: it may be what ends them

A new server gets first what the host said to the old one: `initialize`, `notifications/initialized`, every question.

  state      meaning                                       leaves it by
  ABSENT     no process                                    `server_has_started`, when `is_server_wanted`
  STARTING   a process that does not read yet              its READY line → READY
  READY      it gets every line                            `retire`, or its OUTDATED line → RETIRING
  RETIRING   it gets nothing new; its replies are awaited  its end
  any of them ends by `server_has_ended` → ABSENT
"""

import json
from collections import deque
from enum import Enum

from algocline_mcp.front.resend import error_line, is_repeatable, refusal, reply_line, tool_of
from algocline_mcp.front.response_cache import QUESTIONS_MAX, ResponseCache
from algocline_mcp.transport.jsonrpc import INVALID_REQUEST, Message
from algocline_mcp.transport.lines import OUTDATED, PROMPTS_CHANGED, READY, split_reply

# A request that was sent to three servers and answered by none is refused.
DELIVERIES_MAX = 3
# Servers in a row that ended before they read anything; then what waits is refused. The next request tries again.
STARTS_MAX = 3

_REQUEST_BYTES = 500  # what a request takes beside its line
_INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'


class State(Enum):
    ABSENT = "absent"
    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"


class _Request:
    """A request that the host waits for."""

    __slots__ = ("deliveries", "is_repeatable", "is_sent", "line", "method", "question", "size", "tool")

    def __init__(self, message: Message, question: str | None) -> None:
        self.method: str = message.fields["method"]
        self.tool: str | None = tool_of(message.fields)
        self.is_repeatable = is_repeatable(message.fields)
        self.line = message.text.encode() + b"\n" if question is None else b""
        self.question = question
        self.size = len(self.line) + _REQUEST_BYTES
        self.deliveries = 0  # servers that it was sent to
        self.is_sent = False  # to the server of now


def _is_sent(request: _Request) -> bool:
    return request.is_sent


class Relay:
    def __init__(self, cache: ResponseCache, own_prefix: str) -> None:
        """`own_prefix`: of the ids of the front's own requests; no host uses it."""
        self.to_host: deque[bytes] = deque()
        self.to_server: deque[bytes] = deque()
        self.has_learned = False  # the cache has answers that its file has not
        self.state = State.ABSENT
        self._cache = cache
        self._own_prefix = own_prefix
        self._own_count = 0
        self._requests: dict[int | str, _Request] = {}  # in the order of their arrival
        self._requests_bytes = 0
        self._questions: dict[str, str] = {}  # question -> line
        self._prompt_lists: set[str] = set()  # those of the questions that ask for the prompts
        self._initialize: str | None = None  # the question that opened the connection
        self._asked: dict[str, str] = {}  # own id -> question, of the server of now
        self._is_initialized = False
        self._failed_starts = 0

    @property
    def is_waiting(self) -> bool:
        """The host waits for a reply."""
        return bool(self._requests)

    @property
    def held_bytes(self) -> int:
        """What waits here for the server or for the host."""
        return self._requests_bytes + sum(map(len, self.to_host)) + sum(map(len, self.to_server))

    @property
    def is_server_wanted(self) -> bool:
        """A server has to be started."""
        return self.state is State.ABSENT and self.is_waiting

    @property
    def is_server_owing(self) -> bool:
        """A reply has to come from the server."""
        return bool(self._asked) or any(map(_is_sent, self._requests.values()))

    @property
    def is_server_done(self) -> bool:
        """The input of the server has to be closed: it retires, and owes no reply."""
        return self.state is State.RETIRING and not any(map(_is_sent, self._requests.values()))

    # ── events of the host ────────────────────────────────────────────────────────────────────────────────

    def from_host(self, message: Message) -> None:
        fields = message.fields
        if "method" not in fields:
            self._forward(message.text)  # a reply to a request of the server
        elif fields.get("id") is None:
            self._notification(message)
        elif fields["id"] in self._requests:
            reason = f"id {json.dumps(fields['id'])} is that of a request that has no reply yet: give each its own id"
            self.to_host.append(error_line(fields["id"], INVALID_REQUEST, reason))
        else:
            self._request(fields["id"], message)

    def _notification(self, message: Message) -> None:
        method = message.fields["method"]
        if method == "notifications/initialized":
            self._is_initialized = True
        if method == "notifications/cancelled":
            number = (message.fields.get("params") or {}).get("requestId")
            request = self._take(number) if isinstance(number, int | str) else None
            if request is None or not request.is_sent or request.question is not None:
                return
        self._forward(message.text)

    def _request(self, number: int | str, message: Message) -> None:
        question = self._cache.question(message.fields)
        if question is not None and len(self._questions) >= QUESTIONS_MAX:
            question = question if question in self._questions else None
        answer = None if question is None else self._cache.answers.get(question)
        request = _Request(message, question)
        if answer is None:
            self._requests[number] = request
            self._requests_bytes += request.size
        else:
            self.to_host.append(reply_line(number, answer))
        if question is not None:
            is_new = question not in self._questions
            self._questions.setdefault(question, message.text)
            if request.method == "initialize":
                self._initialize = question
            elif request.method == "prompts/list":
                self._prompt_lists.add(question)
            if self.state is State.READY and (is_new or answer is None):
                self._ask(question)
        elif self.state is State.READY:
            self._send(request)

    def ping(self) -> None:
        """Asks the server for a word, whatever it is."""
        if self.state in (State.READY, State.RETIRING):
            self.to_server.append(b'{"jsonrpc":"2.0","id":"%s","method":"ping"}\n' % self._own_id().encode())

    def _own_id(self) -> str:
        self._own_count += 1
        return f"{self._own_prefix}-{self._own_count}"

    def _take(self, number: int | str) -> _Request | None:
        request = self._requests.pop(number, None)
        if request is not None:
            self._requests_bytes -= request.size
        return request

    def _forward(self, line: str) -> None:
        if self.state in (State.READY, State.RETIRING):
            self.to_server.append(line.encode() + b"\n")

    def _send(self, request: _Request) -> None:
        request.is_sent = True
        request.deliveries += 1
        self.to_server.append(request.line)

    def _ask(self, question: str) -> None:
        for request in self._requests.values():
            if request.question == question and not request.is_sent:
                request.is_sent = True
                request.deliveries += 1
        if question not in self._asked.values():
            own = self._own_id()
            self._asked[own] = question
            fields = {**json.loads(self._questions[question]), "id": own}
            self.to_server.append(json.dumps(fields).encode() + b"\n")

    # ── events of the server ──────────────────────────────────────────────────────────────────────────────

    def server_has_started(self) -> None:
        self.state = State.STARTING

    def from_server(self, line: bytes) -> None:
        """`line` ends with a line feed."""
        if line == READY:
            self._is_ready()
        elif line.startswith(OUTDATED):
            self._is_outdated(json.loads(line)["params"]["id"])
        elif line == PROMPTS_CHANGED:
            self._ask_prompts_again()
        elif (reply := split_reply(line)) is None:  # a notification, or a request of the server
            self.to_host.append(line)
        else:
            number = json.loads(reply[0])
            if (question := self._asked.pop(number, None)) is not None:
                self._answer(question, reply[1].rstrip(b"\n"))
            elif (request := self._requests.get(number)) is not None and request.is_sent:
                self._take(number)  # of one that it handed back it may say that it was cancelled
                self.to_host.append(line)

    def _is_ready(self) -> None:
        self.state, self._failed_starts = State.READY, 0
        if self._initialize is not None:
            self._ask(self._initialize)
        if self._is_initialized:
            self.to_server.append(_INITIALIZED)
        for question in self._questions:
            self._ask(question)
        for request in self._requests.values():
            if request.question is None:
                self._send(request)

    def _is_outdated(self, number: int | str) -> None:
        """The server has not carried the request out: the next one, of the program on disk, will."""
        self.retire()
        if (request := self._requests.get(number)) is not None:
            request.is_sent = False

    def _ask_prompts_again(self) -> None:
        """An answer that is under way may be the old one: the host gets that of the new question."""
        for own in [own for own, question in self._asked.items() if question in self._prompt_lists]:
            del self._asked[own]
        for question in self._prompt_lists:
            self._ask(question)

    def _answer(self, question: str, answer: bytes) -> None:
        was_known = question in self._cache.answers
        is_other = self._cache.learn(question, answer)
        self.has_learned |= is_other
        if is_other and was_known and question in self._prompt_lists and self._initialize is not None:
            self.to_host.append(PROMPTS_CHANGED)  # a host without `initialize` would have to subscribe to it
        for number in [number for number, request in self._requests.items() if request.question == question]:
            self._take(number)
            self.to_host.append(reply_line(number, answer))

    def retire(self) -> None:
        """The server gets nothing new. It ends when it has replied to what it got."""
        if self.state is State.READY:
            self.state = State.RETIRING

    def server_has_ended(self, how: str) -> None:
        """`how`: for the sentence that the host gets, as "killed by signal 9"."""
        if self.state is State.STARTING:
            self._failed_starts += 1
        self.state = State.ABSENT
        self.to_server.clear()
        self._asked.clear()
        is_hopeless = self._failed_starts >= STARTS_MAX
        for number, request in [*self._requests.items()]:
            if is_hopeless or request.deliveries >= DELIVERIES_MAX or (request.is_sent and not request.is_repeatable):
                self._take(number)
                self.to_host.append(refusal(number, request.method, request.tool, request.deliveries, how))
            request.is_sent = False
        if is_hopeless:
            self._failed_starts = 0
