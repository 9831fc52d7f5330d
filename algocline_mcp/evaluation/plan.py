"""The plan of a run and its directory: what is to be run, and under which session each part runs.

    ALC_HOME/evals/RUN/plan.json      written once, before the first session: cases, strategies, the id of each session
                       rows.jsonl     one line for each part that has ended; a cache, the journals are the truth
                       grading.json   the graders, and the ids of the sessions in which code grades
                       report.json    the result, replaced whenever the run goes on or is graded anew

Contract: the ids are chosen before anything is asked and are on disk before the first session exists. A process that is
killed at any instant therefore leaves a run that the next one can go on with: a session that exists is asked where it
stands, and one that does not exist is begun under its id. `key` names what is run: equal commands have equal keys.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from algocline_mcp import __version__
from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.cases import Case, case_of
from algocline_mcp.evaluation.strategies import Contender, check_inputs
from algocline_mcp.pool.dispatch import gen_pool_sid
from algocline_mcp.storage.clock import now_s
from algocline_mcp.storage.files import make_directories, replace_atomically

MAX_SESSIONS = 50_000
PLAN, ROWS, GRADING, REPORT = "plan.json", "rows.jsonl", "grading.json", "report.json"
_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """One run of one strategy on one case."""

    strategy: int
    case: int
    epoch: int
    sid: str


@dataclass(frozen=True)
class Plan:
    """`answered_by`: such as "exec:CMD" or "openai:NAME". `prices`: US dollars for a million tokens of prompts, and of
    answers. `sids`: strategy by strategy, case by case, epoch by epoch; the last ones are for the cards."""

    run_id: str
    key: str
    created_at: float
    name: str
    cases: Sequence[Case]
    contenders: Sequence[Contender]
    epochs: int
    answered_by: str
    sids: Sequence[str]
    prices: tuple[float, float] | None = None

    @cached_property
    def parts(self) -> list[Part]:
        """Case by case, so that a run which is not complete has compared its first cases."""
        return [
            Part(strategy, case, epoch, self.sids[(strategy * len(self.cases) + case) * self.epochs + epoch])
            for epoch in range(self.epochs)
            for case in range(len(self.cases))
            for strategy in range(len(self.contenders))
        ]

    def card_sid(self, strategy: int) -> str:
        return self.sids[len(self.parts) + strategy]

    def as_json(self) -> dict[str, Any]:
        return {
            "version": __version__,
            **{name: getattr(self, name) for name in ("run_id", "key", "created_at", "name", "epochs", "answered_by")},
            "prices": self.prices,
            "strategies": [contender.as_json() for contender in self.contenders],
            "cases": [case.as_json() for case in self.cases],
            "sids": list(self.sids),
        }

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "Plan":
        names = ("run_id", "key", "created_at", "name", "epochs", "answered_by", "sids")
        return cls(
            cases=[case_of("plan", item, number=number) for number, item in enumerate(value["cases"], 1)],
            contenders=[Contender.of_json(item) for item in value["strategies"]],
            prices=tuple(value["prices"]) if value["prices"] else None,
            **{name: value[name] for name in names},
        )


def new_plan(
    name: str,
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    *,
    epochs: int,
    answered_by: str,
    prices: tuple[float, float] | None = None,
) -> Plan:
    """`name`: of the file of cases. Raises Refused for too many sessions, or two strategies with one label."""
    labels = [contender.label for contender in contenders]
    if twice := {label for label in labels if labels.count(label) > 1}:
        raise Refused(f"the strategy {min(twice)!r} is given twice: give it once, or with other options")
    check_inputs(contenders, cases)
    count = len(cases) * len(contenders) * epochs
    if count > MAX_SESSIONS:
        parts = f"{len(cases)} cases x {len(contenders)} strategies x {epochs} epochs"
        raise Refused(f"{parts} are {count} sessions, at most {MAX_SESSIONS}: run fewer", code="too_large")
    key = key_of(cases, contenders, epochs, answered_by)
    created = now_s()
    stem = Path(name).stem[:40] or "cases"
    run_id = f"{stem}-{time.strftime('%Y%m%dT%H%M%S', time.gmtime(created))}-{key[:8]}"
    sids = [gen_pool_sid() for _ in range(count + len(contenders))]
    return Plan(run_id, key, created, name, cases, contenders, epochs, answered_by, sids, prices)


def key_of(cases: Sequence[Case], contenders: Sequence[Contender], epochs: int, answered_by: str) -> str:
    """Names what is asked: cases with what a strategy sees of them, the text of each strategy, who answers. Graders
    and prices are left out: they change no answer."""
    facts = [[case.as_json() for case in cases], [item.as_json() for item in contenders], epochs, answered_by]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


class RunDirectory:
    """The files of one run. Every method blocks on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.name

    def save(self, name: str, value: Mapping[str, Any]) -> None:
        """Replaces a file, durably."""
        content = json.dumps(value, ensure_ascii=True, indent=1).encode()
        replace_atomically(self.path / name, content, is_durable=True)

    def load(self, name: str) -> dict[str, Any] | None:
        """None where there is no such file, or it cannot be read."""
        try:
            value = json.loads((self.path / name).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def plan(self) -> Plan:
        if (value := self.load(PLAN)) is None or "cases" not in value:
            raise Refused(f"Eval result not found: {self.run_id}: alc_eval_history lists the runs", code="not_found")
        return Plan.of_json(value)

    def rows(self) -> dict[str, dict[str, Any]]:
        """By session id. A line that a killed process has torn is left out: its session still knows."""
        rows = {}
        try:
            lines = (self.path / ROWS).read_text("utf-8").splitlines()
        except OSError:
            return {}
        for line in lines:
            try:
                row = json.loads(line)
                rows[row["sid"]] = row
            except (ValueError, KeyError, TypeError):
                continue
        return rows

    def add_row(self, row: Mapping[str, Any]) -> None:
        """A line feed comes first: the line before may be torn."""
        fd = os.open(self.path / ROWS, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"\n" + json.dumps(row).encode() + b"\n")
        finally:
            os.close(fd)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises Refused while another process carries out this run: each prompt would be asked twice."""
        fd = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(fd)
            raise Refused(f"run {self.run_id} is being carried out by another process: wait for its end") from exc
        try:
            yield
        finally:
            os.close(fd)


def create_run(home: Home, plan: Plan) -> RunDirectory:
    """The directory of a new run, with its plan on disk."""
    directory = RunDirectory(home.evals / plan.run_id)
    make_directories(home.evals, directory.path)
    directory.save(PLAN, plan.as_json())
    return directory


def find_by_key(home: Home, key: str) -> RunDirectory | None:
    """The newest run of this key."""
    for directory in list_runs(home):
        if directory.run_id.endswith(f"-{key[:8]}") and (directory.load(PLAN) or {}).get("key") == key:
            return directory
    return None


def find_alike(
    home: Home,
    cases: Sequence[Case],
    contenders: Sequence[Contender],
    *,
    epochs: int | None = None,
    answered_by: str | None = None,
) -> RunDirectory | None:
    """The newest run of these strategies on these cases; where they are None, with any number of epochs and whoever
    answered."""
    for directory in list_runs(home):
        saved = directory.load(PLAN) or {}
        if "cases" not in saved:  # of a host
            continue
        own_epochs, own_answerer = epochs or saved["epochs"], answered_by or saved["answered_by"]
        if key_of(cases, contenders, own_epochs, own_answerer) == saved["key"]:
            return directory
    return None


def list_runs(home: Home) -> list[RunDirectory]:
    """The newest first: plan.json is written once."""
    dated: list[tuple[int, Path]] = []
    with suppress(OSError):  # no run yet
        for entry in os.scandir(home.evals):
            with suppress(OSError):
                dated.append((os.stat(os.path.join(entry.path, PLAN)).st_mtime_ns, Path(entry.path)))
    return [RunDirectory(path) for _, path in sorted(dated, reverse=True)[:_LISTED]]


def find_run(home: Home, run_id: str) -> RunDirectory:
    """The run whose id is, begins or ends with `run_id`; "last" is the newest. Raises Refused."""
    runs = list_runs(home)
    if run_id in ("last", "latest") and runs:
        return runs[0]
    fitting = [run for run in runs if run.run_id == run_id] or [
        run for run in runs if run_id and (run.run_id.startswith(run_id) or run.run_id.endswith(run_id))
    ]
    if len(fitting) != 1:
        why = f"Eval result not found: {run_id[:100]}" if not fitting else f"{run_id[:100]} fits {len(fitting)} runs"
        raise Refused(f"{why}: alc_eval_history lists the runs", code="not_found")
    return fitting[0]
