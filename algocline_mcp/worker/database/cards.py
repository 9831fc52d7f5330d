"""alc.card: records of runs, in the state database of the home.

Contract: `perform` carries one call out in its Scope and returns the result, or raises Declined. `take_in` comes
before it and outside of its transaction: it reads cards that somebody brought as files, a part at a time, and raises
Unfinished until none is left. `copy` comes after the commit and writes the files.

Why the database and not the original's files: a card and its mark are then one commit, so that no crash loses or
doubles one; `append` and `alias_set`, which change what others may change meanwhile, cannot be repeated safely on
files. And it is read faster: looking through 2,000 cards takes 14 ms here, 226 ms as TOML, whose reader costs a worker
1.5 MiB. The files are copies, 80 us each.
"""

import _sqlite3 as sqlite3  # not `sqlite3`: its Python half and datetime are 1 MiB in each worker that uses it
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from algocline_mcp import __version__, cards
from algocline_mcp.cards import Card
from algocline_mcp.config.limits import KIB
from algocline_mcp.protocol.messages import is_deeper
from algocline_mcp.worker.database import card_files
from algocline_mcp.worker.database.call_scope import Declined, Scope, Unfinished, change, json_text, plain
from algocline_mcp.worker.engine.messages import Call

# Host function -> whether it changes something, number of its arguments.
FUNCTIONS = {
    "card.create": (True, 1),
    "card.append": (True, 2),
    "card.write_samples": (True, 2),
    "card.alias_set": (True, 3),
    "card.get": (False, 1),
    "card.list": (False, 1),
    "card.find": (False, 1),
    "card.lineage": (False, 1),
    "card.read_samples": (False, 2),
    "card.get_by_alias": (False, 1),
    "card.alias_list": (False, 1),
    "card.sink_backfill": (False, 1),
}
SCHEMA = (
    "CREATE TABLE cards (card_id TEXT PRIMARY KEY, pkg TEXT NOT NULL, created_at TEXT NOT NULL, prior TEXT, "
    "summary TEXT NOT NULL, samples INTEGER, card TEXT NOT NULL)",  # samples: how many, NULL where none were written
    "CREATE INDEX newest ON cards (created_at)",
    "CREATE INDEX children ON cards (prior)",
    "CREATE TABLE samples (card_id TEXT, n INTEGER, sample TEXT NOT NULL, PRIMARY KEY (card_id, n)) WITHOUT ROWID",
    "CREATE TABLE aliases (name TEXT PRIMARY KEY, card_id TEXT NOT NULL, pkg TEXT, set_at TEXT NOT NULL, note TEXT)",
    "CREATE TABLE brought (path TEXT PRIMARY KEY, stamp TEXT NOT NULL)",
)
_NEWEST = "ORDER BY created_at DESC, rowid DESC"


def perform(scope: Scope, call: Call) -> Any:
    try:
        return _ACTS[call.name](scope, *call.args)
    except ValueError as exc:
        raise Declined(f"alc.{call.name}: {exc}") from exc


# Writing -----------------------------------------------------------------------------------------------------


def _create(scope: Scope, given: Any) -> Card:
    assert scope.mark is not None
    identity = f"{scope.mark.sid} {scope.mark.stream} {scope.mark.n}"
    card = cards.made(
        given,
        identity=identity,
        now_s=time.time(),
        version=__version__,
        is_taken=lambda card_id: _found(scope, card_id) is not None,
    )
    pkg = card["pkg"]["name"]
    (count,) = scope.connection.execute("SELECT count(*) FROM cards WHERE pkg = ?", (plain(pkg),)).fetchone()
    if count >= scope.limits.cards:
        raise ValueError(f"'{pkg}' has {count} cards, at most {scope.limits.cards}: raise ALC_CARDS")
    _put(scope, card, plain(pkg))
    return {"card_id": card["card_id"], "path": str(card_files.card_path(scope.places.own, pkg, card["card_id"]))}


def _append(scope: Scope, card_id: Any, fields: Any) -> Card:
    pkg, text, _ = _there(scope, card_id)
    card = cards.appended(json.loads(text), fields)
    _put(scope, card, pkg)
    return card


def _write_samples(scope: Scope, card_id: Any, samples: Any) -> Card:
    pkg, _, written = _there(scope, card_id)
    samples = [] if samples == {} else samples
    if not isinstance(samples, list):
        raise ValueError("samples must be an array")
    if written is not None:
        raise ValueError(f"samples already exist for card '{card_id}' (write-once)")
    _put_samples(scope, card_id, samples)
    return {"path": str(card_files.samples_path(scope.places.own, pkg, card_id)), "count": len(samples)}


def _alias_set(scope: Scope, name: Any, card_id: Any, options: Any) -> Card:
    cards.check_name(_text(name, "the alias"), "alias")
    _there(scope, card_id)
    pkg, note = (_option(options, each, str) for each in ("pkg", "note"))
    alias = {"name": name, "card_id": card_id, "pkg": pkg, "note": note}
    alias["set_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
    _put_alias(scope, alias)
    return _without_none(alias)


def _put(scope: Scope, card: Card, pkg: str) -> None:
    text = json_text(card)
    if len(text.encode()) > scope.limits.card_bytes:
        raise ValueError(
            f"a card of {len(text.encode())} bytes as JSON, at most {scope.limits.card_bytes}: "
            "put what belongs to single cases into its samples"
        )
    created_at = card["created_at"] if isinstance(card.get("created_at"), str) else ""
    source = cards.prior(card)[0]
    row = (card["card_id"], pkg, created_at, source, json_text(cards.summary(card, pkg)), text)
    scope.connection.execute(
        "INSERT INTO cards (card_id, pkg, created_at, prior, summary, card) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT "
        "DO UPDATE SET created_at = excluded.created_at, prior = excluded.prior, summary = excluded.summary, "
        "card = excluded.card",
        [None if each is None else plain(each) for each in row],
    )


def _put_samples(scope: Scope, card_id: str, samples: list[Any]) -> None:
    texts = [json_text(sample) for sample in samples]
    size = sum(len(text.encode()) for text in texts)
    if size > scope.limits.samples_bytes:
        raise ValueError(f"samples of {size} bytes as JSON, at most {scope.limits.samples_bytes}: keep fewer")
    rows = ((plain(card_id), n, text) for n, text in enumerate(texts))
    scope.connection.executemany("INSERT INTO samples VALUES (?, ?, ?)", rows)
    scope.connection.execute("UPDATE cards SET samples = ? WHERE card_id = ?", (len(texts), plain(card_id)))


def _put_alias(scope: Scope, alias: Card) -> None:
    row = [alias.get(name) for name in ("name", "card_id", "pkg", "set_at", "note")]
    values = [plain(each) if isinstance(each, str) else None for each in row]
    scope.connection.execute("REPLACE INTO aliases VALUES (?, ?, ?, ?, ?)", values)


# Reading -----------------------------------------------------------------------------------------------------


def _get(scope: Scope, card_id: Any) -> Card | None:
    found = _found(scope, _text(card_id, "the card_id"))
    return None if found is None else _card(found[1])


def _list(scope: Scope, options: Any) -> list[Card]:
    return _summaries(scope, _option(options, "pkg", str), offset=0, limit=None)


def _find(scope: Scope, query: Any) -> list[Card]:
    pkg, where, order_by = _option(query, "pkg", str), _option(query, "where"), _option(query, "order_by")
    offset, limit = _option(query, "offset", int) or 0, _option(query, "limit", int)
    keys = cards.order_keys(order_by)
    if where is None and not keys:
        return _summaries(scope, pkg, offset=offset, limit=limit)
    holds = cards.predicate({} if where is None else where)
    found = [
        (summary, [cards.at(card, path) for path, _ in keys])
        for summary, text in _rows(scope, "summary, card", pkg)
        if holds(card := _card(text))
    ]
    return [json.loads(line) for line in cards.ordered(found, keys)[offset : offset + _most(scope, limit)]]


def _summaries(scope: Scope, pkg: str | None, *, offset: int, limit: int | None) -> list[Card]:
    return [json.loads(text) for (text,) in _rows(scope, "summary", pkg, (offset, _most(scope, limit)))]


def _rows(scope: Scope, columns: str, pkg: str | None, page: tuple[int, int] = (0, -1)) -> Iterator[Any]:
    """Newest first. `page`: how many to leave out, and the most to give, -1 for all."""
    query = f"SELECT {columns} FROM cards WHERE ? IS NULL OR pkg = ? {_NEWEST} LIMIT ? OFFSET ?"
    name = None if pkg is None else plain(pkg)
    return iter(scope.connection.execute(query, (name, name, page[1], page[0])))


def _most(scope: Scope, limit: int | None) -> int:
    """One answer holds so many lines at most, or it would not fit on the way to the strategy."""
    return scope.limits.cards if limit is None else min(limit, scope.limits.cards)


def _read_samples(scope: Scope, card_id: Any, options: Any) -> list[Any]:
    _there(scope, card_id)
    where, limit = _option(options, "where"), _option(options, "limit", int)
    offset = _option(options, "offset", int) or 0
    query = "SELECT sample FROM samples WHERE card_id = ? ORDER BY n"
    samples = [json.loads(text) for (text,) in scope.connection.execute(query, (plain(card_id),))]
    if where is not None:
        holds = cards.predicate(where)
        samples = [sample for sample in samples if holds(sample)]
    return samples[offset:] if limit is None else samples[offset : offset + limit]


def _get_by_alias(scope: Scope, name: Any) -> Card | None:
    query = "SELECT card_id FROM aliases WHERE name = ?"
    found = scope.connection.execute(query, (plain(_text(name, "the alias")),)).fetchone()
    return None if found is None else _get(scope, found[0])


def _alias_list(scope: Scope, options: Any) -> list[Card]:
    pkg = _option(options, "pkg", str)
    return [alias for alias in _aliases(scope) if pkg is None or alias.get("pkg") == pkg]


def _aliases(scope: Scope) -> list[Card]:
    """In the order in which they were set."""
    rows = scope.connection.execute("SELECT name, card_id, pkg, set_at, note FROM aliases ORDER BY rowid")
    return [_without_none(dict(zip(("name", "card_id", "pkg", "set_at", "note"), row, strict=True))) for row in rows]


def _lineage(scope: Scope, query: Any) -> Any:
    root = _get(scope, _option(query, "card_id", str))
    relations = _option(query, "relation_filter")
    if relations is not None and not isinstance(relations, list) and relations != {}:
        raise ValueError("relation_filter must be an array of strings")
    depth, with_stats = _option(query, "depth", int), _option(query, "include_stats")
    children = f"SELECT card FROM cards WHERE prior = ? {_NEWEST}"

    def node(card: Card) -> Card:
        return {name: card[name] for name in ("card_id", "pkg", "metadata", "stats") if name in card}

    def find(card_id: str) -> Card | None:
        found = _get(scope, card_id)
        return found and node(found)

    walked = root and cards.lineage(
        root,
        direction=_option(query, "direction", str) or "up",
        depth=cards.LINEAGE_DEPTH if depth is None else depth,
        relations=relations,
        find=find,
        children=lambda card_id: [node(_card(text)) for (text,) in scope.connection.execute(children, (card_id,))],
    )
    return root and walked and cards.lineage_result(root["card_id"], walked, with_stats=with_stats is not False)


def _found(scope: Scope, card_id: str) -> tuple[str, str, int | None] | None:
    """pkg, JSON text, number of samples."""
    query = "SELECT pkg, card, samples FROM cards WHERE card_id = ?"
    row: tuple[str, str, int | None] | None = scope.connection.execute(query, (plain(card_id),)).fetchone()
    return row


def _there(scope: Scope, card_id: Any) -> tuple[str, str, int | None]:
    found = _found(scope, _text(card_id, "the card_id"))
    if found is None:
        raise ValueError(f"card '{card_id}' not found: alc.card.list() tells which there are")
    return found


def _card(text: str) -> Card:
    card: Card = json.loads(text)
    return card


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a string")
    return value


def _option(options: Any, name: str, kind: type | None = None) -> Any:
    value = options.get(name) if isinstance(options, dict) else None
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if value is not None and kind is not None and not (is_count if kind is int else isinstance(value, kind)):
        raise ValueError(f"{name} must be a {'whole number of at least 0' if kind is int else 'string'}")
    return value


def _without_none(line: Card) -> Card:
    return {name: value for name, value in line.items() if value is not None}


# Files -------------------------------------------------------------------------------------------------------

_BATCH, _BATCH_BYTES = 200, 512 * KIB  # files in one go: 0.1 s
_BY_ID = ("card.get", "card.append", "card.write_samples", "card.read_samples")


def take_in(scope: Scope, call: Call) -> None:
    """Cards that somebody laid into the directories, where a call could need them."""
    named = call.args[0] if call.name in _BY_ID else None
    if call.name == "card.create":
        named = call.args[0].get("card_id", "") if isinstance(call.args[0], dict) else ""
        if not named:
            return
    if isinstance(named, str) and _found(scope, named) is not None:
        return
    for root in (scope.places.own, *scope.places.brought):
        for pkg in _directories(root):
            new, size = [], 0
            for path, stamp in _new(scope, root / pkg, pkg):
                new.append((path, stamp))
                size += sum(int(each.split()[1]) for each in (stamp, _stamp(_samples_of(path))))
                if len(new) == _BATCH or size > _BATCH_BYTES:
                    break
            if new:
                with _transaction(scope):
                    for path, stamp in new:
                        _take_card(scope, path, pkg, stamp)
                raise Unfinished
        _take_aliases(scope, root)


def _directories(root: Path) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []


def _new(scope: Scope, directory: Path, pkg: str) -> Iterator[tuple[Path, str]]:
    """Files of cards that are not known, with their stamps."""
    query = "SELECT card_id FROM cards WHERE pkg = ?"
    known = {card_id for (card_id,) in scope.connection.execute(query, (plain(pkg),))}
    with contextlib.suppress(OSError):
        for card_id in card_files.stems(directory):
            if card_id not in known and _found(scope, card_id) is None:
                path = directory / f"{card_id}.toml"
                if not _is_seen(scope, path, stamp := _stamp(path)):
                    yield path, stamp


def _take_card(scope: Scope, path: Path, pkg: str, stamp: str) -> None:
    """One that cannot be read is passed over until it changes."""
    limits, card_id = scope.limits, path.stem
    try:
        cards.check_name(card_id, "card_id")
        card = cards.without_null(card_files.read_card(path, card_id, most_bytes=limits.card_bytes))
        samples = card_files.read_samples(_samples_of(path), most_bytes=limits.samples_bytes)
        if is_deeper([card, samples], limits.json_depth):
            raise ValueError("too deep")
        _put(scope, card, plain(pkg))
        if samples is not None:
            _put_samples(scope, card_id, samples)
    except (OSError, ValueError, RecursionError):
        _see(scope, path, stamp)


def _take_aliases(scope: Scope, root: Path) -> None:
    """Those of other names than ours. Our own file is a copy as soon as there is an alias."""
    path = root / card_files.ALIASES
    known = {alias["name"] for alias in _aliases(scope)}
    stamp = _stamp(path)
    if stamp == _ABSENT or (root == scope.places.own and known) or _is_seen(scope, path, stamp):
        return
    try:
        found = list(card_files.read_aliases(path, most_bytes=scope.limits.samples_bytes))
    except (OSError, ValueError, RecursionError):
        found = []
    with _transaction(scope):
        for alias in found:
            name, card_id = alias.get("name"), alias.get("card_id")
            is_whole = isinstance(name, str) and isinstance(card_id, str) and isinstance(alias.get("set_at"), str)
            if is_whole and name not in known and _found(scope, str(card_id)) is not None:
                _put_alias(scope, dict(alias))
        _see(scope, path, stamp)


_ABSENT = "0 0"


def _stamp(path: Path) -> str:
    """Time of change and size."""
    try:
        about = path.stat()
    except OSError:
        return _ABSENT
    return f"{about.st_mtime_ns} {about.st_size}"


def _samples_of(path: Path) -> Path:
    return path.with_name(f"{path.stem}.samples.jsonl")


def _is_seen(scope: Scope, path: Path, stamp: str) -> bool:
    query = "SELECT 1 FROM brought WHERE path = ? AND stamp = ?"
    return scope.connection.execute(query, (plain(str(path)), stamp)).fetchone() is not None


def _see(scope: Scope, path: Path, stamp: str) -> None:
    scope.connection.execute("REPLACE INTO brought VALUES (?, ?)", (plain(str(path)), stamp))


@contextlib.contextmanager
def _transaction(scope: Scope) -> Iterator[None]:
    with change(scope.connection, scope.turn):
        yield
        scope.connection.execute("COMMIT")


def copy(scope: Scope, call: Call, result: Any) -> str | None:
    """Writes what the call changed into the files. Why that failed, where it did: nothing is lost by it."""
    if call.name not in ("card.create", "card.append", "card.write_samples", "card.alias_set"):
        return None
    card_id = call.args[0] if call.name == "card.write_samples" else result["card_id"]
    problems = []
    for root in (scope.places.own, *scope.places.others):
        try:
            if call.name == "card.alias_set":
                card_files.write(root / card_files.ALIASES, _aliases_toml(scope))
            elif call.name == "card.write_samples":
                _copy_samples(scope, root, card_id)
            else:
                _copy_card(scope, root, card_id)
        except (OSError, ValueError, sqlite3.Error) as exc:
            problems.append(f"no copy in {root}: {getattr(exc, 'strerror', None) or exc}")
    return "; ".join(problems) or None


def _aliases_toml(scope: Scope) -> str:
    return "".join(f"[[alias]]\n{card_files.toml(alias)}\n" for alias in _aliases(scope))


def _copy_card(scope: Scope, root: Path, card_id: str) -> None:
    pkg, text, _ = _there(scope, card_id)
    card_files.write(card_files.card_path(root, pkg, card_id), card_files.toml(_card(text)))


def _copy_samples(scope: Scope, root: Path, card_id: str) -> None:
    pkg, _, _ = _there(scope, card_id)
    query = "SELECT sample FROM samples WHERE card_id = ? ORDER BY n"
    lines = [f"{sample}\n" for (sample,) in scope.connection.execute(query, (plain(card_id),))]
    card_files.write(card_files.samples_path(root, pkg, card_id), "".join(lines))


def _sink_backfill(scope: Scope, options: Any) -> Card:
    """Copies that are not there yet."""
    sink, is_dry = _text(_option(options, "sink", str), "sink"), _option(options, "dry_run") is True
    known = {f"file://{root}": root for root in (scope.places.own, *scope.places.others)}
    if sink not in known:
        raise ValueError(f"sink '{sink}' is none of {', '.join(known)}: name it in ALC_CARD_SINKS")
    report: Card = {"sink": sink, "pushed": [], "skipped": [], "failed": [], "pushed_samples": []}
    query = "SELECT card_id, pkg, samples FROM cards ORDER BY rowid"
    for card_id, pkg, samples in scope.connection.execute(query).fetchall():
        wanted = [("pushed", card_files.card_path, _copy_card)]
        if samples is not None:
            wanted.append(("pushed_samples", card_files.samples_path, _copy_samples))
        for name, path_of, write in wanted:
            if path_of(known[sink], pkg, card_id).exists():
                report["skipped"] += [card_id] if name == "pushed" else []
                continue
            try:
                if not is_dry:
                    write(scope, known[sink], card_id)
                report[name].append(card_id)
            except OSError as exc:
                report["failed"].append({"card_id": card_id, "error": str(exc.strerror)})
    return report


_ACTS: dict[str, Callable[..., Any]] = {
    "card.create": _create,
    "card.append": _append,
    "card.write_samples": _write_samples,
    "card.alias_set": _alias_set,
    "card.get": _get,
    "card.list": _list,
    "card.find": _find,
    "card.lineage": _lineage,
    "card.read_samples": _read_samples,
    "card.get_by_alias": _get_by_alias,
    "card.alias_list": _alias_list,
    "card.sink_backfill": _sink_backfill,
}
