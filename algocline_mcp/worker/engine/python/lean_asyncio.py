"""Imports asyncio without the module ssl, which no strategy can use: 0.7 MiB and 15 ms of the start of a fork server.

Contract: imported before all else that imports asyncio, so by the runtime and first of all. A program that uses `alc`
outside of an engine does not import this module: its asyncio keeps TLS.
"""

import sys

if "asyncio" not in sys.modules and "ssl" not in sys.modules:
    # None makes an import fail at once, as the import system documents; typeshed knows modules only.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]
