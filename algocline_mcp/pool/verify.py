"""Verifies journals by replay, in a home of its own that is removed afterwards.

Contract: `scratch_pool(home, …)` is a pool on an empty home below the temporary directory. Its sessions see the
packages of the real home; what a strategy writes there is removed with it. `verify_session` replays a copy of one
journal and returns the outcome: `same`, `finished`, `diverged`, `needs_version`, `corrupt`, `crash_loop`, or `unknown`
where the replay did not end within `wait_s`. No answer is given to the strategy beyond those in the journal.
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
from algocline_mcp.pool.node import SOCKET_VARIABLE
from algocline_mcp.session.events import Answer
from algocline_mcp.storage import journal

OK = ("same", "finished")
_NO_QUERY = "none"
_FAILURES = ("diverged", "needs_version", "corrupt", "crash_loop")


@asynccontextmanager
async def scratch_pool(home: Home, limits: Limits, environ: Mapping[str, str]) -> AsyncIterator[Pool]:
    root = Path(tempfile.mkdtemp(prefix="alc"))
    packages = [environ.get("ALC_PACKAGES_PATH", ""), os.fspath(home.packages)]
    worker_environ = {**environ, "ALC_PACKAGES_PATH": ":".join(filter(None, packages)), "ALC_KEEP": "all"}
    worker_environ.pop(SOCKET_VARIABLE, None)  # what is tried here is no session of the database
    try:
        scratch = Home(root / "h", home.part)  # a principal's session may do here what it may do there
        async with Pool(scratch, replace(limits, retention_days=0.0), environ=worker_environ) as pool:
            yield pool
    finally:
        shutil.rmtree(root, ignore_errors=True)


async def verify_session(pool: Pool, home: Home, sid: str, *, wait_s: float) -> dict[str, Any]:
    """Replays a copy of the journal. `pool`: a scratch_pool. `{session_id, outcome, error?, recorded?, replayed?}`."""
    report: dict[str, Any] = {"session_id": sid}
    try:
        content = home.journal(sid).read_bytes()
        records = journal.read(home.journal(sid), is_for_host=False)
    except FileNotFoundError:
        return report | {"outcome": "finished"}
    except (AlcError, OSError) as exc:
        return report | {"outcome": "corrupt", "error": str(exc)}
    pool.home.journal(sid).write_bytes(content if records else b"")
    try:
        # An answer to a prompt that does not exist is refused only after the whole journal has been replayed.
        result = (await continue_via_pool(pool, sid, [Answer(_NO_QUERY, "")], wait_s=wait_s)).result
        return report | _outcome(result)
    except Refused:
        return report | {"outcome": "same"}
    except AlcError as exc:
        return report | {"outcome": "unknown", "error": str(exc)}
    finally:
        with suppress(AlcError):
            await stop_via_pool(pool, sid, "delete")


def _outcome(result: Mapping[str, Any]) -> dict[str, Any]:
    code = result.get("error_code")
    if code in _FAILURES:
        shown = {key: result[key] for key in ("error", "recorded", "replayed") if key in result}
        return {"outcome": code, **shown}
    if result["status"] == "running":
        return {"outcome": "unknown", "error": "the replay did not end in time"}
    return {"outcome": "same"}


def unfinished_sids(home: Home) -> Sequence[str]:
    """The ids of all unfinished sessions, oldest first."""
    return sorted(path.stem for path in home.sessions.glob("p-*.journal"))
