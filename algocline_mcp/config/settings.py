"""Settings that are not limits: their names, the set of listed tools, and variables that look like a slip. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import fields

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import HomeUnusable

WORDS = (
    "ALC_HOME",
    "ALC_ENV_ALLOW",
    "ALC_PACKAGES_PATH",
    "ALC_CARD_SINKS",
    "ALC_CODE_DIRS",
    "ALC_PROJECT_ROOT",
    "ALC_TOOLS",
    "ALC_PROMPT_PREVIEW_CHARS",
    "ALC_KEEP",
    "ALC_SPAWN",
    "ALC_SANDBOX",
    "ALC_PYTHON",
    "ALC_PYTHON_PRELOAD",
    "ALC_ANSWER",
    "ALC_DATABASE",
    "ALC_HTTP_HOSTS",
    "ALC_HTTP_ORIGINS",
    "ALC_HTTP_ISSUER",
    "ALC_HTTP_AUDIENCE",
    "ALC_HTTP_KEYS_URL",
)
ANSWERERS = ("openai", "anthropic", "exec")
TOOL_SETS = ("core", "author", "full")


def tool_set(environ: Mapping[str, str]) -> str:
    """The value of `ALC_TOOLS`. Raises HomeUnusable for an unknown set."""
    chosen = environ.get("ALC_TOOLS", "") or TOOL_SETS[0]
    if chosen not in TOOL_SETS:
        raise HomeUnusable(f"ALC_TOOLS={chosen!r} is not a set of tools: set it to one of {', '.join(TOOL_SETS)}")
    return chosen


def answered_by(environ: Mapping[str, str]) -> str:
    """The value of `ALC_ANSWER`: `openai:NAME`, `anthropic:NAME`, `exec:CMD` or "". Raises HomeUnusable for another."""
    chosen = environ.get("ALC_ANSWER", "").strip()
    kind, _, name = chosen.partition(":")
    if chosen and (kind not in ANSWERERS or not name.strip()):
        forms = "openai:NAME, anthropic:NAME or exec:CMD"
        raise HomeUnusable(f"ALC_ANSWER does not say who answers: set it to {forms}, or unset it")
    return chosen


def slips(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is set and has no effect, with its cure. A name that is like none of ours may be a strategy's own."""
    from difflib import get_close_matches

    from algocline_mcp.config.http import HttpLimits

    limits = (*fields(Limits), *fields(HttpLimits))
    known = [*WORDS, *(each.metadata["variable"] for each in limits)]
    for name in sorted(environ):
        if name.startswith("ALC_") and name not in known:
            for meant in get_close_matches(name, known, n=1, cutoff=0.85):
                yield f"{name} is no setting", f"write {meant}, or unset it"
    for sink in environ.get("ALC_CARD_SINKS", "").split("|"):
        if sink.strip() and not sink.strip().startswith("file:///"):
            yield f"ALC_CARD_SINKS names {sink.strip()!r}, which gets no copies", "write file:///path/of/a/directory"
