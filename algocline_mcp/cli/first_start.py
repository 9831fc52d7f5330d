"""The first start of the server by a host, made as fast as every later one: its replies are saved beforehand.

Contract: `save_replies` starts the server as a host does, once for each protocol version whose replies are missing in
the cache of replies (2 s each, at most START_S). Failure costs the first start its speed and nothing else.
"""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from algocline_mcp.cli.hosts import Entry
from algocline_mcp.front.response_cache import CacheFile, ResponseCache

PROTOCOLS = ("2025-06-18", "2025-11-25")
"""What hosts ask for in `initialize`."""

LISTS = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")

START_S = 20.0


def save_replies(entry: Entry, environ: Mapping[str, str]) -> bool:
    """Returns whether the next start of `entry` finds the replies to a host's first requests."""
    kept = {name: value for name, value in environ.items() if not name.startswith("ALC_")}
    environ = {**kept, **(entry.env or {})}  # the replies depend on the settings, and a host passes these alone
    for protocol in PROTOCOLS:
        if not _is_saved(protocol, environ):
            _start(entry, protocol, environ)
    return all(_is_saved(protocol, environ) for protocol in PROTOCOLS)


def _is_saved(protocol: str, environ: Mapping[str, str]) -> bool:
    cache = ResponseCache(CacheFile(environ).load())
    return all(cache.question(json.loads(line)) in cache.answers for line in _questions(protocol))


def _start(entry: Entry, protocol: str, environ: Mapping[str, str]) -> None:
    """Asks the server everything at once: at the end of its input it answers what is open, and ends."""
    initialized = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
    first, *others = _questions(protocol)
    lines = b"\n".join([first, initialized, *others, b""])
    try:
        subprocess.run(entry.words, input=lines, capture_output=True, timeout=START_S, env=dict(environ), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return


def _questions(protocol: str) -> list[bytes]:
    client = {"protocolVersion": protocol, "capabilities": {}, "clientInfo": {"name": "alc", "version": "1"}}
    requests: list[dict[str, Any]] = [{"method": "initialize", "params": client}]
    requests += [{"method": method} for method in LISTS]
    return [json.dumps({"jsonrpc": "2.0", "id": n, **request}).encode() for n, request in enumerate(requests)]
