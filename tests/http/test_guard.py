"""What is refused before the SDK sees a request."""

import json
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from algocline_mcp.config.http import HttpLimits, HttpSettings
from algocline_mcp.http.guard import Admission, Guard

pytestmark = pytest.mark.anyio

LOCAL = HttpSettings()
NAMED = HttpSettings(hosts=("alc.example.com",), origins=("https://app.example.com",))
HOSTS = [  # settings, whether the host is checked, Host, Origin -> status; 200: the request goes on
    (LOCAL, True, "127.0.0.1:8080", None, 200),
    (LOCAL, True, "LocalHost:8080", None, 200),
    (LOCAL, True, "localhost", None, 200),
    (LOCAL, True, "[::1]:8080", None, 200),
    (LOCAL, True, "[::1]", None, 200),
    (LOCAL, True, "localhost", "http://localhost:6274", 200),
    (LOCAL, True, "evil.example:8080", None, 421),
    (LOCAL, True, "evil.example", "http://evil.example", 421),
    (LOCAL, True, "localhost.evil.example", None, 421),
    (LOCAL, True, "127.0.0.1.evil.example", None, 421),
    (LOCAL, True, "localhost:8080:evil", None, 421),
    (LOCAL, True, "", None, 421),
    (LOCAL, True, None, None, 421),
    (LOCAL, True, "localhost", "http://evil.example", 403),
    (LOCAL, True, "localhost", "https://localhost.evil.example", 403),
    (LOCAL, True, "localhost", "null", 403),
    (LOCAL, True, "localhost", "", 403),
    (LOCAL, False, "anything.example", None, 200),
    (LOCAL, False, "anything.example", "http://localhost:3000", 403),
    (LOCAL, False, "anything.example", "https://anything.example", 403),
    (NAMED, False, "alc.example.com:443", "https://app.example.com", 200),
    (NAMED, False, "other.example.com", None, 421),
    (NAMED, True, "localhost:1", "http://app.example.com", 403),
]


PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
COSTLY = {  # a body that the SDK would decode for seconds on the event loop, or not at all -> a word of the refusal
    b'{"jsonrpc":"2.0","id":7,"method":"x","params":{%s}}' % b",".join(b'"%d":0' % n for n in range(60_000)): "values",
    b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":[%s0]}}' % (b"0," * 60_000): "values",
    b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":%s}}' % (b"[" * 300 + b"]" * 300): "levels deep",
    b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":%s}}' % (b"9" * 5000): "digits",
    b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":"%s"}}' % (b"x" * (7 << 20)): "texts",
    b'{"jsonrpc":"2.0","id":7,"method":"x","params":[]}': "give an object",
}


async def _pass(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def asked(app: Any, scope: dict[str, Any], parts: Sequence[bytes] = (PING,)) -> tuple[int, str]:
    """Status and message of one request whose body comes in `parts`."""
    sent: list[Message] = []
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    messages[-1]["more_body"] = False

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": "http", "method": "POST", "path": "/mcp", "headers": []} | scope, receive, send)
    body = sent[1]["body"]
    return sent[0]["status"], json.loads(body)["error"]["message"] if body else ""


@pytest.mark.parametrize(("settings", "checks_host", "host", "origin", "status"), HOSTS)
async def test_name_and_page_decide_whether_a_request_goes_on(
    settings: HttpSettings, checks_host: bool, host: str | None, origin: str | None, status: int
) -> None:
    pairs = (("host", host), ("origin", origin))
    headers = [(name.encode(), value.encode()) for name, value in pairs if value is not None]

    got, sentence = await asked(Guard(_pass, settings, checks_host=checks_host), {"headers": headers})

    assert got == status
    assert "example" not in sentence, "it repeats what a stranger sent"


async def test_two_hosts_are_refused() -> None:
    headers = [(b"host", b"localhost"), (b"host", b"localhost")]

    assert (await asked(Guard(_pass, LOCAL, checks_host=True), {"headers": headers}))[0] == 421


async def test_request_with_two_authorizations_is_refused_whichever_is_first() -> None:
    for tokens in ([b"Bearer anna", b"Bearer ben"], [b"Bearer ben", b"Bearer ben"]):
        headers = [(b"host", b"localhost"), *((b"authorization", token) for token in tokens)]

        got, sentence = await asked(Guard(_pass, LOCAL, checks_host=False), {"headers": headers})

        assert (got, sentence) == (400, "the request has several Authorization headers: send one")


async def test_health_is_told_to_whoever_asks_by_whatever_name() -> None:
    scope = {"path": "/readyz", "headers": [(b"host", b"10.0.0.7")]}

    assert (await asked(Guard(_pass, LOCAL, checks_host=True), scope))[0] == 200


async def test_body_over_its_limit_is_refused_however_it_is_sent() -> None:
    admission = Admission(_pass, HttpLimits(body_bytes=len(PING)))

    declared = await asked(admission, {"headers": [(b"content-length", b"%d" % (len(PING) + 1))]})
    chunked = await asked(admission, {}, [PING[:20], PING[20:] + b" ", b"never read"])
    whole = await asked(admission, {}, [PING[:20], PING[20:]])

    assert [status for status, _ in (declared, chunked, whole)] == [413, 413, 200]
    assert f"{len(PING)} bytes (ALC_HTTP_BODY_BYTES)" in declared[1]
    assert (admission.bodies_bytes, admission.under_way.total()) == (0, 0)


class Held:
    """Requests that are under way until `release`."""

    def __init__(self, **limits: int) -> None:
        self.admission = Admission(self._hold, HttpLimits(**limits))
        self.release = anyio.Event()
        self.count = 0
        self.is_full = anyio.Event()

    async def _hold(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.count -= 1
        if self.count == 0:
            self.is_full.set()
        await self.release.wait()
        await _pass(scope, receive, send)


class Named:
    def __init__(self, name: str) -> None:
        self.display_name = name


@pytest.mark.parametrize(
    ("limits", "others", "word"),
    [
        ({"requests": 2}, 503, "ALC_HTTP_REQUESTS)"),
        ({"requests_each": 2}, 200, "ALC_HTTP_REQUESTS_EACH)"),
        ({"bodies_bytes": 2 * len(PING)}, 503, "ALC_HTTP_BODIES_BYTES)"),
    ],
)
async def test_more_than_is_allowed_at_once_is_refused_until_there_is_room(
    limits: dict[str, int], others: int, word: str
) -> None:
    held, body = Held(**limits), [PING]
    held.count = 2
    anna, ben = {"user": Named("anna")}, {"user": Named("ben")}
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(asked, held.admission, anna, body)
        await held.is_full.wait()
        second = await asked(held.admission, anna, body)
        if others == 503:
            assert (await asked(held.admission, ben, body))[0] == 503
        held.release.set()
        if others == 200:
            assert (await asked(held.admission, ben, body))[0] == 200
    after = await asked(held.admission, anna, body)

    assert second[0] == 503
    assert word in second[1]
    assert after[0] == 200
    assert (held.admission.bodies_bytes, dict(held.admission.under_way)) == (0, {})


async def test_request_whose_client_leaves_in_the_middle_of_its_body_leaves_nothing() -> None:
    admission = Admission(_pass, HttpLimits())
    messages: list[Message] = [
        {"type": "http.request", "body": b"half", "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        return None

    await admission({"type": "http", "method": "POST", "path": "/mcp", "headers": []}, receive, send)

    assert (admission.bodies_bytes, dict(admission.under_way)) == (0, {})


@pytest.mark.parametrize(("body", "word"), COSTLY.items(), ids=COSTLY.values())
async def test_body_that_would_hold_up_the_others_is_refused_by_its_id(body: bytes, word: str) -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    await Admission(_pass, HttpLimits())(
        {"type": "http", "method": "POST", "path": "/mcp", "headers": []}, receive, send
    )

    reply = json.loads(sent[1]["body"])
    assert (sent[0]["status"], reply["id"]) == (400, 7)
    assert word in reply["error"]["message"]


async def test_text_that_is_not_unicode_is_repaired_as_over_stdio() -> None:
    got: list[Message] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        got.append(await receive())
        await _pass(scope, receive, send)

    half = rb'{"jsonrpc":"2.0","id":1,"method":"\ud800"}'
    status, _ = await asked(Admission(note, HttpLimits()), {}, [half])

    assert status == 200
    assert json.loads(got[0]["body"])["method"] == "\ufffd"
