"""Odd requests over HTTP, made by a seed: no JSON, no JSON-RPC, no MCP, odd headers, odd framing."""

import json
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

MODERN, LEGACY = "2026-07-28", "2025-06-18"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "mcp", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
ODD: list[Any] = [
    None, True, False, 0, -1, 1.5, 10**30, -(10**400), 1e308, "", " ", "x", "\0", "\ud800", "é\u2028",
    "../../etc/passwd", "p-1", "p-18f0000000000000-0123456789abcdef", "x" * 5000, [], [[]], [None], {},
    {"": ""}, {"a": {"b": [1, {}]}}, {"__proto__": 1}, float("nan"), float("inf"),
]  # fmt: skip
METHODS = [
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "resources/read", "resources/templates/list",
    "prompts/list", "prompts/get", "completion/complete", "logging/setLevel", "subscriptions/listen", "server/discover",
    "notifications/initialized", "notifications/cancelled", "notifications/progress", "resources/subscribe",
    "sampling/createMessage", "roots/list", "elicitation/create", "tasks/get", "rpc.discover", "", "é", "a/" * 300,
]  # fmt: skip
TOOLS = ["alc_run", "alc_continue", "alc_status", "alc_stop", "alc_branch", "alc_catalog", "alc_package", "", "nothing"]
ARGUMENTS = [
    "code", "strategy", "task", "ctx", "opts", "language", "session_id", "response", "responses", "query_id", "wait_s",
    "view", "limit", "cursor", "mode", "at", "n", "dry_run", "kind", "name", "query", "finished", "usage", "nothing",
    "",
]  # fmt: skip
HEADERS: list[tuple[str, str]] = [
    ("mcp-protocol-version", value) for value in (MODERN, LEGACY, "2024-11-05", "1", "", "9999-99-99", "é", "x" * 3000)
] + [
    ("mcp-session-id", "x"), ("mcp-session-id", ""), ("mcp-method", "ping"), ("mcp-name", "alc_run"),
    ("mcp-param-code", "x"), ("last-event-id", "1"), ("content-type", "text/plain"), ("content-type", ""),
    ("content-type", "application/json; charset=utf-16"), ("content-encoding", "gzip"), ("accept", "*/*"),
    ("accept", "text/html"), ("accept", ""), ("authorization", "Bearer"), ("authorization", "Basic x"),
    ("origin", "http://localhost:1"), ("origin", "null"), ("host", ""), ("host", "localhost"),
    ("expect", "100-continue"),
    ("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c"), ("range", "bytes=0-1"), ("te", "trailers"),
    ("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1"), ("cookie", "a=b; " * 500), ("traceparent", "00-x-y-z"),
    ("traceparent", f"00-{'1' * 32}-{'2' * 16}-01"), ("x-odd", "\u00ff" * 40), ("if-match", "*"), ("trailer", "x"),
]  # fmt: skip
VERBS = ["POST"] * 20 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE", "CONNECT", "X"]
PATHS = ["/mcp"] * 20 + [
    "/mcp/",
    "/",
    "/metrics",
    "/healthz",
    "/readyz",
    "//mcp",
    "/mcp?x=1",
    "/%00",
    "/mcp/../mcp",
    "*",
]


def requests(seed: int, count: int) -> Iterator[bytes]:
    """Whole requests, each for a connection of its own. The same for the same seed."""
    rng = Random(seed)
    for _ in range(count):
        yield _request(rng)


def _request(rng: Random) -> bytes:
    body = _body(rng)
    version = rng.choice((MODERN, LEGACY))
    headers = [
        ("host", "localhost"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ]
    headers += [("mcp-protocol-version", version)] if rng.random() < 0.8 else []
    for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 5))):
        headers.insert(rng.randrange(len(headers) + 1), rng.choice(HEADERS))
    if version == MODERN and rng.random() < 0.8:
        headers += _routing(body)
    if rng.random() < 0.1:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        headers.append(("transfer-encoding", "chunked"))
    else:
        headers.append(("content-length", str(len(body))))
    lines = [f"{rng.choice(VERBS)} {rng.choice(PATHS)} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    lines.append("connection: close")
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


def _routing(body: bytes) -> list[tuple[str, str]]:
    """Headers of the modern era that fit the body, so that the SDK reads on."""
    try:
        message = json.loads(body)
        method, params = str(message["method"]), message.get("params") or {}
        name = params.get("name") or params.get("uri")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []
    named = [("mcp-method", method)] + ([("mcp-name", name)] if isinstance(name, str) else [])
    return [(header, value) for header, value in named if value.isascii() and value.isprintable() and len(value) < 500]


def _body(rng: Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.choice((0, 1, 10, 1000)))
    if kind < 0.2:
        return _dump(rng.choice(ODD))
    message = _message(rng)
    if kind < 0.25:
        return _dump([message, _message(rng)])
    if kind < 0.3:
        depth = rng.choice((10, 100, 194, 196, 1000, 100_000))
        return b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}' % (b'{"a":' * depth + b"1" + b"}" * depth)
    text = bytearray(_dump(message))
    if kind < 0.4 and text:
        for _ in range(rng.choice((1, 2, 8))):
            position = rng.randrange(len(text))
            text[position : position + rng.choice((0, 1, 4))] = rng.randbytes(rng.choice((0, 1, 3)))
    if kind < 0.45:
        text = text[: rng.randrange(len(text) + 1)]
    return bytes(text)


def _message(rng: Random) -> dict[str, Any]:
    method = rng.choice(METHODS)
    message: dict[str, Any] = {
        "jsonrpc": "2.0",
        "id": rng.randrange(1000),
        "method": method,
        "params": _params(rng, method),
    }
    for _ in range(rng.choice((0, 0, 0, 1, 2))):
        name = rng.choice((*message, "extra", "result", "error"))
        if rng.random() < 0.3:
            message.pop(name, None)
        else:
            message[name] = rng.choice(ODD)
    return message


def _params(rng: Random, method: str) -> Any:
    if rng.random() < 0.1:
        return rng.choice(ODD)
    named: Mapping[str, Any] = {
        "tools/call": {"name": rng.choice(TOOLS), "arguments": _arguments(rng)},
        "resources/read": {
            "uri": rng.choice(("alc://sessions/p-1/history", "alc://help/asking", "file:///etc/passwd", "x"))
        },
        "prompts/get": {"name": rng.choice(("refine", "nothing")), "arguments": {"task": rng.choice(ODD)}},
        "initialize": {"protocolVersion": rng.choice((LEGACY, "x")), "capabilities": {}, "clientInfo": {"name": "mcp"}},
        "completion/complete": {
            "ref": {"type": "ref/resource", "uri": "alc://sessions/{session_id}/{view}"},
            "argument": {"name": rng.choice(("session_id", "view", "x")), "value": rng.choice(("", "p-", "x"))},
        },
    }
    params = dict(named.get(method, {}))
    if rng.random() < 0.7:
        params["_meta"] = META if rng.random() < 0.8 else rng.choice(ODD)
    if rng.random() < 0.2:
        params[rng.choice((*params, "cursor", "extra"))] = rng.choice(ODD)
    return params


def _arguments(rng: Random) -> Any:
    if rng.random() < 0.1:
        return rng.choice(ODD)
    return {rng.choice(ARGUMENTS): rng.choice((*ODD, "return 1")) for _ in range(rng.choice((0, 1, 1, 2, 4)))}


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True).encode()
