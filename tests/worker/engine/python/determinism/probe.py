"""Runs all sources in a process that was forked as engines are, and prints JSON: name -> text.

argv: file of the sources, seed, number of forks and of objects that came before, `measured` or `plain`."""

import json
import os
import runpy
import sys
import textwrap
from typing import Any


def main(path: str, seed: str, history: str, mode: str) -> None:
    sources: dict[str, str] = runpy.run_path(path)["SOURCES"]
    activate = _plain if mode == "plain" else _prepare()
    leftover: list[object] = [[] for _ in range(int(history) * 37)]
    for _ in range(int(history)):
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    if (pid := os.fork()) == 0:
        activate(int(seed))
        sys.stdout.write(json.dumps({name: _text(body, mode) for name, body in sources.items()}))
        sys.stdout.flush()
        os._exit(len(leftover) % 1)
    os.waitpid(pid, 0)


def _plain(_seed: int) -> None:
    pass


def _prepare() -> Any:
    from algocline_mcp.worker.engine import process
    from algocline_mcp.worker.engine.python import determinism

    determinism.install()
    now_s = [1_700_000_000.0]

    def clock() -> float:
        now_s[0] = round(now_s[0] + 0.001, 3)
        return now_s[0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds

    def activate(seed: int) -> None:
        process._set_zone(0)
        determinism.activate(seed, clock, sleep)

    return activate


def _text(body: str, mode: str) -> str:
    namespace: dict[str, Any] = {"__name__": "strategy"}
    try:
        exec(compile(f"def probe():\n{textwrap.indent(body, '    ')}", "strategy", "exec"), namespace)
        text = str(namespace["probe"]())
    except Exception as exc:  # noqa: BLE001  shown in the comparison
        return f"{type(exc).__name__}: {exc}"
    if mode == "plain":
        return text
    from algocline_mcp.worker.engine.python.determinism import clean

    return clean(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
