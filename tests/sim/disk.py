"""A disk that keeps only what was flushed, and of the rest whatever a seed chooses.

Of every unit (a sector or a page) written since the last flush a power cut leaves the old content, zeros or the new
one, whatever it leaves of the others; the length is any that the file had, or any boundary between; a name is where
it was at any time since its directory was flushed. A failed flush marks what it could not write as clean, as the
kernel does: the cache shows it until it is dropped, and no later flush writes it.
"""

import errno
import os
from random import Random


class File:
    """One inode. `cache`: what the system shows. `plate`: what is on the disk. `fresh`: the plate without the
    parts that were truncated since; only a power cut may restore these."""

    def __init__(self, number: int, path: str) -> None:
        self.number = number
        self.cache = bytearray()
        self.plate = self.fresh = b""
        self.flushed = 0  # so many bytes survive a power cut
        self.dirty: set[int] = set()
        self.errors = 0  # failed writes to the plate; every descriptor gets each error once
        self.is_reported = True  # a descriptor got the last error: one that is opened later does not
        self.paths: list[str | None] = [None, path]  # since its directory was flushed; the last is where it is

    @property
    def path(self) -> str | None:
        return self.paths[-1]


class Disk:
    def __init__(self, rng: Random, unit: int) -> None:
        self.rng = rng
        self.unit = unit
        self.files: dict[str, File] = {}  # by path
        self.inodes: list[File] = []  # also those that a power cut could restore
        self.free_bytes: int | None = None  # None: unlimited
        self.errors: dict[str, float] = {}  # call -> how often it fails with EIO
        self.cuts = 0
        self._count = 0

    # ── what a process may do ─────────────────────────────────────────────────────────────────────────────

    def create(self, path: str) -> File:
        self.may_fail("create")
        if self.free_bytes == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._count += 1
        file = self.files[path] = File(self._count, path)
        self.inodes.append(file)
        return file

    def write(self, file: File, content: bytes) -> int:
        """Appends as much as fits, as a system does."""
        self.may_fail("write")
        if self.free_bytes is not None:
            if not self.free_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            content = content[: self.free_bytes]
            self.free_bytes -= len(content)
        elif len(content) > 1 and self.rng.random() < self.errors.get("short", 0.0):
            content = content[: self.rng.randrange(1, len(content))]
        self._touch(file, len(file.cache), len(file.cache) + len(content))
        file.cache += content
        return len(content)

    def truncate(self, file: File, size: int) -> None:
        self.may_fail("truncate")
        self._touch(file, size, max(size, len(file.cache)))
        file.flushed = min(file.flushed, size)
        file.fresh = file.fresh[:size]
        del file.cache[size:]

    def flush(self, file: File, known: int) -> int:
        """Returns how many errors the descriptor has got. `known`: those before. Raises OSError for a new one."""
        if self.rng.random() < self.errors.get("flush", 0.0):
            self.fail(file)
        if known < file.errors:
            file.is_reported = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for number in file.dirty:
            self._write_back(file, number)
        file.plate = file.fresh = file.fresh[: len(file.cache)].ljust(len(file.cache), b"\0")
        file.dirty.clear()
        file.flushed = len(file.cache)
        return known

    def fail(self, file: File) -> None:
        """Some of what is dirty does not reach the plate, and is clean from now on."""
        for number in sorted(file.dirty):
            if self.rng.random() < 0.5:
                self._write_back(file, number)
        file.dirty.clear()
        file.errors += 1
        file.is_reported = False

    def drop_cache(self, file: File) -> None:
        """What is clean is read from the plate again."""
        plate = file.fresh.ljust(len(file.cache), b"\0")
        for number in range(-(-len(file.cache) // self.unit)):
            if number not in file.dirty:
                start, stop = number * self.unit, min((number + 1) * self.unit, len(file.cache))
                file.cache[start:stop] = plate[start:stop]

    def rename(self, old: str, new: str) -> None:
        self.may_fail("rename")
        file = self.files.pop(old)
        file.paths.append(new)
        self.files[new] = file

    def unlink(self, path: str) -> None:
        self.files.pop(path).paths.append(None)

    def sync_directory(self, directory: str) -> None:
        self.may_fail("sync")
        for file in self.inodes:
            if any(path is not None and os.path.dirname(path) == directory for path in file.paths):
                del file.paths[:-1]

    # ── what happens to it ────────────────────────────────────────────────────────────────────────────────

    def write_back(self) -> None:
        """The system writes some of the cache of its own accord."""
        for file in self.files.values():
            for number in sorted(file.dirty):
                if self.rng.random() < 0.5:
                    self._write_back(file, number)

    def cut(self) -> None:
        """The power goes and comes back."""
        self.cuts += 1
        for file in self.inodes:
            self._restart(file)
            file.paths = [self.rng.choice(file.paths)]
        self.inodes = [file for file in self.inodes if file.path is not None]
        self.files = {file.path: file for file in self.inodes if file.path is not None}

    def _restart(self, file: File) -> None:
        if file.dirty or file.plate != file.cache:
            file.plate = self.rng.choice((file.plate, file.fresh))
            end = max(len(file.plate), len(file.cache))
            old, new = file.plate.ljust(end, b"\0"), bytes(file.cache).ljust(end, b"\0")
            content = bytearray(old)
            for number in sorted(file.dirty):
                start, stop = max(file.flushed, number * self.unit), min(end, (number + 1) * self.unit)
                if start < stop:
                    content[start:stop] = self.rng.choice((old[start:stop], bytes(stop - start), new[start:stop]))
            file.plate = bytes(content[: self._length(file, end)])
        file.fresh = file.plate
        file.cache = bytearray(file.plate)
        file.flushed = len(file.plate)
        file.dirty.clear()
        file.errors, file.is_reported = 0, True

    def _length(self, file: File, end: int) -> int:
        boundaries = range(-(-file.flushed // self.unit) * self.unit, end + 1, self.unit)
        lengths: list[int] = [len(file.plate), len(file.cache), *boundaries]
        return self.rng.choice([length for length in lengths if length >= file.flushed] or [end])

    def _touch(self, file: File, start: int, stop: int) -> None:
        if start < stop:
            file.dirty.update(range(start // self.unit, -(-stop // self.unit)))

    def _write_back(self, file: File, number: int) -> None:
        start, stop = number * self.unit, min((number + 1) * self.unit, len(file.cache))
        if start < stop:
            file.plate = _put(file.plate, start, file.cache[start:stop])
            file.fresh = _put(file.fresh, start, file.cache[start:stop])

    def may_fail(self, call: str) -> None:
        if self.errors and self.rng.random() < self.errors.get(call, 0.0):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _put(content: bytes, start: int, part: bytearray) -> bytes:
    return content[:start].ljust(start, b"\0") + part + content[start + len(part) :]
