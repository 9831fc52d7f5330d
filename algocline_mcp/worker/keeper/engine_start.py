"""Start messages: the first line that a keeper sends to an engine. Pure."""

import json

from algocline_mcp.config.limits import Limits
from algocline_mcp.languages import LANGUAGES
from algocline_mcp.session.records import Record, json_depth_of
from algocline_mcp.session.state import Session
from algocline_mcp.session.streams import child_seed, fork_of


def of_strategy(header: Record) -> Record:
    start = {name: header[name] for name in ("sid", "language", "utc_offset_s", "code", "chunk", "ctx", "seed")}
    if header.get("strategy"):
        start["code"] = LANGUAGES[header["language"]].entered(header["strategy"], header["code"])
    return (
        start
        | _forms(header)
        | {
            "created_s": header.get("created_s", header["t"]),
            "name_bytes": header["limits"]["state_key_bytes"],
            "json_depth": json_depth_of(header),
        }
    )


def of_child(session: Session, child: str, limits: Limits) -> Record:
    """The code of a child loads the package, so that the child's own records pin the source as of any module."""
    header, stream = session.header, session.streams[child]
    language = stream.language(header)
    start = {name: header[name] for name in ("sid", "utc_offset_s")}
    return (
        start
        | _forms(header)
        | {
            "language": language,
            "created_s": header.get("created_s", header["t"]),
            "code": LANGUAGES[language].child.format(stream.strategy),
            "chunk": f"fork of {stream.strategy}",
            "ctx": json.dumps(fork_of(session.streams, child).ctx),
            "seed": child_seed(header["seed"], child),
            "name_bytes": header["limits"]["state_key_bytes"],
            "json_depth": json_depth_of(header),
            "heap_bytes": limits.child_heap_bytes,
        }
    )


def _forms(header: Record) -> Record:
    return {} if header.get("reads_inputs") else {"ignores_forms": True}
