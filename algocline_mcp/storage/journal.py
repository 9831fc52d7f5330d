"""The file that makes a session durable: one record per line, append only, flushed before a reply.

Appending. The holder of the lock (`flock` on the journal itself) appends a record before the session acts on it, and
never changes a complete record; only an incomplete end is cut off. The lock goes with the open file from the server to
the keeper. After a short write the file is cut to its old length, so a record is in the file as a whole or not at all.

Flushing. Records are flushed together, once, before a reply shows any of them to a host: an answer is acknowledged,
and a prompt is shown, only when both survive a power cut.

The flushed mark. A line is `crc32 SP json LF`; the JSON is the record plus `s`, the length of the file that was known
to be flushed when the line was written. After each flush a record `flushed` follows, which is not flushed itself. It
stands behind a line feed of its own, so that a flipped LF of the last flushed line cannot swallow it; empty lines mean
nothing. In a long journal it also holds the session's line of the list, which is then read from the end. So every
acknowledged byte lies below the `s` of the mark that follows it.

Recovery compares the first unreadable byte with the largest readable `s`:

- At or beyond it, the end of the file is the trace of a power cut or a kill. Nothing there was acknowledged; the new
  owner cuts the file off at that byte and appends from there.
- Below it, acknowledged records are lost: JournalCorrupt, and the file stays as it is.

The page cache may show more than the disk holds: after a failed flush the kernel treats the unwritten pages as written,
and reports the error only once. So a flush that fails drops the cache of the file, and the owner stops
(StorageBroken). A reader that finds records beyond the last mark reads them again from the disk, and flushes them
before they go to a host.

What does not fit: a flipped bit in the last mark itself is not noticed as damage. The mark is cut off as an incomplete
end; the records before it are readable and stay.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from algocline_mcp.errors import JournalCorrupt, StorageBroken, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.storage.journal_lines import Scanner, decode, encode, encode_mark

_OPEN = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO is not waited for
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
LARGEST_BYTES = 1 << 32  # a file over this is no journal, whatever ALC_JOURNAL_BYTES is: a sparse file is not read
SHORT_BYTES = 1 << 18  # the marks of a longer journal hold a line of the list
_CHUNK_BYTES = 1 << 20
_TAIL_BYTES = 1 << 14  # hold the last mark
_LINE_BYTES = 1 << 13  # nearly every line is shorter
_flush_file = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync

Take = Callable[[Record, int], object]  # gets a record, and where its line begins


class Journal:
    """An open, locked journal, used by one owner on one thread."""

    def __init__(self, fd: int, path: Path, *, size: int = 0, flushed: int = 0, limit: int = 1 << 62) -> None:
        self.fd = fd
        self.path = path
        self.size = size  # bytes written
        self.flushed = flushed  # bytes known to be on the disk
        self.limit = limit  # bytes
        self.is_flushed = False  # nothing was appended since the last flush

    @classmethod
    def create(cls, path: Path, header: Record) -> Self:
        """Creates a journal, 0600 and locked, with its header appended and not yet flushed. Raises StorageFailed."""
        try:
            fd = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as exc:
            raise _failed(f"cannot create {path}", exc) from exc
        journal = cls(fd, path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            journal.append(header)
        except BaseException as exc:
            os.close(fd)
            os.unlink(path)
            if isinstance(exc, OSError):
                raise _failed(f"cannot lock {path}", exc) from exc
            raise
        return journal

    @classmethod
    def adopt(cls, fd: int, path: Path, take: Take, *, limit: int = 1 << 62) -> Self:
        """Takes over a locked descriptor: hands each record to `take` and cuts off a torn tail.

        The records count as not flushed. Raises JournalCorrupt (the file stays as it is) or StorageFailed; then nothing
        that was taken holds.
        """
        try:
            _check_file(fd, path, min(limit, LARGEST_BYTES))
            _drop_unflushed(fd)
            disk = scan_file(fd, take)
            if disk.is_corrupt:
                raise JournalCorrupt(path, disk.damaged_line or 0)
            if disk.damaged_line is not None:
                # The cut is flushed before anything is written in its place: else a second power cut could mix old
                # lines with new ones. Until then one damaged byte stays, so an owner that comes after a kill between
                # these calls cuts again.
                os.ftruncate(fd, disk.end + 1)
                _flush(fd)
                os.ftruncate(fd, disk.end)
        except OSError as exc:
            raise _failed(f"cannot recover {path}", exc) from exc
        return cls(fd, path, size=disk.end, flushed=disk.flushed, limit=limit)

    def read(self, take: Take) -> None:
        """Reads all records again, for a replay. Raises StorageFailed; JournalCorrupt for damage in the flushed part;
        StorageBroken where the unflushed end is not what was written: a write in the background failed, and the process
        that got the error dropped the cache."""
        try:
            cached = scan_file(self.fd, take)
            size = os.fstat(self.fd).st_size
        except OSError as exc:
            raise _failed(f"cannot read {self.path}", exc) from exc
        if cached.damaged_line is not None and cached.end < self.flushed:
            raise JournalCorrupt(self.path, cached.damaged_line)
        if cached.damaged_line is not None or size != self.size:
            raise self._lost()

    def record_at(self, start: int) -> Record:
        """The record whose line begins there, as `read` or `adopt` found it. Raises StorageFailed; StorageBroken where
        the line is no longer what it was."""
        parts: list[bytes] = []
        try:
            while part := os.pread(self.fd, _CHUNK_BYTES if parts else _LINE_BYTES, start):
                line, ends, _ = part.partition(b"\n")
                parts.append(line)
                if ends:
                    break
                start += len(part)
        except OSError as exc:
            raise _failed(f"cannot read {self.path}", exc) from exc
        record = decode(b"".join(parts))
        if record is None:
            raise self._lost()
        return record

    def _lost(self) -> StorageBroken:
        return StorageBroken(f"the disk lost the unflushed end of {self.path}; repair that disk, then retry")

    def append(self, record: Record) -> None:
        """On return the record is in the file, not yet on the disk. Raises StorageFailed; then nothing was added."""
        self._write(encode(record, self.flushed))
        self.is_flushed = False

    def flush(self, line: Record | None = None, *, is_cache: bool = False) -> None:
        """On return all records are on the disk. Raises StorageBroken; then nothing may be acknowledged. `is_cache`: a
        database has the records, and this file is thrown away where it may have lost some; only the mark is written."""
        if self.is_flushed:
            return
        try:
            if not is_cache:
                _flush(self.fd)
        except OSError as exc:
            raise StorageBroken(f"cannot flush {self.path}: {exc.strerror}; repair that disk, then retry") from exc
        self.flushed = self.size
        self.is_flushed = True
        try:
            self._write(encode_mark(self.flushed, line))
        except StorageBroken:
            raise
        except StorageFailed:
            pass  # the disk is full: acknowledged records are safe, the mark only helps to tell damage from a cut

    def move(self, target: Path) -> None:
        """Renames the file. Raises StorageFailed."""
        try:
            os.rename(self.path, target)
        except OSError as exc:
            raise _failed(f"cannot move {self.path}", exc) from exc
        self.path = target

    def close(self) -> None:
        os.close(self.fd)

    def _write(self, line: bytes) -> None:
        if self.size + len(line) > self.limit:
            raise StorageFailed(
                f"journal {self.path} would grow over {self.limit} bytes: start the strategy again with less work, "
                "or raise ALC_JOURNAL_BYTES",
                code="journal_full",
            )
        try:
            written = os.write(self.fd, line)
        except OSError as exc:
            raise _failed(f"cannot append to {self.path}", exc) from exc
        if written < len(line):
            try:
                os.ftruncate(self.fd, self.size)
            except OSError as exc:
                raise StorageBroken(f"cannot take back half a record in {self.path}: {exc.strerror}") from exc
            raise StorageFailed(f"the disk is full: free some space for {self.path.parent}", code="storage_full")
        self.size += len(line)


def lock(path: Path) -> int | None:
    """A descriptor of the existing journal with its lock, or None where another process holds the lock.

    Raises FileNotFoundError where the journal is gone, also when it was deleted or moved between open and lock, and
    StorageFailed where it cannot be opened or belongs to another user.
    """
    try:
        fd = os.open(path, _OPEN)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise _failed(f"cannot open {path}", exc) from exc
    try:
        _check_file(fd, path, 1 << 62)  # also a file that is too large can be deleted
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine, named = os.fstat(fd), os.stat(path, follow_symlinks=False)
        if (mine.st_ino, mine.st_dev) != (named.st_ino, named.st_dev):
            raise FileNotFoundError(path)
        if mine.st_uid != os.geteuid():
            raise StorageFailed(f"{path} belongs to another user: remove it or change ALC_HOME")
        if mine.st_nlink > 1:  # any file of this user may have been planted as a hard link: a torn end is cut off
            raise StorageFailed(
                f"{path} has a second name, a hard link: remove one of both, or put a copy in its place"
            )
    except BlockingIOError:
        os.close(fd)
        return None
    except FileNotFoundError:
        os.close(fd)
        raise
    except OSError as exc:
        os.close(fd)
        raise _failed(f"cannot lock {path}", exc) from exc
    except BaseException:
        os.close(fd)
        raise
    return fd


def read(path: Path, *, is_for_host: bool = True) -> list[Record]:
    """The records, read without a lock; a line that is just being written is left out. Raises as `stream`."""
    return list(stream(path, is_for_host=is_for_host))


def stream(
    path: Path, *, is_for_host: bool = True, check: Callable[[], object] = bool, scanner: Scanner | None = None
) -> Iterator[Record]:
    """The records one by one, read without a lock in bounded memory. Nothing of them may be shown before the last one
    was taken: only then damage is known.

    `is_for_host`: prompts and answers among them go to a host, so records beyond the last mark are flushed first. A
    power cut must not take back what a host has seen. `check` is called between two chunks, and may raise to end a read
    that nobody waits for; `scanner` tells where each record stands. Raises FileNotFoundError, JournalCorrupt,
    StorageFailed.
    """
    scanner, kind = scanner or Scanner(yields=True), "flushed"
    try:
        fd = os.open(path, READ)
        try:
            _check_file(fd, path)
            if is_for_host:
                _drop_unflushed(fd)
            for chunk in _chunks(fd):
                check()
                for record in scanner.feed(chunk):
                    kind = str(record.get("kind"))
                    yield record
            scanner.finish()
            if scanner.is_corrupt:
                raise JournalCorrupt(path, scanner.damaged_line or 0)
            if is_for_host and kind != "flushed":
                _flush(fd)
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise _failed(f"cannot read {path}", exc) from exc


def _check_file(fd: int, path: Path, largest: int = LARGEST_BYTES) -> None:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
        what = f"not a regular file of at most {largest} bytes"
        raise StorageFailed(f"{path} is {what}: raise ALC_JOURNAL_BYTES, or remove it with alc_stop mode=delete")


def _flush(fd: int) -> None:
    """Raises OSError; then the next reader sees the disk, not what the cache kept of a failed write."""
    try:
        _flush_file(fd)
    except OSError:
        _drop_cache(fd)
        raise


def scan_file(fd: int, take: Take) -> Scanner:
    """Hands each record of the intact part to `take`; returns what else there is to know."""
    scanner = Scanner()
    for chunk in _chunks(fd):
        for record in scanner.feed(chunk):
            take(record, scanner.start)
    scanner.finish()
    return scanner


def _drop_unflushed(fd: int) -> None:
    """Makes the next read show what the disk holds, where the cache might show more.

    After a failed flush the kernel counts what it could not write as clean, and reports the error to no descriptor
    that is opened later. The process that got the error drops the cache, unless it is killed just then. So a journal
    that does not end with a mark is read behind the cache; every byte below the mark was flushed. Where the file was
    written through this descriptor, as in a first launch, its own flush reports the error. It costs (measured with a
    journal of 12 answers) 0.04 ms where the tail is still to be written, 0.07 ms where it has to come from the disk.
    """
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    last = decode(tail[:-1].rpartition(b"\n")[2]) if tail[-1:] == b"\n" else None
    if (last is None or last.get("kind") != "flushed") and not os.lseek(fd, 0, os.SEEK_CUR):
        _drop_cache(fd)


def _drop_cache(fd: int) -> None:
    """Pages that are still to be written stay in the cache."""
    with contextlib.suppress(OSError, AttributeError):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _chunks(fd: int) -> Iterator[bytes]:
    """The content up to the size that the file has now."""
    size, offset = os.fstat(fd).st_size, 0
    while offset < size and (chunk := os.pread(fd, min(_CHUNK_BYTES, size - offset), offset)):
        offset += len(chunk)
        yield chunk


def _failed(what: str, exc: OSError) -> StorageFailed:
    return StorageFailed(f"{what}: {exc.strerror}; free or repair that disk, or set ALC_HOME elsewhere")
