"""Exports a session as its journal file and imports the file into another home.

Contract: `export_session` returns the intact records of a journal, which is flushed first, line by line: 228 MiB as one
took 703 MiB of memory. The session stays in its home. `import_session` accepts a file only if it is undamaged to the
last byte and folds to a session that this version knows. Where this home's own limits are smaller than those in the
file, they replace them: a file must not decide how many engines run here, or how long. It never replaces a session of
the same id, finished or not. On return the session is on the disk. Modules that the strategy has loaded are in the
file; those that it has yet to load must be installed in the other home.
"""

import os
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history.reader import records_of
from algocline_mcp.session.records import RECORDED_LIMITS, IllegalRecord, Record
from algocline_mcp.session.state import Phase, fold
from algocline_mcp.storage import home_setup, journal_lines
from algocline_mcp.storage.files import create_atomically

_SID = re.compile(r"p-[0-9a-f]{1,24}-[0-9a-f]{16}")


def export_session(home: Home, limits: Limits, sid: str) -> Iterator[bytes]:
    """The lines of the file. The call itself raises Refused where there is no such session, JournalCorrupt,
    StorageFailed. An error while the lines are taken (a disk that fails) leaves a part of a session, which is of no
    use."""
    records = records_of(home, limits, sid)
    return journal_lines.lines_flushed(
        {key: value for key, value in record.items() if key != "s"} for record in records
    )


def read_file(path: Path, limits: Limits) -> bytes:
    """The content of a file that may be a session. Raises Refused for anything else than a regular file of a size that
    a journal may have, at once: a FIFO is not waited for, and a sparse file is not read."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{path} is not a regular file: give a file that alc export wrote")
            _check_size(status.st_size, limits)
            return file.read(limits.journal_bytes + 1)
    except OSError as exc:
        raise Refused(f"{path} cannot be read: {exc.strerror}; give a file that alc export wrote") from exc


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.journal_bytes:
        raise Refused(f"the file has over {limits.journal_bytes} bytes: raise ALC_JOURNAL_BYTES")


def import_session(home: Home, content: bytes, limits: Limits) -> tuple[str, Phase]:
    """The id and the phase of the imported session. Raises Refused, StorageFailed, HomeUnusable."""
    _check_size(len(content), limits)
    scanned = journal_lines.scan(content)
    if not scanned.records:
        raise Refused(
            "the file does not begin as a journal: give one that alc export wrote, or export the session again"
        )
    if scanned.damaged_line is not None:
        raise Refused(f"the file is not a whole journal, see line {scanned.damaged_line}: export the session again")
    header = scanned.records[0]
    sid = header.get("sid")
    if header.get("format") != journal_lines.FORMAT or not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise Refused(f"the file's first record (format {header.get('format')!r}) is not a header of this version")
    try:
        fold(scanned.records)
    except IllegalRecord as exc:
        raise Refused(f"the file is not a journal of this version: {exc}") from exc
    records, lowered = _within(scanned.records, limits)
    try:
        phase = fold(records).phase
    except IllegalRecord as exc:
        raise Refused(f"session {sid} has used more than this home allows, raise {', '.join(lowered)}: {exc}") from exc
    if lowered:
        content = journal_lines.encode_flushed(records)
    target = home.finished_journal(sid) if phase is Phase.FINISHED else home.journal(sid)
    if os.path.lexists(home.journal(sid)) or os.path.lexists(home.finished_journal(sid)):
        raise Refused(f"session {sid} is in {home.root} already: delete it there first (alc_stop mode=delete)")
    home_setup.prepare(home)
    try:
        create_atomically(target, content, draft=home.sessions / f".draft-{secrets.token_hex(8)}")
    except FileExistsError as exc:
        raise Refused(f"session {sid} is in {home.root} already") from exc
    except OSError as exc:
        raise StorageFailed(f"cannot write {target}: {exc.strerror}; free or repair that disk") from exc
    return sid, phase


def _within(records: list[Record], limits: Limits) -> tuple[list[Record], list[str]]:
    """The records with the limits of their header lowered to those of this home, and the variables of the lowered."""
    recorded = records[0]["limits"]
    lowered = {name: own for name in RECORDED_LIMITS if recorded.get(name, 0) > (own := getattr(limits, name))}
    header = records[0] | {"limits": recorded | lowered}
    clean = [{key: value for key, value in record.items() if key != "s"} for record in (header, *records[1:])]
    variables = [limit.metadata["variable"] for limit in fields(limits) if limit.name in lowered]
    return (clean if lowered else records), variables
