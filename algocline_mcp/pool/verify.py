"""Runs a journal where it can do no harm: in a home of its own that is removed afterwards. Nothing is answered.

Contract: `verify_journal(home, …)` is a pool on an empty home below the temporary directory, with the packages of the real
one; what a strategy writes there is nobody's. `replay` says how a copy of one journal comes through: `same`,
`diverged`, `needs_version`, `corrupt`, `crash_loop`, or `unknown` where it was not over within `wait_s`.
"""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.pool.dispatch import Pool, continue_via_pool, stop_via_pool
from algocline_mcp.session.events import Answer
from algocline_mcp.storage import journal

OK = ("same", "finished")
_NO_QUERY = "none"
_TROUBLES = ("diverged", "needs_version", "corrupt", "crash_loop")


@asynccontextmanager
async def verify_journal(home: Home, limits: Limits, environ: Mapping[str, str]) -> AsyncIterator[Pool]:
    root = Path(tempfile.mkdtemp(prefix="alc"))
    packages = [environ.get("ALC_PACKAGES_PATH", ""), os.fspath(home.packages)]
    surroundings = {**environ, "ALC_PACKAGES_PATH": ":".join(filter(None, packages)), "ALC_KEEP": "all"}
    try:
        async with Pool(Home(root / "h"), replace(limits, retention_days=0.0), environ=surroundings) as pool:
            yield pool
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def replay(pool: Pool, home: Home, sid: str, *, wait_s: float) -> dict[str, Any]:
    """`{session_id, outcome, error?, recorded?, replayed?}`. `pool`: a verify_journal."""
    told: dict[str, Any] = {"session_id": sid}
    try:
        content = home.journal(sid).read_bytes()
        records = journal.read(home.journal(sid), is_told=False)
    except FileNotFoundError:
        return told | {"outcome": "finished"}
    except (AlcError, OSError) as exc:
        return told | {"outcome": "corrupt", "error": str(exc)}
    pool.home.journal(sid).write_bytes(content if records else b"")
    try:
        # An answer to a prompt that does not exist is decided, and refused, where the replay has come through.
        result = (await continue_via_pool(pool, sid, [Answer(_NO_QUERY, "")], wait_s=wait_s)).result
        return told | _outcome(result)
    except Refused:
        return told | {"outcome": "same"}
    except AlcError as exc:
        return told | {"outcome": "unknown", "error": str(exc)}
    finally:
        with suppress(AlcError):
            await stop_via_pool(pool, sid, "delete")


def _outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    code = result.get("error_code")
    if code in _TROUBLES:
        shown = {key: result[key] for key in ("error", "recorded", "replayed") if key in result}
        return {"outcome": code, **shown}
    if result["status"] == "running":
        return {"outcome": "unknown", "error": "its replay was not over in time"}
    return {"outcome": "same"}


def unfinished(home: Home) -> Sequence[str]:
    """Ids, oldest first."""
    return sorted(path.stem for path in home.sessions.glob("p-*.journal"))
