"""Exports a session as its journal file and imports the file into another home.

Contract: `export_session` returns the intact records of a journal, which is flushed first, line by line: 228 MiB as one
took 703 MiB of memory. The session stays in its home. `import_session` accepts a file only if it is undamaged to the
last byte and folds to a session that this version knows; it reads the file twice instead of holding it. Where this
home's own limits are smaller than those in the file, they replace them: a file must not decide how many engines run
here, or how long. It never replaces a session of the same id, finished or not. On return the session is on the disk.
Modules that the strategy has loaded are in the file; those that it has yet to load must be installed in the other home.
"""

import os
import re
import secrets
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import BinaryIO

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused, StorageFailed
from algocline_mcp.history.reader import records_of
from algocline_mcp.session.owner import USER
from algocline_mcp.session.records import RECORDED_LIMITS, IllegalRecord, Record
from algocline_mcp.session.state import Phase, Session, evolve
from algocline_mcp.storage import home_setup, journal_lines
from algocline_mcp.storage.files import create_atomically
from algocline_mcp.storage.journal_lines import Scanner
from algocline_mcp.storage.owners import home_with

_CHUNK_BYTES = 1 << 20
_SID = re.compile(r"p-[0-9a-f]{1,24}-[0-9a-f]{16}")


def export_session(home: Home, limits: Limits, sid: str) -> Iterator[bytes]:
    """The lines of the file. The call itself raises Refused where there is no such session, JournalCorrupt,
    StorageFailed. An error while the lines are taken (a disk that fails) leaves a part of a session, which is of no
    use."""
    records = records_of(home, limits, sid)
    return journal_lines.lines_flushed(
        {key: value for key, value in record.items() if key != "s"} for record in records
    )


def open_file(path: Path, limits: Limits) -> BinaryIO:
    """A file that may be a session. Raises Refused for anything else than a regular file of a size that a journal may
    have, at once: a FIFO is not waited for, and a sparse file is not read."""
    try:
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115 - the caller's
        try:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Refused(f"{path} is not a regular file: give a file that alc export wrote")
            _check_size(status.st_size, limits)
        except BaseException:
            file.close()
            raise
    except OSError as exc:
        raise Refused(f"{path} cannot be read: {exc.strerror}; give a file that alc export wrote") from exc
    return file


def spool(source: BinaryIO, limits: Limits) -> BinaryIO:
    """What a pipe gives, as a file without a name: an import reads it twice. Raises Refused, StorageFailed."""
    size = 0
    try:
        file: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
        try:
            while chunk := source.read(_CHUNK_BYTES):
                size += file.write(chunk)
                _check_size(size, limits)
        except BaseException:
            file.close()
            raise
    except OSError as exc:
        raise StorageFailed(f"cannot write a temporary file: {exc.strerror}; free that disk, or set TMPDIR") from exc
    return file


def _check_size(size: int, limits: Limits) -> None:
    if size > limits.journal_bytes:
        raise Refused(f"the file has over {limits.journal_bytes} bytes: raise ALC_JOURNAL_BYTES")


class _Source:
    """A file that is read twice, to judge it and to copy it, and never held."""

    def __init__(self, file: BinaryIO, limits: Limits, owner: str) -> None:
        self._file = file
        self.limits = limits
        self.owner = owner
        self._checksum: int | None = None

    def chunks(self) -> Iterator[bytes]:
        """Raises Refused where the file cannot be read, or is not what it was at the first time."""
        checksum = size = 0
        try:
            self._file.seek(0)
            while chunk := self._file.read(_CHUNK_BYTES):
                checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
                _check_size(size, self.limits)
                yield chunk
        except OSError as exc:
            raise Refused(f"the file cannot be read: {exc.strerror}; give a file that alc export wrote") from exc
        if self._checksum not in (None, checksum):
            raise Refused("the file was changed while it was imported: try again")
        self._checksum = checksum

    def records(self) -> Iterator[Record]:
        """Raises Refused where the file is not a whole journal."""
        scanner, is_empty = Scanner(), True
        for chunk in self.chunks():
            for record in scanner.feed(chunk):
                is_empty = False
                yield record
        scanner.finish()
        if is_empty:
            raise Refused(
                "the file does not begin as a journal: give one that alc export wrote, or export the session again"
            )
        if scanner.damaged_line is not None:
            raise Refused(f"the file is not a whole journal, see line {scanner.damaged_line}: export the session again")


def import_session(home: Home, file: BinaryIO, limits: Limits, owner: str = USER) -> tuple[str, Phase]:
    """The id and the phase of the imported session, which becomes that of `owner`, whose ever it was. Raises Refused,
    StorageFailed, HomeUnusable."""
    source = _Source(file, limits, owner)
    sid, phase, is_changed = _judge(source)
    if os.path.lexists((other := home_with(home, sid)).journal(sid)) or os.path.lexists(other.finished_journal(sid)):
        raise Refused(f"session {sid} is in {home.root} already: delete it there first (alc_stop mode=delete)")
    home = home.of(owner)
    target = home.finished_journal(sid) if phase is Phase.FINISHED else home.journal(sid)
    home_setup.prepare(home, owner)
    parts = journal_lines.lines_flushed(_changed(source)) if is_changed else source.chunks()
    try:
        create_atomically(target, parts, draft=home.sessions / f".draft-{secrets.token_hex(8)}")
    except FileExistsError as exc:
        raise Refused(f"session {sid} is in {home.root} already") from exc
    except OSError as exc:
        raise StorageFailed(f"cannot write {target}: {exc.strerror}; free or repair that disk") from exc
    return sid, phase


def _judge(source: _Source) -> tuple[str, Phase, bool]:
    """Id and phase of the session, and whether its header is to be changed: owner, or limits. Raises Refused."""
    as_written, here = Session(), Session()
    lowered: list[str] = []
    is_changed = False
    excess: IllegalRecord | None = None
    for number, record in enumerate(source.records()):
        if not number:
            _check_header(record)
        try:
            evolve(as_written, record)
        except IllegalRecord as exc:
            raise Refused(f"the file is not a journal of this version: {exc}") from exc
        if not number:
            written = record
            record, lowered = _within(record, source.limits)
            record = _owned(record, source.owner)
            is_changed = record != written
        if excess is None:
            try:
                evolve(here, record)
            except IllegalRecord as exc:
                excess = exc
    if excess is not None:
        raise Refused(
            f"session {as_written.sid} has used more than this home allows, raise {', '.join(lowered)}: {excess}"
        ) from excess
    return here.sid, here.phase, is_changed


def _check_header(header: Record) -> None:
    sid = header.get("sid")
    if header.get("format") != journal_lines.FORMAT or not isinstance(sid, str) or not _SID.fullmatch(sid):
        raise Refused(f"the file's first record (format {header.get('format')!r}) is not a header of this version")


def _within(header: Record, limits: Limits) -> tuple[Record, list[str]]:
    """The header with its limits lowered to those of this home, and the variables of the lowered."""
    recorded = header["limits"]
    lowered = {name: own for name in RECORDED_LIMITS if recorded.get(name, 0) > (own := getattr(limits, name))}
    variables = [limit.metadata["variable"] for limit in fields(limits) if limit.name in lowered]
    return header | {"limits": recorded | lowered}, variables


def _owned(header: Record, owner: str) -> Record:
    """The header with this owner; unchanged where it is the user's already, as in journals before there were owners."""
    return header if (header.get("owner") or USER) == owner else header | {"owner": owner or None}


def _changed(source: _Source) -> Iterator[Record]:
    for number, record in enumerate(source.records()):
        changed = record if number else _owned(_within(record, source.limits)[0], source.owner)
        yield {key: value for key, value in changed.items() if key != "s"}
