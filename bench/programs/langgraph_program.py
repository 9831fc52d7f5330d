"""The two-question program in LangGraph, kept by its SQLite checkpointer: a round for each line on stdin.

    python langgraph_program.py default|flushing DIRECTORY

Contract: prints `{"versions", "setting"}` once it is ready, then for each line `{"think_s"}` one line
`{"start_ms", "step_ms"}`: from `invoke` to the first question, from its answer to the second. `flushing`: every
checkpoint is on the disk before the graph goes on. Ends with its stdin.
"""

import json
import sys
import time
from importlib.metadata import version
from typing import Any, TypedDict

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt


class State(TypedDict, total=False):
    first: str
    second: str
    result: str


def ask_first(state: State) -> State:
    return {"first": interrupt("first")}


def ask_second(state: State) -> State:
    return {"second": interrupt(f"second after {state['first']}")}


def combine(state: State) -> State:
    return {"result": f"{state['first']}+{state['second']}"}


def graph() -> Any:
    building = StateGraph(State)
    for name, node in (("ask_first", ask_first), ("ask_second", ask_second), ("combine", combine)):
        building.add_node(name, node)
    for edge in ((START, "ask_first"), ("ask_first", "ask_second"), ("ask_second", "combine"), ("combine", END)):
        building.add_edge(*edge)
    return building


def play(app: Any, thread: int, think_s: float, options: dict[str, str]) -> dict[str, float]:
    config = {"configurable": {"thread_id": str(thread)}}
    began = time.perf_counter()
    first = app.invoke({}, config, **options)
    asked = time.perf_counter()
    time.sleep(think_s)
    answered = time.perf_counter()
    second = app.invoke(Command(resume="A"), config, **options)
    asked_again = time.perf_counter()
    end = app.invoke(Command(resume="B"), config, **options)
    questions = [state["__interrupt__"][0].value for state in (first, second)]
    if questions != ["first", "second after A"] or end["result"] != "A+B":
        raise RuntimeError(f"the program went another way: {questions}, {end}")
    return {"start_ms": (asked - began) * 1000, "step_ms": (asked_again - answered) * 1000}


def main(setting: str, directory: str) -> None:
    with SqliteSaver.from_conn_string(f"{directory}/langgraph.sqlite") as saver:
        saver.setup()
        options: dict[str, str] = {}
        if setting == "flushing":
            saver.conn.execute("PRAGMA synchronous=FULL")
            options = {"durability": "sync"}
        app = graph().compile(checkpointer=saver)
        pragmas = {name: saver.conn.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
        setting = f"durability {options.get('durability', 'async')}, {pragmas}"
        print(json.dumps({"versions": f"langgraph {version('langgraph')}", "setting": setting}), flush=True)
        for thread, line in enumerate(sys.stdin):
            print(json.dumps(play(app, thread, json.loads(line)["think_s"], options)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
