"""The part of alc.* that all languages share: defaults, error texts, and functions that read values out of answers.

Contract: each language gets `TEXTS` and `DEFAULTS` before the fork. A language calls the functions by
`perform(name, arguments)`, with JSON in and JSON out; a language in Python may call them directly. The functions are
pure and return the same on every Python: no journal records their results. They take at most half a second for a
megabyte of a hostile answer, and `perform` never raises.

Why Python behind one call, and not a copy in each language: an answer is read once. Measured, a call from Lua takes 6
to 12 us, where parse_score in Lua alone takes 0.2; a step of a session takes hundreds. The first call costs an engine
32 KiB of private memory, all functions together 112. What a strategy calls in a loop (random numbers, statistics, map,
vote) each language implements itself. This module imports nothing that the worker has not loaded already.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

DEFAULTS: dict[str, Any] = {
    "max_tokens": 1024,
    "max_tokens_limit": 0xFFFFFFFF,
    "cache_entries": 256,
    "chunk_size": 50,
    "enum_threshold": 0.7,
    "score": 5,
    "json_system": "Output ONLY valid JSON. No markdown fences, no explanation.",
}

# Templates with the conversions of printf, which Lua and Python share.
TEXTS = {
    "batch.array": "alc.llm_batch: an array of items was expected and not %s",
    "batch.empty": "alc.llm_batch: empty items array",
    "batch.item": "alc.llm_batch: item %d is a %s and not a table {prompt = …}",
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
    "eval.type": "alc.eval: scenario must be a string or table",
    "eval.strategy": "alc.eval: strategy must be a string package name",
    "eval.evalframe": (
        "alc.eval: evalframe not installed: put its folder below one of the library paths (ALC_PACKAGES_PATH), or "
        "install it with alc_package"
    ),
    "eval.scenario": (
        "alc.eval: could not resolve scenario '%s': neither a module nor a file in scenarios/ of the home has that name"
    ),
    "eval.load": "alc.eval: failed to load scenario '%s': %s",
    "eval.resolved": "alc.eval: scenario '%s' is a %s and not a table",
    "eval.grader": "alc.eval: unknown grader '%s'",
    "eval.case": "alc.eval: case #%d must have an 'input' field",
    "llm_json.bad": "alc.llm_json: no JSON in the answer (attempt %d): %s",
    "llm_json.repair": (
        "Your previous answer could not be read as JSON.\n\nPrevious answer:\n%s\n\nOriginal request:\n%s\n\n"
        "Answer the original request again, as one valid JSON value and nothing else."
    ),
    "llm_safe.failed": "alc.llm_safe: %s",
    "parallel.items": "alc.parallel: items must be a non-empty array",
    "parallel.function": "alc.parallel: prompt_fn must be a function",
    "parallel.prompt": "alc.parallel: prompt_fn returned table without .prompt at index %d",
    "parallel.type": "alc.parallel: prompt_fn must return string or table, got %s at index %d",
    "fork.strategies": "alc.fork: strategies must be a non-empty array",
    "fork.name": "alc.fork: invalid strategy name '%s' (only alphanumeric and underscore allowed)",
    "fork.ctx": "alc.fork: ctx must be a table with names as keys",
    "fork.mode": "alc.fork: on_error must be 'skip', 'fail' or 'abort' and not %s",
    "fork.failed": "alc.fork: strategy '%s' failed: %s",
    "pipe.strategies": "alc.pipe: strategies must be a non-empty array",
    "pipe.ctx": "alc.pipe: ctx must be a table",
    "pipe.mode": "alc.pipe: on_error must be 'abort', 'skip' or 'continue' and not %s",
    "pipe.load": "alc.pipe: failed to load strategy '%s': %s",
    "pipe.run": "alc.pipe: strategy '%s' must export run(ctx)",
    "pipe.type": "alc.pipe: strategy[%d] must be a string or function",
    "pipe.result": "alc.pipe: strategy '%s' must return a table (ctx)",
    "pipe.failed": "alc.pipe: strategy '%s' failed: %s",
    "tuning.prefix": "alc.tuning: ctx.%s is a %s and not a table: the defaults are used",
}

# Scores, numbers, enums, booleans ----------------------------------------------------------------------------

_DIGITS = re.compile(r"[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_WORD = re.compile(r"[a-z0-9_]+", re.ASCII | re.IGNORECASE)
_TRUE = frozenset(["approved", "yes", "ok", "accept", "pass", "confirm", "agree", "true", "lgtm"])
_FALSE = frozenset(["rejected", "no", "deny", "block", "fail", "refuse", "disagree", "false"])
_TRIMMED = "".join(chr(code) for code in range(33, 127) if not chr(code).isalnum()) + "「」『』。、!?:()“”‘’"
_TOKEN_CHARS = 64  # a longer word is not a misspelt candidate
_DIGITS_READ = 300  # Python refuses to parse thousands of digits, and a float holds no more than this


def parse_score(text: str) -> int | None:
    """The first whole number without its sign, limited to 1 to 10. None where the text has no number."""
    match = _DIGITS.search(text)
    return None if match is None else max(1, min(10, int(match[0][:_DIGITS_READ])))


def parse_number(text: str) -> float | None:
    """The first decimal number. Thousands separators and exponents end it. None where the text has no number."""
    match = _NUMBER.search(text)
    if match is None:
        return None
    digits = match[0][:_DIGITS_READ]
    return float(digits) if "." in digits else int(digits)


def match_bool(text: str) -> bool | None:
    """True or False after the last whole word that means yes or no. Inflections ("accepted") do not count."""
    verdict = None
    for match in _WORD.finditer(text):
        word = match[0].lower()
        if word in _TRUE:
            verdict = True
        elif word in _FALSE:
            verdict = False
    return verdict


def match_enum(text: str, candidates: list[str], threshold: float) -> int | None:
    """The index of the candidate that ends last in the text; of several with this end, the longest.

    Without any, the candidate that is most similar to a word, by at least `threshold`. Ends count and not beginnings:
    a candidate inside another candidate ("PASS" in "PASSED") must not win.
    """
    lowered = text.lower()
    wanted = [candidate.lower() for candidate in candidates]
    best, best_key = None, (0, 0)
    for index, candidate in enumerate(wanted):
        at = lowered.rfind(candidate) if candidate else -1
        if at >= 0 and (at + len(candidate), len(candidate)) > best_key:
            best, best_key = index, (at + len(candidate), len(candidate))
    return best if best is not None else _most_similar(lowered, wanted, threshold)


def _most_similar(text: str, wanted: list[str], threshold: float) -> int | None:
    best, best_similarity = None, threshold
    for token in dict.fromkeys(word.strip(_TRIMMED) for word in text.split()):
        if not token or len(token) > _TOKEN_CHARS:
            continue
        for index, candidate in enumerate(wanted):
            similarity = jaro_winkler(token, candidate) if candidate else 0.0
            if similarity > best_similarity or (best is None and similarity == threshold):
                best, best_similarity = index, similarity
    return best


def jaro_winkler(a: str, b: str) -> float:
    """Jaro-Winkler similarity from 0 to 1 (Winkler 1990): Jaro's, raised by up to four equal first characters."""
    reach = max(len(a), len(b)) // 2 - 1
    is_matched = [False] * len(b)
    matches_a = []
    for i, character in enumerate(a):
        for j in range(max(0, i - reach), min(len(b), i + reach + 1)):
            if not is_matched[j] and b[j] == character:
                is_matched[j] = True
                matches_a.append(character)
                break
    if not matches_a:
        return 1.0 if a == b else 0.0
    matches_b = [character for character, matched in zip(b, is_matched, strict=True) if matched]
    transposed = sum(x != y for x, y in zip(matches_a, matches_b, strict=True)) / 2
    count = len(matches_a)
    jaro = (count / len(a) + count / len(b) + (count - transposed) / count) / 3
    prefix = 0
    while prefix < min(4, len(a), len(b)) and a[prefix] == b[prefix]:
        prefix += 1
    return jaro + prefix * 0.1 * (1 - jaro)


# JSON in prose -----------------------------------------------------------------------------------------------

_OPENING = re.compile(r"[{\[]")
_TRIES = 1000  # brackets in prose that are tried; a try costs little, since it fails at the first wrong byte
# Refused here: whether Python can read such a nesting depends on its release, and takes milliseconds where it can.
_TOO_DEEP = re.compile(r'(?>[{\[](?:[^{}\[\]"]|"(?:[^"\\]|\\.)*+")*+){900}', re.DOTALL)


def json_extract(text: str) -> str | None:
    """The JSON text of an object or array: the answer itself, else in a fenced block, else somewhere in the prose.

    In prose the first object wins, or the first array that holds an object: "[1]" may be a footnote. Without any, the
    first array. None where there is no JSON.
    """
    for piece in _answer_and_blocks(text):
        stripped = piece.strip()
        if stripped[:1] in ("{", "[") and _end_of_json(stripped, 0) == len(stripped):
            return stripped
    return _in_prose(text)


def _answer_and_blocks(text: str) -> Iterator[str]:
    """The whole text, then its fenced blocks, those marked as json first."""
    yield text
    fenced = [block.partition("\n") for block in text.split("```")[1::2]]
    for is_json in (True, False):
        yield from (body for mark, _, body in fenced if mark.strip().lower().startswith("json") == is_json)


def _in_prose(text: str) -> str | None:
    first_array, at = None, 0
    for _ in range(_TRIES):
        match = _OPENING.search(text, at)
        if match is None:
            break
        start = match.start()
        end = _end_of_json(text, start)
        if end is None:
            at = start + 1
            continue
        at, piece = end, text[start:end]
        if "{" in piece:
            return piece
        first_array = first_array or piece
    return first_array


def _no_constant(name: str) -> Any:
    raise ValueError(name)  # NaN and Infinity are not JSON: only Python reads them


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=len, parse_float=len)


def _end_of_json(text: str, start: int) -> int | None:
    """The index behind the JSON value that begins at `start`, or None."""
    if _TOO_DEEP.match(text, start):
        return None
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


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


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (parse_score, parse_number, match_bool, match_enum, json_extract, chunk, fingerprint)
}


def perform(name: bytes, arguments: bytes) -> bytes:
    """Returns {"result": …} or {"error": sentence} as JSON. The language has checked the arguments."""
    try:
        return json.dumps({"result": FUNCTIONS[name.decode()](*json.loads(arguments))}).encode()
    except MemoryError:
        return b'{"error":"not enough memory"}'
    except Exception as exc:  # noqa: BLE001 - Lua would get an exception as a Python object
        return json.dumps({"error": f"alc.{name.decode()}: {exc}"}).encode()
