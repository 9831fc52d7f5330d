"""Catalog of a home: strategies, packages, cards, the entries of alc.state, and the help about alc.*, page by page.

Contract: read-only; no worker is started. Without a name the result is a page with one entry per item,
`{KIND: [...], total, cursor?}`. With a name it is everything about that item. An entry matches `words` if it has every
word of it, in any case. `cursor` is the last name of the previous page. A name that does not exist raises Refused with
the nearest names. Every function blocks on the disk: call it in a thread.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.help import topics
from algocline_mcp.history import run_stats
from algocline_mcp.history.database_reader import StateFile, StateReader
from algocline_mcp.packages import installed, lookup
from algocline_mcp.packages.lookup import Package, SearchPath, truncate
from algocline_mcp.packages.metadata import PackageMetadata
from algocline_mcp.packages.project import find_root
from algocline_mcp.session.owner import caller

KINDS = ("strategies", "packages", "cards", "state", "help")
_LIST_DESCRIPTION_CHARS = 160
_DOC_CHARS = 6000
_USAGE = ("reference", "inputs", "outputs", "cost")
_LIST_VALUE_CHARS = 200
_VALUE_CHARS = 60_000


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """`name`: show this item in full. `words`: list only entries with all of them. `limit`: entries on one page."""

    name: str = ""
    words: str = ""
    limit: int | None = None
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class PackageContext:
    """The home, the environment and the project in which packages are looked up. `stored`: reads alc.state and cards;
    None: those of the home."""

    home: Home
    limits: Limits
    environ: Mapping[str, str]
    project_root: Path | None = None
    stored: StateReader | None = None

    @property
    def state(self) -> StateReader:
        return self.stored or StateFile(self.home.state_database)

    def search_path(self) -> SearchPath:
        """Completes interrupted installs first. Raises Refused for project files that cannot be used."""
        installed.recover(self.home)
        return SearchPath.of(self.home, self.environ, self.project_root or find_root(self.environ))


def catalog(context: PackageContext, kind: str, query: CatalogQuery) -> dict[str, Any]:
    return _KINDS[kind](context, query)


# ── strategies and packages ───────────────────────────────────────────────────────────────────────────────


def _strategies(context: PackageContext, query: CatalogQuery) -> dict[str, Any]:
    search_path = context.search_path()
    medians = run_stats.medians(run_stats.runs(context.home))
    if query.name:
        package, _, metadata = lookup.find_strategy(search_path, query.name, context.limits.code_bytes)
        entry = _in_full(context, package, metadata) | medians.get(query.name, {})
        return entry | {"run": f'alc_run(strategy="{query.name}", task="…", opts={{…}})'}
    entries, packages = [], search_path.all()
    for package in packages:
        read = lookup.read_metadata(package, context.limits.code_bytes)
        if read is not None and not read.is_library:
            entry = {"name": package.name, "about": truncate(read.description, _LIST_DESCRIPTION_CHARS)}
            entries.append(entry | medians.get(package.name, {}))
    page = _page(context, "strategies", entries, query)
    if not caller() and all(package.origin == lookup.BUILT_IN for package in packages):
        page["next"] = f"these are built in: alc pkg install {lookup.PUBLISHED} installs the published ones"
    return page


def _packages(context: PackageContext, query: CatalogQuery) -> dict[str, Any]:
    search_path, code_bytes = context.search_path(), context.limits.code_bytes
    listed = [package for package in search_path.all() if not lookup.is_internal(package, code_bytes)]
    if query.name:
        package = search_path.find(query.name)
        if package is None:
            nearest = lookup.nearest_names(query.name, [package.name for package in listed])
            raise Refused(lookup.not_found_text("package", query.name, nearest), code="not_found")
        return _in_full(context, package, lookup.read_metadata(package, code_bytes))
    entries = [_describe(context, package, _LIST_DESCRIPTION_CHARS) for package in listed]
    return _page(context, "packages", entries, query)


def _in_full(context: PackageContext, package: Package, metadata: PackageMetadata | None) -> dict[str, Any]:
    entry = _describe(context, package)
    if metadata is None:
        return entry
    usage = {key: value for key in _USAGE if (value := getattr(metadata, key))}
    return entry | usage | {"doc": truncate(metadata.doc, _DOC_CHARS)}


def _describe(context: PackageContext, package: Package, chars: int = _DOC_CHARS) -> dict[str, Any]:
    """`{name, origin, file, language, about, type, version?, category?}`, and where an installed package came from."""
    entry: dict[str, Any] = {"name": package.name, "origin": package.origin}
    if not caller():  # where the server keeps things is not a principal's business
        entry["file"] = str(package.file)
    entry["language"] = package.language.name
    metadata = lookup.read_metadata(package, context.limits.code_bytes)
    if metadata is None:
        entry["warnings"] = ["its source cannot be read"]
    else:
        entry["about"] = truncate(metadata.description, chars)
        entry["type"] = "library" if metadata.is_library else "strategy"
        entry |= {key: value for key in ("version", "category") if (value := getattr(metadata, key)) is not None}
    if package.origin in ("installed", "linked") and not caller():
        entry |= installed.provenance(context.home, package.name)
    return entry


# ── cards ─────────────────────────────────────────────────────────────────────────────────────────────────


def _cards(context: PackageContext, query: CatalogQuery) -> dict[str, Any]:
    """Newest first; `cursor` is the last card_id of the previous page."""
    state = context.state
    if query.name:
        rows = state.card(query.name)
        if not rows:
            nearest = lookup.nearest_names(query.name, [line["card_id"] for line in state.cards()])
            raise Refused(lookup.not_found_text("card", query.name, nearest), code="not_found")
        return {"card": rows[0]}
    entries = _matching(state.cards(), query.words)
    ids = [entry["card_id"] for entry in entries]
    begin = ids.index(query.cursor) + 1 if query.cursor in ids else 0
    page = entries[begin : begin + _page_size(context, query)]
    is_last = begin + len(page) >= len(entries)
    return {"cards": page, "total": len(entries)} | ({} if is_last else {"cursor": page[-1]["card_id"]})


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────


def _state(context: PackageContext, query: CatalogQuery) -> dict[str, Any]:
    """`name` is NAMESPACE or NAMESPACE/KEY. A namespace has no slash; a key may have some."""
    state = context.state
    namespace, slash, key = query.name.partition("/")
    if slash:
        return _value(state, namespace, key)
    if not namespace:
        counts = state.namespaces()
        return _page(context, "state", [{"name": name, "keys": count} for name, count in counts.items()], query)
    size = _page_size(context, query)
    rows, total = state.keys(namespace, query=query.words, after=query.cursor, limit=size + 1)
    entries = [{"key": key, "value": truncate(text, _LIST_VALUE_CHARS)} for key, text in rows[:size]]
    cursor = {"cursor": entries[-1]["key"]} if len(rows) > size else {}
    return {"state": entries, "namespace": namespace, "total": total} | cursor


def _value(state: StateReader, namespace: str, key: str) -> dict[str, Any]:
    values = state.value(namespace, key)
    if not values:
        raise Refused(
            f'{namespace!r} has no key {key[:80]!r}: alc_catalog(kind="state", name="{namespace}") lists its keys',
            code="not_found",
        )
    text = json.dumps(values[0], ensure_ascii=False)
    entry = {"namespace": namespace, "key": key}
    if len(text) > _VALUE_CHARS:
        return entry | {
            "value": text[:_VALUE_CHARS],
            "warnings": [f"cut: the value has {len(text)} characters as JSON"],
        }
    return entry | {"value": values[0]}


# ── help ──────────────────────────────────────────────────────────────────────────────────────────────────


def _help(context: PackageContext, query: CatalogQuery) -> dict[str, Any]:
    """`name` is a topic or a function; `words` are looked for in the whole pages, in the order of reading."""
    if query.name:
        topic = topics.topic_of(query.name)
        if topic is None:
            nearest = f"; nearest: {', '.join(near)}" if (near := topics.nearest(query.name)) else ""
            cure = 'alc_catalog(kind="help") lists the pages'
            raise Refused(f"there is no help on {query.name[:64]!r}{nearest}; {cure}", code="not_found")
        return {"name": topic, "about": topics.about(topic), "text": topics.page(topic)}
    words = query.words.lower().split()
    chosen = [topic for topic in topics.TOPICS if all(word in topics.page(topic).lower() for word in words)]
    entries = [{"name": topic, "about": topics.about(topic)} for topic in chosen]
    page = {"help": entries, "total": len(entries)}
    return page | {
        "next": 'alc_catalog(kind="help", name="asking") shows a page; name may be a function: "alc.llm_json"'
    }


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────


def _page_size(context: PackageContext, query: CatalogQuery) -> int:
    return min(query.limit or context.limits.listed, context.limits.listed_max)


def _page(context: PackageContext, kind: str, entries: Sequence[dict[str, Any]], query: CatalogQuery) -> dict[str, Any]:
    matching = _matching(entries, query.words)
    left = [entry for entry in matching if entry["name"] > query.cursor]
    size = _page_size(context, query)
    page: dict[str, Any] = {kind: left[:size], "total": len(matching)}
    return page | ({"cursor": left[size - 1]["name"]} if len(left) > size else {})


def _matching(entries: Sequence[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    wanted = words.lower().split()
    texts = [" ".join(str(value) for value in entry.values()).lower() for entry in entries]
    return [entry for entry, text in zip(entries, texts, strict=True) if all(word in text for word in wanted)]


_KINDS: dict[str, Callable[[PackageContext, CatalogQuery], dict[str, Any]]] = {
    "strategies": _strategies,
    "packages": _packages,
    "cards": _cards,
    "state": _state,
    "help": _help,
}
