"""The part of alc.* that all languages share: defaults, error texts, and functions that read values out of answers.

Contract: each language gets `texts` in its own words and `DEFAULTS` before the fork. A language calls the functions by
`perform(name, arguments)`, with JSON in and JSON out; a language in Python may call them directly. The functions are
pure and return the same on every Python: no journal records their results. They take at most half a second for a
megabyte of a hostile answer, and `perform` never raises.

Why Python behind one call, and not a copy in each language: an answer is read once. Measured, a call from Lua takes 6
to 12 us, where parse_score in Lua alone takes 0.2; a step of a session takes hundreds. The first call costs an engine
32 KiB of private memory, all functions together 112. What a strategy calls in a loop (random numbers, statistics, map,
vote) each language implements itself. This module imports nothing that the worker has not loaded already.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from algocline_mcp import package_inputs as inputs
from algocline_mcp import python_metadata
from algocline_mcp.answers.json_text import json_extract
from algocline_mcp.answers.numbers import parse_number, parse_score
from algocline_mcp.answers.schema import schema_form, schema_mismatch
from algocline_mcp.answers.verdicts import match_bool, match_enum
from algocline_mcp.wording import in_words

DEFAULTS: dict[str, Any] = {
    "max_tokens": 1024,
    "max_tokens_limit": 0xFFFFFFFF,
    "cache_entries": 256,
    "chains": 256,
    "chunk_size": 50,
    "enum_threshold": 0.7,
    "score": 5,
    "json_system": "Output ONLY valid JSON. No markdown fences, no explanation.",
}

# Templates with the conversions of printf, which Lua and Python share. In braces: a word that differs, see wording.py.
_TEXTS = {
    "batch.array": "alc.llm_batch: {an array} of items was expected and not %s",
    "batch.empty": "alc.llm_batch: empty items {array}",
    "batch.item": "alc.llm_batch: item %d is a %s and not {item}",
    "batch.refused": "alc.llm_batch refused: item %d: %s (alc.refused(answer) returns this reason and does not raise)",
    "option.near": "alc.llm: the option %s is not known, was %s meant? It was passed on to the host",
    "option.value": "alc.llm: the option %s is a %s and was left out: give a text, a boolean or a finite number",
    "option.max_tokens": "alc.llm: max_tokens is not a whole number from 0 to 2^32 - 1: the default 1024 was taken",
    "options.type": "alc.llm: the options are a %s and were left out: write alc.llm(prompt, {system = …})",
    "prompt": "%s: the prompt is missing, a string was expected and not %s",
    "refused": "alc.llm refused: %s",
    "argument": "%s: %s must be %s and not %s",
    "env.missing": "alc.env: %s is not set, or its name is not in ALC_ENV_ALLOW",
    "env.readonly": "alc.env is readonly",
    "eval.missing": "alc.eval: scenario is required",
    "eval.type": "alc.eval: scenario must be a string or {table}",
    "eval.strategy": "alc.eval: strategy must be a string package name",
    "eval.evalframe": (
        "alc.eval: evalframe not installed: put its folder below one of the library paths (ALC_PACKAGES_PATH), or "
        "install it with alc_package"
    ),
    "eval.scenario": (
        "alc.eval: could not resolve scenario '%s': neither a module nor a file in scenarios/ of the home has that name"
    ),
    "eval.load": "alc.eval: failed to load scenario '%s': %s",
    "eval.resolved": "alc.eval: scenario '%s' is a %s and not {a table}",
    "eval.grader": "alc.eval: unknown grader '%s'",
    "eval.case": "alc.eval: case #%d must have an 'input' field",
    "llm_json.bad": "alc.llm_json: no JSON in the answer (attempt %d): %s",
    "llm_json.repair": (
        "Your previous answer could not be read as JSON.\n\nPrevious answer:\n%s\n\nOriginal request:\n%s\n\n"
        "Answer the original request again, as one valid JSON value and nothing else."
    ),
    "llm_json.mismatch": "alc.llm_json: the JSON in the answer does not fit the schema (attempt %d): %s",
    "llm_json.schema": "alc.llm_json: the schema must be of type 'object' or 'array': other answers are read by alc.%s",
    "llm_json.again": (
        "Your previous answer does not have the form that was asked for: %s.\n\nPrevious answer:\n%s\n\n"
        "Original request:\n%s\n\nAnswer the original request again, as one valid JSON value and nothing else."
    ),
    "llm_safe.failed": "alc.llm_safe: %s",
    "parallel.items": "alc.parallel: items must be a non-empty {array}",
    "parallel.function": "alc.parallel: prompt_fn must be a function",
    "parallel.prompt": "alc.parallel: prompt_fn returned {table without .prompt} at index %d",
    "parallel.type": "alc.parallel: prompt_fn must return string or {table}, got %s at index %d",
    "parallel.asks": (
        "alc.parallel: prompt_fn asked prompts itself, one item after the other, and what it returned was asked, too: "
        "give alc.parallel the option chain = true where the function asks all prompts itself and returns a result"
    ),
    "parallel.chain": "alc.parallel: item %d is a %s and not a function: without prompt_fn, all items are functions",
    "parallel.chains": "alc.parallel: %d functions side by side, at most %d: run them in groups",
    "parallel.ended": "alc.parallel: another of these functions has failed, so nothing more is asked",
    "parallel.failed": "alc.parallel: function %d failed: %s",
    "parallel.mode": "alc.parallel: on_error must be 'fail', 'abort' or 'skip' and not %s",
    "parallel.option": (
        "alc.parallel: the option %s has no effect on functions that ask by themselves: give it to alc.llm; here are "
        "chain and on_error"
    ),
    "parallel.yield": "coroutine.yield outside of a coroutine",
    "name.key": "alc.%s: a key of %d bytes as JSON, at most %d: use a shorter one",
    "name.argument": "alc.%s: an argument of %d bytes, at most %d: use a shorter one",
    "phase": "alc.phase: the name of the phase is missing: give a short text",
    "progress": "alc.progress: %s must be a whole number of at least 0 and not %s",
    "json_decode": "alc.json_decode: a string was expected and not %s",
    "state.key": "alc.%s: a key is a string and not a %s",
    "state.missing": "alc.state.set_nx: the value is missing",
    "state.number": "alc.state.incr: %s must be a number and not %s",
    "state.function": "alc.state.update: a function was expected and not a %s",
    "state.changed": "alc.state.update: others changed %s %d times meanwhile: try again",
    "stats.key": "alc.stats.%s: a key is a string and not a %s",
    "stats.bytes": "alc.stats.record: %d bytes in all: at most %d, record less",
    "fork.strategies": "alc.fork: strategies must be a non-empty {array}",
    "fork.name": "%s: invalid strategy name '%s' (only alphanumeric and underscore allowed)",
    "fork.ctx": "%s: ctx must be {names as keys}",
    "fork.mode": "alc.fork: on_error must be 'skip', 'fail' or 'abort' and not %s",
    "fork.failed": "%s: strategy '%s' failed: %s",
    "pipe.strategies": "alc.pipe: strategies must be a non-empty {array}",
    "pipe.ctx": "alc.pipe: ctx must be {a table}",
    "pipe.mode": "alc.pipe: on_error must be 'abort', 'skip' or 'continue' and not %s",
    "pipe.load": "alc.pipe: failed to load strategy '%s': %s",
    "pipe.run": "alc.pipe: strategy '%s' must export run(ctx)",
    "pipe.type": "alc.pipe: strategy[%d] must be a string or function",
    "pipe.result": "alc.pipe: strategy '%s' must return {a table} (ctx)",
    "pipe.failed": "alc.pipe: strategy '%s' failed: %s",
    "tuning.prefix": "alc.tuning: ctx.%s is a %s and not {a table}: the defaults are used",
}


def texts(words: Mapping[str, str]) -> dict[str, str]:
    """The templates in the words of one language."""
    return {key: in_words(text, words) for key, text in _TEXTS.items()}


# Text --------------------------------------------------------------------------------------------------------


_CHUNKED_CHARS = 16 * 1024 * 1024  # of all chunks together


def chunk(text: str, mode: str, size: int, overlap: int) -> list[str]:
    """Pieces of `size` lines or characters; each begins with the last `overlap` of the previous piece.

    Raises ValueError where the overlaps would make the text many times as long.
    """
    if size <= 0 or not text:
        return []
    units = text if mode == "chars" else text.removesuffix("\n").split("\n")
    step = max(1, size - max(0, overlap))
    if len(text) * min(size, len(units)) > _CHUNKED_CHARS * step:
        raise ValueError(f"chunks that overlap by {overlap} of {size} are too long together: make overlap smaller")
    pieces = [units[at : at + size] for at in range(0, max(1, len(units) - (size - step)), step)]
    return [piece if isinstance(piece, str) else "\n".join(piece) for piece in pieces]


def fingerprint(text: str) -> str:
    """DJB2 (Bernstein) of the text in lower case and with single blanks, as eight hexadecimal digits."""
    value = 5381
    for byte in b" ".join(text.encode().lower().split()):
        value = (value * 33 + byte) & 0xFFFFFFFF
    return f"{value:08x}"


def package_meta(source: str) -> dict[str, Any]:
    """The dict `meta` of a package in Python, without running it."""
    return python_metadata.read(source).meta


def package_inputs(package: str, forms: Any, values: Any, names: list[str], is_child: bool) -> dict[str, Any]:
    """`{changes, warnings}` of ctx for a package, of which `values` are the declared ones and `names` all; or
    `{problem}`. An empty table of Lua may come as a list."""
    declared = inputs.forms_of(forms)
    given = dict.fromkeys(names) | (values if isinstance(values, dict) else {})
    try:
        changes = inputs.changes(package, declared, given)
    except inputs.InputError as exc:
        return {"problem": str(exc)}
    return {"changes": changes, "warnings": inputs.unknown(package, declared, given, is_near=is_child)}


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        *(parse_score, parse_number, match_bool, match_enum, json_extract, schema_form, schema_mismatch),
        *(chunk, fingerprint, package_meta, package_inputs),
    )
}


def perform(name: bytes, arguments: bytes) -> bytes:
    """Returns {"result": …} or {"error": sentence} as JSON. The language has checked the arguments."""
    try:
        return json.dumps({"result": FUNCTIONS[name.decode()](*json.loads(arguments))}).encode()
    except MemoryError:
        return b'{"error":"not enough memory"}'
    except Exception as exc:  # noqa: BLE001 - Lua would get an exception as a Python object
        return json.dumps({"error": f"alc.{name.decode()}: {exc}"}).encode()
