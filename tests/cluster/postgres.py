"""A PostgreSQL of the tests' own: a directory in /tmp, a Unix socket in it, no port. Its `fsync` is on."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.rig.processes import SOON_S, until_blocking

NOBODY = 65534
_CONFIGURATION = """
listen_addresses = ''
max_connections = 100
shared_buffers = 32MB
autovacuum = off
"""
_ACCESS = "local all locked scram-sha-256\nlocal all all trust\n"


class Unavailable(Exception):
    """The reason why there is no PostgreSQL."""


class Postgres:
    def __init__(self) -> None:
        """Raises Unavailable."""
        self._programs = programs()
        self.directory = Path(tempfile.mkdtemp(prefix="alcpg"))
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:  # which neither initdb nor postgres will be
            os.chown(self.directory, NOBODY, NOBODY)
        data = self.directory / "data"
        options = "-U alc -A trust -E UTF8 --no-locale --no-sync --no-instructions"
        done = self._start([self._programs / "initdb", "-D", data, *options.split()])
        output, _ = done.communicate()
        if done.returncode:
            shutil.rmtree(self.directory)
            raise Unavailable(f"initdb fails: {output.decode()[-300:]}")
        (data / "pg_hba.conf").write_text(_ACCESS)
        with open(data / "postgresql.conf", "a") as file:
            file.write(_CONFIGURATION)
        self.start()

    def _start(self, command: list[str | Path], output: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        is_root = os.geteuid() == 0
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            start_new_session=True,
            user=NOBODY if is_root else None,
            group=NOBODY if is_root else None,
            extra_groups=[] if is_root else None,
        )

    def start(self) -> None:
        """On return it takes connections."""
        with open(self.directory / "log", "ab") as log:
            self._process = self._start(
                [self._programs / "postgres", "-D", self.directory / "data", "-k", self.directory], log.fileno()
            )
        until_blocking(self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.directory / "log").read_text()
        try:
            psycopg.connect(self.url("postgres")).close()
        except psycopg.OperationalError:
            return False
        return True

    def end(self, how: signal.Signals) -> None:
        """SIGINT ends it as `-m fast`, SIGQUIT as `-m immediate`: as a crash."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(4 * SOON_S)  # a backend that waits for a busy disk ends after it

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGQUIT)  # the last checkpoint of SIGINT took 23 s on a busy disk
        shutil.rmtree(self.directory)

    @property
    def socket(self) -> Path:
        return self.directory / ".s.PGSQL.5432"

    def url(self, name: str, user: str = "alc") -> str:
        return f"postgresql://{user}@/{name}?host={self.directory}"

    def emptied(self) -> str:
        """The URL of a database without tables. It is always the same: a new one is 7 MiB for the disk."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("DROP SCHEMA IF EXISTS alc CASCADE")
        return self.url("postgres")


def programs() -> Path:
    """The directory of initdb and postgres. Debian has it outside of PATH."""
    for directory in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    initdb = shutil.which("initdb")
    if initdb is None or not (Path(initdb).parent / "postgres").exists():
        raise Unavailable("PostgreSQL is not installed (apt-get install postgresql)")
    return Path(initdb).parent
