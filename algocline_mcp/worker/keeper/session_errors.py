"""Errors that stop a session for good, as a host gets them. Pure.

They are not recorded: the journal stays as it is until a host cancels the session.
"""

from algocline_mcp.errors import AlcError, StorageFailed
from algocline_mcp.session.records import Record
from algocline_mcp.worker.keeper.replay import Diverged, likely_cause

_START_ANEW = "start the strategy again with alc_run"


def unreadable(exc: AlcError) -> Record:
    """A failure of the disk may pass, a damaged journal does not."""
    is_passing = isinstance(exc, StorageFailed)
    return {
        "error_code": exc.code,
        "error": str(exc),
        "next": "alc_status with session_id tries again: nothing is lost" if is_passing else _START_ANEW,
    }


def needs_version(header: Record, abi: Record | None) -> Record:
    own = abi if abi is not None else f"no language {header.get('language')!r}"
    return {
        "error_code": "needs_version",
        "error": f"version {header.get('version')} ({header.get('abi')}) wrote this session, this program has {own}",
        "next": f"use that version to go on, or {_START_ANEW}",
    }


def diverged(first: Diverged, second: Diverged) -> Record:
    """From two replays of one stream."""
    return {
        "error_code": "diverged",
        "error": "the strategy asks something else than its journal holds; no answer was delivered. "
        f"Likely cause: {likely_cause(first, second)}",
        "recorded": first.recorded,
        "replayed": first.replayed,
        "next": "the journal is untouched; alc_branch(session_id), if need be with corrected code, starts a "
        "session that keeps every answer whose prompt is still asked",
    }
