"""Moves a session from one home to another, as the file that its journal is.

Contract: `packed` gives the intact bytes of a journal, flushed before they are read; the session stays where it is.
`unpack` takes them only if they are undamaged to the last byte and fold to a session that this program knows, and never
over an id that exists here, finished or not; on return the session is on the disk. What a package or module gave is in
the file; what the strategy still has to load must be installed where it goes on.
"""

import os
import re
import secrets

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history.reader import records_of
from algocline_mcp.session.records import IllegalRecord
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import home_setup, journal_lines
from algocline_mcp.storage.files import create_atomically

_SID = re.compile(r"p-[0-9a-f]{1,24}-[0-9a-f]{16}")


def export_session(home: Home, limits: Limits, sid: str) -> bytes:
    """Raises Refused where there is no such session, JournalCorrupt, StorageFailed."""
    records = records_of(home, limits, sid)
    return journal_lines.encode_flushed(
        {key: value for key, value in record.items() if key != "s"} for record in records
    )


def import_session(home: Home, content: bytes, limits: Limits) -> tuple[str, Phase]:
    """The id of the session that is here now, and how it stands. Raises Refused, StorageFailed, HomeUnusable."""
    if len(content) > limits.journal_bytes:
        raise Refused(f"the file has {len(content)} bytes, at most {limits.journal_bytes}: raise ALC_JOURNAL_BYTES")
    found = journal_lines.scan(content)
    if found.damaged_line is not None or not found.records:
        raise Refused(f"the file is no whole journal, see line {found.damaged_line or 1}: export the session again")
    header = found.records[0]
    sid = header.get("sid")
    if header.get("format") != journal_lines.FORMAT or not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise Refused(f"the file's first record is of format {header.get('format')!r} and not of this program")
    try:
        phase = fold(found.records).phase
    except IllegalRecord as exc:
        raise Refused(f"the file is no journal of this program: {exc}") from exc
    target = home.finished_journal(sid) if phase is Phase.FINISHED else home.journal(sid)
    if os.path.lexists(home.journal(sid)) or os.path.lexists(home.finished_journal(sid)):
        raise Refused(f"session {sid} is in {home.root} already: delete it there first (alc_stop mode=delete)")
    home_setup.prepare(home)
    try:
        create_atomically(target, content, draft=home.sessions / f".draft-{secrets.token_hex(8)}")
    except FileExistsError as exc:
        raise Refused(f"session {sid} is in {home.root} already") from exc
    except OSError as exc:
        raise StorageFailed(f"cannot write {target}: {exc.strerror}; free or mend that disk") from exc
    return sid, phase
