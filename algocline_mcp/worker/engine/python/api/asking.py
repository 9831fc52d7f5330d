"""Functions that ask the host's model, as steps: see steps.py. `options` are the keywords of the public function."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from algocline_mcp.answers.schema import schema_mismatch
from algocline_mcp.worker.engine.python.api.answers import json_extract
from algocline_mcp.worker.engine.python.api.arguments import fitted, function_of, listed
from algocline_mcp.worker.engine.python.api.json_values import encoded
from algocline_mcp.worker.engine.python.api.memory import memory
from algocline_mcp.worker.engine.python.api.options import KEYWORDS, query_of, refuse_unknown
from algocline_mcp.worker.engine.python.api.refused import raise_refused, refused_answer
from algocline_mcp.worker.engine.python.api.schemas import schema_of
from algocline_mcp.worker.engine.python.api.steps import Steps
from algocline_mcp.worker.engine.python.api.texts import TEXTS, kind_of, problem
from algocline_mcp.worker.engine.python.exceptions import Error, Refused
from algocline_mcp.worker.engine.python.session import current
from algocline_mcp.worker.engine.stdlib import DEFAULTS

Keywords = Mapping[str, Any]
_SHOWN = 200  # characters of an answer in a log line


class JsonAnswer(NamedTuple):
    """Of alc.llm_json with details=True: the value or None, the last answer, and where that does not fit the schema."""

    value: Any
    answer: str
    mismatch: str | None


def llm(prompt: Any, options: Keywords, *, name: str = "alc.llm") -> Steps[str]:
    (answer,) = yield [query_of(name, prompt, options)]
    if "refuse" in answer:
        raise Refused(TEXTS["refused"] % answer["refuse"], answer["refuse"])
    return str(answer["response"])


def llm_batch(items: Iterable[Any]) -> Steps[list[str]]:
    batch = listed(items)
    if batch is None:
        raise problem("batch.array", kind_of(items))
    if not batch:
        raise problem("batch.empty")
    queries = [_query_of_item(number, item) for number, item in enumerate(batch, 1)]
    answers = yield queries
    # A refused item is no str and says so at any use; the type of the answers stays simple for those who read them.
    responses: list[Any] = [
        refused_answer(number, answer["refuse"]) if "refuse" in answer else answer["response"]
        for number, answer in enumerate(answers, 1)
    ]
    return responses


def _query_of_item(number: int, item: Any) -> dict[str, Any]:
    raise_refused(item)
    if not isinstance(item, Mapping):
        raise problem("batch.item", number, kind_of(item))
    name = f"alc.llm_batch: item {number}"
    return query_of(name, item.get("prompt"), {key: value for key, value in item.items() if key != "prompt"})


def parallel(items: Iterable[Any], prompt_fn: Callable[..., Any], options: Keywords) -> Steps[list[Any]]:
    values = listed(items)
    if not values:
        raise problem("parallel.items")
    if not callable(prompt_fn):
        raise problem("parallel.function")
    refuse_unknown("alc.parallel", options, (*KEYWORDS, "post_fn"))
    shared = {key: value for key, value in options.items() if key != "post_fn"}
    prompt_of = fitted(prompt_fn)
    batch = [_item_of(number, prompt_of(item, number - 1), shared) for number, item in enumerate(values, 1)]
    responses = yield from llm_batch(batch)
    post_fn = options.get("post_fn")
    if post_fn is None:
        return responses
    keep = fitted(function_of(post_fn, "alc.parallel", "post_fn"))
    return [keep(answer, values[i], i) for i, answer in enumerate(responses)]


def _item_of(number: int, prompt: Any, shared: Keywords) -> Mapping[str, Any]:
    raise_refused(prompt)
    if isinstance(prompt, str):
        return {**shared, "prompt": prompt}
    if not isinstance(prompt, Mapping):
        raise problem("parallel.type", kind_of(prompt), number)
    if not isinstance(prompt.get("prompt"), str):
        raise problem("parallel.prompt", number)
    return prompt


def ground(claim: Any, options: Keywords) -> Steps[str]:
    return llm(claim, {**options, "grounded": True}, name="alc.ground")


def specify(prompt: Any, options: Keywords) -> Steps[str]:
    return llm(prompt, {**options, "underspecified": True}, name="alc.specify")


def llm_safe(prompt: Any, default: Any, options: Keywords) -> Steps[Any]:
    try:
        return (yield from llm(prompt, options))
    except Error as exc:
        current().exchange.log("warn", TEXTS["llm_safe.failed"] % exc)
        return default


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────


def llm_json(prompt: Any, options: Keywords) -> Steps[JsonAnswer]:
    """Where the first answer has no JSON, or JSON of another form, a second prompt asks for it again."""
    schema = _schema_of(options)
    options = {**options, "schema": schema}
    raw = yield from llm(prompt, options)
    value, mismatch = _parsed(raw, 1, schema)
    if value is None:
        key, details = ("llm_json.again", (mismatch,)) if mismatch else ("llm_json.repair", ())
        repair = TEXTS[key] % (*details, raw, prompt)
        raw = yield from llm(repair, {**options, "system": DEFAULTS["json_system"]})
        value, mismatch = _parsed(raw, 2, schema)
    return JsonAnswer(value, raw, mismatch)


_READERS = {"integer": "parse_number", "number": "parse_number", "boolean": "match_bool"}


def _schema_of(options: Keywords) -> Any:
    schema = options.get("schema")
    if schema is not None:
        schema = schema_of(schema, "alc.llm_json")
    if isinstance(schema, Mapping):
        kind = schema.get("type")
        reader = (
            _READERS.get(kind) if isinstance(kind, str) else "match_enum" if not kind and "enum" in schema else None
        )
        if reader is not None:
            raise problem("llm_json.schema", reader)
    return schema


def _parsed(raw: str, attempt: int, schema: Any) -> tuple[Any, str | None]:
    """The value or None, and where the answer does not fit the schema, or None."""
    value = json_extract(raw)
    mismatch = schema_mismatch(raw, schema) if value is not None and schema else None
    if value is None:
        current().exchange.log("warn", TEXTS["llm_json.bad"] % (attempt, raw[:_SHOWN]))
    elif mismatch:
        current().exchange.log("warn", TEXTS["llm_json.mismatch"] % (attempt, mismatch[:_SHOWN]))
        value = None
    return value, mismatch


# ── a cache, which is not recorded: a replay fills it again as the first run did ──────────────────────────


def cache(prompt: Any, options: Keywords) -> Steps[str]:
    """The key is the whole query, or `cache_key`."""
    refuse_unknown("alc.cache", options, (*KEYWORDS, "cache_key", "cache_skip"))
    own = {key: value for key, value in options.items() if key not in ("cache_key", "cache_skip")}
    if options.get("cache_skip"):
        return (yield from llm(prompt, own))
    chosen = options.get("cache_key")
    key = encoded(query_of("alc.cache", prompt, own), "the query") if chosen is None else f"={chosen}"
    session_memory = memory()
    if key in session_memory.cache:
        session_memory.cache_hits += 1
        return session_memory.cache[key]
    session_memory.cache_misses += 1
    answer = yield from llm(prompt, own)
    session_memory.cache[key] = answer
    if len(session_memory.cache) > DEFAULTS["cache_entries"]:
        session_memory.cache.popitem(last=False)
    return answer


def cache_info() -> dict[str, int]:
    """`{entries, hits, misses, max_entries}`."""
    session_memory = memory()
    return {
        "entries": len(session_memory.cache),
        "hits": session_memory.cache_hits,
        "misses": session_memory.cache_misses,
        "max_entries": DEFAULTS["cache_entries"],
    }


def cache_clear() -> None:
    session_memory = memory()
    session_memory.cache.clear()
    session_memory.cache_hits = session_memory.cache_misses = 0
