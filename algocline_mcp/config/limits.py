"""Limits, each with its unit and its environment variable.

Contract: `Limits.from_env` reads only the mapping that it is given. An unusable value raises HomeUnusable, which names
the variable and the cure. Nothing here touches the disk.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Any

from algocline_mcp.errors import HomeUnusable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

KIB = 1024
MIB = 1024 * KIB


def limit(default: float, variable: str, meaning: str, *, at_most: float = inf) -> Any:
    """A field of a dataclass of limits."""
    return field(default=default, metadata={"variable": variable, "meaning": meaning, "at_most": at_most})


_limit = limit  # shorter lines below


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits of server and worker. The unit ends the name: _s seconds, _bytes bytes; others are counts."""

    wait_s: float = _limit(45.0, "ALC_WAIT_S", "how long a tool call waits for the next pause")
    wait_max_s: float = _limit(0.0, "ALC_WAIT_MAX_S", "longest wait_s a call may ask for; 0: what its host allows")
    # With the longest wait, 50 s, less than the 60 after which hosts give up. A machine with eight times the work that
    # it has processors for took over 5 s to start a server's first worker.
    grace_s: float = _limit(8.0, "ALC_GRACE_S", "a tool call answers within wait_s plus this, whatever hangs")
    reach_s: float = _limit(8.0, "ALC_REACH_S", "how long a server tries to reach a worker")
    fork_s: float = _limit(1.0, "ALC_FORK_S", "a fork server that does not reply within this is replaced")
    fork_start_s: float = _limit(3.0, "ALC_FORK_START_S", "a fork server that takes longer to start is not waited for")
    stubborn_s: float = _limit(1.0, "ALC_STUBBORN_S", "the owner of a journal without a socket gets SIGTERM after this")
    back_off_max_s: float = _limit(0.25, "ALC_BACK_OFF_MAX_S", "longest pause between two attempts to reach a worker")
    resends: int = _limit(5, "ALC_RESENDS", "how often a request is sent again after its worker has ended")
    registry_lock_s: float = _limit(2.0, "ALC_REGISTRY_LOCK_S", "longest wait for registry.lock, then pool_save_error")
    # Measured (bench/run.py, bench/paused.py): coming back costs 6 ms and 0.2 ms per answer, besides whatever the
    # strategy computes once more; staying costs 3 MiB (5 on Python 3.11) and no processor time. Ten minutes outlast the
    # turns of a conversation: only what was left lying pays, and gives its memory back.
    idle_s: float = _limit(600.0, "ALC_POOL_IDLE_TIMEOUT", "a worker without a request hibernates after this; 0: never")
    server_idle_s: float = _limit(
        600.0, "ALC_SERVER_IDLE_S", "the server behind `alc` ends after this without a request; 0: never"
    )
    server_silent_s: float = _limit(
        30.0,
        "ALC_SERVER_SILENT_S",
        "a server that owes a reply and says nothing for this is sent a ping, and killed after it once more; 0: never",
    )
    leave_s: float = _limit(1.0, "ALC_LEAVE_S", "a worker that is asked to leave has ended within this")
    client_s: float = _limit(2.0, "ALC_CLIENT_S", "a client sends its request, and reads its reply, within this")
    linger_s: float = _limit(0.1, "ALC_LINGER_S", "a worker with a finished session waits for further clients")

    # 1,000 paused sessions take, with their server, 241 MiB on Python 3.11 and 162 on 3.12; with 64 alive 399 on 3.11.
    pool_max: int = _limit(
        32, "ALC_POOL_MAX", "live workers per home; for one more the longest idle worker hibernates; 0: no cap"
    )
    # With 32, the continues of 100 sessions took 960 to 1,190 ms: 68 had hibernated for the others. With 128: 190.
    pool_burst: int = _limit(
        128,
        "ALC_POOL_BURST",
        "live workers per home in a burst, if memory allows; as ALC_POOL_MAX where that is set",
    )
    burst_s: float = _limit(30.0, "ALC_BURST_S", "beyond ALC_POOL_MAX a worker without a request hibernates after this")
    standby: int = _limit(1, "ALC_STANDBY", "workers that a server keeps ready for its next sessions")
    # One before code is moved together, and one after that: a third takes 0.06 s, and a worker is then as it is now.
    warmup_runs: int = _limit(
        2, "ALC_WARMUP_RUNS", "rounds of sessions that a fork server plays to warm up before its first fork"
    )
    clients: int = _limit(16, "ALC_CLIENTS", "open connections per worker; further connections are closed")
    # A prompt or answer of 4 MiB takes six times as much on a line if every byte needs an escape.
    line_bytes: int = _limit(32 * MIB, "ALC_LINE_BYTES", "one line on a socket")
    code_bytes: int = _limit(1 * MIB, "ALC_CODE_BYTES", "the code of a strategy, and of each module")
    ctx_bytes: int = _limit(2 * MIB, "ALC_CTX_BYTES", "ctx as JSON, without its escapes")
    prompt_bytes: int = _limit(4 * MIB, "ALC_PROMPT_BYTES", "all prompts of one pause, with their options")
    answer_bytes: int = _limit(4 * MIB, "ALC_ANSWER_BYTES", "all answers to one pause")
    # As JSON with escapes, so a line holds it. Larger than the answers to one pause: a strategy of many rounds that
    # returns what it collected failed at its very end.
    result_bytes: int = _limit(16 * MIB, "ALC_RESULT_BYTES", "the result of a session as JSON")
    retention_days: float = _limit(30.0, "ALC_RETENTION_DAYS", "a finished session is kept this long; 0: for ever")
    sweep_s: float = _limit(60.0, "ALC_SWEEP_S", "pause between two checks for sessions past retention")
    journal_bytes: int = _limit(256 * MIB, "ALC_JOURNAL_BYTES", "one session's journal")
    home_bytes: int = _limit(16 * 1024 * MIB, "ALC_HOME_BYTES", "all journals of a home; more start no session")
    home_sessions: int = _limit(100_000, "ALC_HOME_SESSIONS", "journals of a home; more start no session")
    # Of each principal over HTTP. None of them concerns the user whose home it is.
    owner_workers: int = _limit(0, "ALC_OWNER_WORKERS", "live workers of one principal; 0: no cap of its own")
    owner_sessions: int = _limit(
        0, "ALC_OWNER_SESSIONS", "journals of one principal; more start no session; 0: any number"
    )
    owner_bytes: int = _limit(0, "ALC_OWNER_BYTES", "journals, state and cards of one principal; 0: no limit")
    owner_prompts: int = _limit(0, "ALC_OWNER_PROMPTS", "prompts of one principal in a day (UTC); 0: any number")
    notes_bytes: int = _limit(1 * MIB, "ALC_NOTES_BYTES", "log lines and progress of one session")
    node_lease_s: float = _limit(
        30.0,
        "ALC_NODE_LEASE_S",
        "with a database: the sessions of a server that died are free after this",
        at_most=3600,
    )
    title_chars: int = _limit(120, "ALC_TITLE_CHARS", "the title of a session")
    queries: int = _limit(256, "ALC_QUERIES", "prompts in one pause")
    # A record nests deeper than its value, and is read to 300 levels (storage/journal_lines.py).
    json_depth: int = _limit(
        128, "ALC_JSON_DEPTH", "nesting of JSON from outside and from strategies, at most 256", at_most=256
    )
    state_busy_s: float = _limit(2.0, "ALC_STATE_BUSY_S", "alc.state and alc.card wait this long for other processes")
    state_key_bytes: int = _limit(1 * KIB, "ALC_STATE_KEY_BYTES", "one key of alc.state")
    state_value_bytes: int = _limit(1 * MIB, "ALC_STATE_VALUE_BYTES", "one value of alc.state as JSON")
    state_keys: int = _limit(10_000, "ALC_STATE_KEYS", "keys in one namespace of alc.state")
    card_bytes: int = _limit(256 * KIB, "ALC_CARD_BYTES", "one card as JSON")
    samples_bytes: int = _limit(4 * MIB, "ALC_SAMPLES_BYTES", "all samples of one card as JSON")
    cards: int = _limit(10_000, "ALC_CARDS", "cards of one package, and those in one answer")
    budget_wait_s: float = _limit(60.0, "ALC_BUDGET_WAIT_S", "the part of one wait for answers that counts as elapsed")
    children: int = _limit(16, "ALC_CHILDREN", "children of alc.fork that run at once in a session; others wait")
    children_max: int = _limit(256, "ALC_CHILDREN_MAX", "children of alc.fork in one session, all together")
    children_depth: int = _limit(4, "ALC_CHILDREN_DEPTH", "depth of forks within forks")
    branches: int = _limit(16, "ALC_BRANCHES", "sessions that one alc_branch starts")
    # As JSON with escapes. One record holds them: its line, its text and its values are in the memory of server and
    # keeper at once, four times as many bytes.
    inherited_bytes: int = _limit(
        64 * MIB,
        "ALC_INHERITED_BYTES",
        "answers and results as JSON that a branch with other code takes along",
    )
    answer_jobs: int = _limit(4, "ALC_ANSWER_JOBS", "prompts that ALC_ANSWER answers at once, of all sessions")
    output_bytes: int = _limit(0, "ALC_OUTPUT_BYTES", "the result of a tool call; 0: as much as its host shows")
    package_fetch_s: float = _limit(60.0, "ALC_PACKAGE_FETCH_S", "git fetches packages within this, or is ended")
    package_lock_s: float = _limit(2.0, "ALC_PACKAGE_LOCK_S", "longest wait for other processes that change packages")
    package_bytes: int = _limit(64 * MIB, "ALC_PACKAGE_BYTES", "all packages of one install")
    package_files: int = _limit(10_000, "ALC_PACKAGE_FILES", "files of one install")
    package_specs_s: float = _limit(
        300.0, "ALC_PACKAGE_SPECS_S", "the specs of a package end within this, at a terminal"
    )
    spec_files: int = _limit(500, "ALC_SPEC_FILES", "spec files of one package")
    listed: int = _limit(20, "ALC_LISTED", "sessions or items on a page without a limit")
    listed_max: int = _limit(200, "ALC_LISTED_MAX", "the longest page a call may ask for")

    heap_bytes: int = _limit(128 * MIB, "ALC_HEAP_BYTES", "memory of a strategy's own values")
    # Measured: texts as long as the limits above allow, each character an escape, took 119 MiB, and children may hold
    # as much at once. The replay of a journal of 228 MiB takes 20.
    keeper_bytes: int = _limit(
        512 * MIB, "ALC_KEEPER_BYTES", "memory of a worker's keeper beyond what it starts with; 0: no limit"
    )
    child_heap_bytes: int = _limit(32 * MIB, "ALC_CHILD_HEAP_BYTES", "memory of a child's own values")
    headroom_bytes: int = _limit(64 * MIB, "ALC_HEADROOM_BYTES", "memory beyond heap_bytes, for one answer in flight")
    step_cpu_s: int = _limit(
        180,
        "ALC_STEP_CPU_S",
        "processor time of one step, of its keeper too, then a strike; 20 times as much by the clock",
    )
    step_cpu_alone_s: int = _limit(
        60, "ALC_STEP_CPU_ALONE_S", "processor time of a step from the moment that no call waits for it"
    )
    # Code that computes uses processor time, and an engine that waits has sent a line: only a hang does neither.
    engine_silent_s: float = _limit(
        60.0, "ALC_ENGINE_SILENT_S", "an engine that sends nothing and uses no processor time: a strike; 0: never"
    )
    strikes: int = _limit(3, "ALC_STRIKES", "deaths of the engine in one step, then crash_loop")
    engine_log_bytes: int = _limit(1 * MIB, "ALC_ENGINE_LOG_BYTES", "bytes that an engine may write to stderr")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Limits":
        """Defaults, overridden by the variables that are set. Raises HomeUnusable for a value out of range."""
        chosen = chosen_limits(cls, environ)
        if "pool_max" in chosen:  # who chose a cap is not asked to choose a second one
            chosen.setdefault("pool_burst", chosen["pool_max"])
        return cls(**chosen)

    def as_env(self) -> dict[str, str]:
        """The variables that make `from_env` yield these limits again."""
        return {each.metadata["variable"]: str(getattr(self, each.name)) for each in fields(self)}


def chosen_limits(kind: "type[DataclassInstance]", environ: Mapping[str, str]) -> dict[str, Any]:
    """The limits of a dataclass of limits that `environ` sets. Raises HomeUnusable for a value out of range."""
    texts = {each: environ.get(each.metadata["variable"], "") for each in fields(kind)}
    return {each.name: _number(text, each) for each, text in texts.items() if text}


def _number(text: str, each: Field[float]) -> float:
    whole = isinstance(each.default, int)
    variable, at_most = each.metadata["variable"], each.metadata["at_most"]
    try:
        value = int(text) if whole else float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= at_most or value == inf:
        kind = "a whole number" if whole else "a number"
        bounds = "of at least 0" if at_most == inf else f"from 0 to {at_most}"
        raise HomeUnusable(f"{variable}={text!r} is not {kind} {bounds}: correct it or unset it")
    return value
