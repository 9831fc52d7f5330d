"""Endpoint of models on the loopback: speaks the wire of OpenAI and of Anthropic, and misbehaves as a prompt says.

A prompt that holds one of MARKS fails the first time with what the mark says, and is answered the second time.
`[slow]` waits until `release` is set. `[refuse]`, `[long]` and `[empty]` say what kind of answer comes. Any other
prompt is answered by `answer`, which makes `<prompt>` of it unless a test gives another function. `requests` holds
every request, `served` the prompts that got a whole answer.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

MARKS = {"[429]": 429, "[500]": 500, "[529]": 529, "[cut]": 0, "[gone]": -1}
KEY = "sk-secret-0123456789abcdef"


class ModelEndpoint:
    def __init__(self, answer: Callable[[str], str] = "<{}>".format) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.served: list[str] = []
        self.release = threading.Event()
        self.is_refusing = False  # 401 for everything, with the key in its text
        self._seen: set[str] = set()
        self._lock = threading.Condition()
        endpoint = self

        class Handler(_Handler):
            model = endpoint

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def first_time(self, prompt: str) -> bool:
        with self._lock:
            is_first = prompt not in self._seen
            self._seen.add(prompt)
            return is_first

    def note(self, request: dict[str, Any] | None, served: str | None = None) -> None:
        with self._lock:
            if request is not None:
                self.requests.append(request)
            if served is not None:
                self.served.append(served)
            self._lock.notify_all()

    def wait_for(self, count: int, limit_s: float = 120.0) -> None:
        """Until so many requests have come."""
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.requests) >= count, limit_s), f"{len(self.requests)} requests"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: ModelEndpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        prompt = body["messages"][-1]["content"]
        key = self.headers.get("authorization", "").removeprefix("Bearer ") or self.headers.get("x-api-key", "")
        self.model.note({"path": self.path, "key": key, **body})
        if self.model.is_refusing:
            self._send(401, {"error": {"type": "authentication_error", "message": f"Incorrect API key: {key}"}})
            return
        mark = next((mark for mark in MARKS if mark in prompt), None)
        if mark is not None and self.model.first_time(prompt):
            self._fail(MARKS[mark])
            return
        if "[slow]" in prompt:
            self.model.release.wait(120)
        is_anthropic = self.path.endswith("/messages")
        text = "" if "[empty]" in prompt else self.model.answer(prompt)
        reply = _message(prompt, text) if is_anthropic else _completion(prompt, text)
        if self._send(200, reply):
            self.model.note(None, served=prompt)

    def _fail(self, status: int) -> None:
        if status > 0:
            self._send(status, {"error": {"type": "rate_limit_error", "message": "later"}}, retry_after="0.05")
            return
        if status == 0:  # the half of a reply
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"id": "x", "choices": [{"mess')
        self.close_connection = True

    def _send(self, status: int, value: dict[str, Any], retry_after: str | None = None) -> bool:
        content = json.dumps(value).encode()
        try:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            if retry_after is not None:
                self.send_header("retry-after", retry_after)
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()
        except OSError:  # the client is gone
            self.close_connection = True
            return False
        return True

    def log_message(self, format: str, *args: object) -> None:
        pass


def _completion(prompt: str, text: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if "[refuse]" in prompt:
        message = {"role": "assistant", "content": None, "refusal": "I cannot do this."}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "length" if "[long]" in prompt else "stop", "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107},
    }


def _message(prompt: str, text: str) -> dict[str, Any]:
    reason = "refusal" if "[refuse]" in prompt else "max_tokens" if "[long]" in prompt else "end_turn"
    content = [] if "[refuse]" in prompt else [{"type": "text", "text": text}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": content,
        "stop_reason": reason,
        "stop_details": {"type": "refusal", "explanation": "I cannot do this."} if "[refuse]" in prompt else None,
        "usage": {"input_tokens": 90, "cache_read_input_tokens": 10, "output_tokens": 7},
    }
