"""The two-question program in DBOS on SQLite, by `recv` and `send`: a round for each line on stdin.

    python dbos_program.py default|flushing|quick-poll DIRECTORY

Contract: prints `{"versions", "setting"}` once it is ready, then for each line `{"think_s"}` one line
`{"start_ms", "step_ms"}`: from `start_workflow` to the first question, from its answer to the second. A question
reaches the host through a queue in the same process, which is faster than any way that DBOS itself has. `flushing`:
also the directory is flushed at each commit (synchronous=EXTRA), so that a power cut cannot undo one. `quick-poll`:
DBOS looks for messages every 10 ms instead of every second. Ends with its stdin.
"""

import json
import queue
import sqlite3
import sys
import time
from importlib.metadata import version
from typing import Any

if sqlite3.sqlite_version_info < (3, 42):  # DBOS needs unixepoch('subsec'); older systems have no such SQLite
    import pysqlite3

    sqlite3 = sys.modules["sqlite3"] = pysqlite3

import sqlalchemy
from dbos import DBOS

QUICK_POLL_S = 0.01
# A message that DBOS's listener misses is found when `recv` looks once more, at this time-out.
RECEIVE_S = 5.0
WAIT_S = 20.0

questions: queue.Queue[str] = queue.Queue()


def tell(question: str) -> None:
    questions.put(question)


ask = DBOS.step(name="ask")(tell)


def two_questions() -> str:
    ask("first")
    first = DBOS.recv("answer", timeout_seconds=RECEIVE_S)
    ask(f"second after {first}")
    second = DBOS.recv("answer", timeout_seconds=RECEIVE_S)
    return f"{first}+{second}"


def flush_all(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=EXTRA")


def play(running: Any, began: float, think_s: float) -> dict[str, float]:
    first = questions.get(timeout=WAIT_S)
    asked = time.perf_counter()
    time.sleep(think_s)
    answered = time.perf_counter()
    DBOS.send(running.workflow_id, "A", "answer")
    second = questions.get(timeout=WAIT_S)
    asked_again = time.perf_counter()
    DBOS.send(running.workflow_id, "B", "answer")
    if [first, second] != ["first", "second after A"]:
        raise RuntimeError(f"the program went another way: {first}, {second}")
    return {"start_ms": (asked - began) * 1000, "step_ms": (asked_again - answered) * 1000}


def serve(workflow: Any) -> None:
    running = None
    for line in sys.stdin:
        began = time.perf_counter()
        running = DBOS.start_workflow(workflow)
        print(json.dumps(play(running, began, json.loads(line)["think_s"])), flush=True)
    if running is not None:
        running.get_result()  # the earlier ones ended while later ones were asked


def main(setting: str, directory: str) -> None:
    config: dict[str, Any] = {
        "name": "two-questions",
        "system_database_url": f"sqlite:///{directory}/dbos.sqlite",
        "run_admin_server": False,
        "log_level": "ERROR",
    }
    if setting == "quick-poll":
        config["notification_listener_polling_interval_sec"] = QUICK_POLL_S
    if setting == "flushing":
        sqlalchemy.event.listen(sqlalchemy.Engine, "connect", flush_all)
    DBOS(config=config)
    workflow = DBOS.workflow(name="two_questions")(two_questions)
    DBOS.launch()
    try:
        print(json.dumps({"versions": f"dbos {version('dbos')}", "setting": told(config)}), flush=True)
        serve(workflow)
    finally:
        DBOS.destroy()


def told(config: dict[str, Any]) -> str:
    """What is in force, read from a connection like DBOS's own."""
    engine = sqlalchemy.create_engine(config["system_database_url"])
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
    engine.dispose()
    poll_s = config.get("notification_listener_polling_interval_sec", 1.0)
    return f"looks every {poll_s:g} s, {pragmas}, SQLite {sqlite3.sqlite_version}"


if __name__ == "__main__":
    main(*sys.argv[1:])
