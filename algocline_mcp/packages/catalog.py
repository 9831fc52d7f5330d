"""What is here to be used: strategies, packages, cards, state. A page at a time.

Contract: nothing is changed, nobody is woken. Without `name` a page of one line each, `{KIND: […], total, cursor?}`;
with `name` what there is to know of that one. `query`: every word of it stands in the line, case ignored. `cursor` is
the last name that was shown. Raises Refused for a name that is not there, with the nearest ones. It blocks: it runs in
threads.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.history import database_reader, run_stats
from algocline_mcp.packages import installed, lookup
from algocline_mcp.packages.lookup import Package, SearchPath, clipped
from algocline_mcp.packages.project import find_root

KINDS = ("strategies", "packages", "cards", "state")
_LINE_CHARS = 160  # of a description in a list
_DOC_CHARS = 6000
_VALUE_CHARS = 200  # of a value in a list
_WHOLE_CHARS = 60_000  # of one value that was asked for


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    name: str = ""
    query: str = ""
    limit: int | None = None
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class PackageContext:
    """Where to look."""

    home: Home
    limits: Limits
    environ: Mapping[str, str]
    project_root: Path | None = None

    def shelf(self) -> SearchPath:
        installed.settle(self.home)
        return SearchPath.of(self.home, self.environ, self.project_root or find_root(self.environ))


def catalog(place: PackageContext, kind: str, asked: CatalogQuery) -> dict[str, Any]:
    return _KINDS[kind](place, asked)


# ── strategies and packages ───────────────────────────────────────────────────────────────────────────────


def _strategies(place: PackageContext, asked: CatalogQuery) -> dict[str, Any]:
    shelf = place.shelf()
    taken = run_stats.medians(run_stats.runs(place.home))
    if asked.name:
        package, _, told = lookup.strategy(shelf, asked.name, place.limits.code_bytes)
        whole = _about(place, package) | {"doc": clipped(told.doc, _DOC_CHARS)} | taken.get(asked.name, {})
        return whole | {"run": f'alc_run(strategy="{asked.name}", task="…", opts={{…}})'}
    lines = []
    for package in shelf.all():
        about = lookup.about(package, place.limits.code_bytes)
        if about is not None and not about.is_library:
            line = {"name": package.name, "about": clipped(about.description, _LINE_CHARS)}
            lines.append(line | taken.get(package.name, {}))
    page = _page(place, "strategies", lines, asked)
    if not lines:
        page["next"] = f"none is installed: alc pkg install {lookup.PUBLISHED} brings the published ones"
    return page


def _packages(place: PackageContext, asked: CatalogQuery) -> dict[str, Any]:
    shelf = place.shelf()
    if asked.name:
        package = shelf.find(asked.name)
        if package is None:
            nearest = lookup.near(asked.name, [each.name for each in shelf.all()])
            raise Refused(lookup.missing("package", asked.name, nearest), code="not_found")
        about = lookup.about(package, place.limits.code_bytes)
        return _about(place, package) | ({"doc": clipped(about.doc, _DOC_CHARS)} if about else {})
    return _page(place, "packages", [_about(place, package, _LINE_CHARS) for package in shelf.all()], asked)


def _about(place: PackageContext, package: Package, chars: int = _DOC_CHARS) -> dict[str, Any]:
    told: dict[str, Any] = {"name": package.name, "origin": package.origin, "file": str(package.file)}
    about = lookup.about(package, place.limits.code_bytes)
    if about is None:
        told["warnings"] = ["its source cannot be read"]
    else:
        told["about"] = clipped(about.description, chars)
        told["type"] = "library" if about.is_library else "strategy"
        told |= {key: value for key in ("version", "category") if (value := getattr(about, key)) is not None}
    return told | (installed.source_of(place.home, package.name) if package.origin in ("installed", "linked") else {})


# ── cards ─────────────────────────────────────────────────────────────────────────────────────────────────


def _cards(place: PackageContext, asked: CatalogQuery) -> dict[str, Any]:
    """The newest first; `cursor` is the last card_id that was shown."""
    path = place.home.state_database
    if asked.name:
        found = database_reader.card(path, asked.name)
        if not found:
            nearest = lookup.near(asked.name, [each["card_id"] for each in database_reader.cards(path)])
            raise Refused(lookup.missing("card", asked.name, nearest), code="not_found")
        return {"card": found[0]}
    lines = _matching(database_reader.cards(path), asked.query)
    ids = [line["card_id"] for line in lines]
    begin = ids.index(asked.cursor) + 1 if asked.cursor in ids else 0
    page = lines[begin : begin + _most(place, asked)]
    end = begin + len(page)
    return {"cards": page, "total": len(lines)} | ({"cursor": page[-1]["card_id"]} if end < len(lines) else {})


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────


def _state(place: PackageContext, asked: CatalogQuery) -> dict[str, Any]:
    """`name` is a namespace, or namespace/key: neither may hold a slash itself where it is a namespace."""
    path = place.home.state_database
    namespace, slash, key = asked.name.partition("/")
    if slash:
        return _value(path, namespace, key)
    if not namespace:
        found = database_reader.namespaces(path)
        return _page(place, "state", [{"name": name, "keys": count} for name, count in found.items()], asked)
    most = _most(place, asked)
    page, total = database_reader.keys(path, namespace, query=asked.query, after=asked.cursor, most=most + 1)
    lines = [{"key": key, "value": clipped(text, _VALUE_CHARS)} for key, text in page[:most]]
    more = {"cursor": lines[-1]["key"]} if len(page) > most else {}
    return {"state": lines, "namespace": namespace, "total": total} | more


def _value(path: Path, namespace: str, key: str) -> dict[str, Any]:
    found = database_reader.value(path, namespace, key)
    if not found:
        raise Refused(
            f'{namespace!r} has no key {key[:80]!r}: alc_catalog(kind="state", name="{namespace}") lists them',
            code="not_found",
        )
    text = json.dumps(found[0], ensure_ascii=False)
    told = {"namespace": namespace, "key": key}
    if len(text) > _WHOLE_CHARS:
        return told | {"value": text[:_WHOLE_CHARS], "warnings": [f"cut: it has {len(text)} characters as JSON"]}
    return told | {"value": found[0]}


# ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────


def _most(place: PackageContext, asked: CatalogQuery) -> int:
    return min(asked.limit or place.limits.listed, place.limits.listed_max)


def _page(place: PackageContext, kind: str, lines: Sequence[dict[str, Any]], asked: CatalogQuery) -> dict[str, Any]:
    found = _matching(lines, asked.query)
    left = [line for line in found if line["name"] > asked.cursor]
    most = _most(place, asked)
    page: dict[str, Any] = {kind: left[:most], "total": len(found)}
    return page | ({"cursor": left[most - 1]["name"]} if len(left) > most else {})


def _matching(lines: Sequence[dict[str, Any]], query: str) -> list[dict[str, Any]]:
    words = query.lower().split()
    texts = [" ".join(str(value) for value in line.values()).lower() for line in lines]
    return [line for line, text in zip(lines, texts, strict=True) if all(word in text for word in words)]


_KINDS: dict[str, Callable[[PackageContext, CatalogQuery], dict[str, Any]]] = {
    "strategies": _strategies,
    "packages": _packages,
    "cards": _cards,
    "state": _state,
}
