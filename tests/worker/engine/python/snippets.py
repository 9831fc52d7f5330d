"""Snippets of Python whose value an engine and plain CPython must agree on; both sides as programs of their own.

    python -m tests.worker.engine.python.snippets plain|engine < {"name": code, …}

`plain` runs each as CPython does. `engine` compiles it in each of the three forms and runs it as an engine would: after
`preload`, with the imports of a session, and where no file can be opened. Each prints {name: [value, prompts]}, the
value as its repr; `engine` a list of three. `alc.llm` is scripted: `answer_to`.
"""

import asyncio
import inspect
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

_LIMIT_S = 120  # of all snippets of one side; they take 3 s
FILES = ("snippets.txt", "alc_snippets.txt")
# A form -> how the code becomes its value.
FORMS = {
    "statements": "{}\nrepr(answer)",
    "function": "{}\nreturn repr(answer)",
    "run": "{}\ndef run(ctx):\n    return repr(answer)",
}


def snippets_of(file: str) -> dict[str, str]:
    """Name -> code."""
    parts = (Path(__file__).parent / file).read_text().split("## ")[1:]
    return {name: code for part in parts for name, _, code in (part.rstrip("\n").partition("\n"),)}


def answer_to(prompt: str) -> str:
    """A digit to "rate …", else the prompt in brackets: the same in every process."""
    return str(sum(map(ord, prompt)) * 7 % 10) if prompt.startswith("rate") else f"<{prompt}>"


def played_by_python(side: str, codes: dict[str, str]) -> dict[str, Any]:
    """What this program prints."""
    program = [sys.executable, "-s", "-m", __name__, side]
    environ = os.environ | {"PYTHONHASHSEED": "0", "TZ": "UTC"}
    done = subprocess.run(
        program, input=json.dumps(codes), capture_output=True, text=True, env=environ, timeout=_LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def _scripted(prompts: list[str]) -> types.ModuleType:
    module = types.ModuleType("alc")

    def llm(prompt: str) -> str:
        prompts.append(prompt)
        return answer_to(prompt)

    module.__dict__["llm"] = llm
    return module


def _plain(code: str) -> list[Any]:
    prompts: list[str] = []
    module = sys.modules["strategy"] = types.ModuleType("strategy")
    module.__dict__["alc"] = _scripted(prompts)
    exec(compile(code, "strategy", "exec"), module.__dict__)
    return [repr(module.__dict__["answer"]), prompts]


def _in_engine(code: str, allowed: frozenset[str]) -> list[Any]:
    from algocline_mcp.python_source import compile_strategy
    from algocline_mcp.worker.engine.python.modules import Modules

    def ask(name: str) -> dict[str, Any]:
        raise RuntimeError(f"module '{name}' not found")

    prompts: list[str] = []
    modules = Modules(ask, allowed)
    modules.install()
    try:
        namespace = modules.entry("strategy", code)
        namespace.update(alc=_scripted(prompts), ctx={})
        value = compile_strategy(code, "strategy", is_entry=True).start(namespace)
        if inspect.iscoroutine(value):
            value = asyncio.run(value)
    finally:
        modules.remove()
    return [value, prompts]


def _refuse_files(event: str, args: tuple[Any, ...]) -> None:
    if event == "open":
        raise PermissionError(f"opened {args[0]}")


def main(side: str, codes: dict[str, str]) -> dict[str, Any]:
    if side == "plain":
        return {name: _plain(code) for name, code in codes.items()}
    from algocline_mcp.worker.engine.python.modules import preload

    allowed = preload()
    sys.addaudithook(_refuse_files)
    results: dict[str, Any] = {}
    for name, code in codes.items():
        results[name] = []
        for form in FORMS.values():
            try:
                results[name].append(_in_engine(form.replace("{}", code), allowed))
            except BaseException as exc:  # noqa: BLE001  one snippet must not hide the others
                results[name].append(repr(exc))
    return results


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
