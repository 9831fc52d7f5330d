"""What a principal may call, and which errors it gets: nothing beyond its own sessions and what is installed.

Contract, pure but for one line in the log. A call has the rights of the server's user, so a principal's gets only what
stays within the principal's part of the home. Both tables list what is allowed: a new tool, or a new argument, is
refused until it is listed here. Refused are what changes packages for all, what names a file or directory of the
server's machine, and what shows the settings of the server. The user of the home, over stdio and at the terminal, may
call everything.

Sentences of errors are written for the user, who can repair the home. A principal is shown no directory of the machine,
and is sent to the operator where the cure is a setting or a disk.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any

from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call.rare_warning import RareWarning
from algocline_mcp.session.owner import caller

_TOOLS = """
    alc_run alc_continue alc_status alc_stop alc_branch alc_catalog
    alc_advice alc_log_view alc_note alc_stats
    alc_state_list alc_state_show alc_state_set alc_state_delete alc_state_reset
    alc_card_list alc_card_get alc_card_find alc_card_append alc_card_samples alc_card_lineage
    alc_card_alias_set alc_card_alias_list alc_card_get_by_alias
    alc_eval alc_eval_history alc_eval_detail alc_eval_compare
"""
_ARGUMENTS = """
    code strategy task opts ctx title language host_mode wait_s
    session_id response responses refuse query_id usage by
    view limit cursor finished pending_filter include_history mode max_chars content days
    at n dry_run kind name query
    key value namespace steps fields pkg card_id where order_by offset direction depth include_stats relation_filter
    note scenario scenario_name strategy_opts auto_card eval_id eval_id_a eval_id_b
"""
# Codes of errors whose cure is the operator's.
_OPERATORS_CODES = """
    home_unusable lost no_process program_replaced sandbox_incomplete storage_broken storage_failed storage_full
    unusable_path worker_memory
"""
OPERATORS_CODES = frozenset(_OPERATORS_CODES.split())
_unrepaired = RareWarning(logging.getLogger(__name__))
_PATH = re.compile(r"(?<![\w.:/])/(?:[^/\s'\",;:()]+/)+(?=[^/\s])")  # up to the last name; not of a URL
TOOLS = frozenset(_TOOLS.split())
ARGUMENTS = frozenset(_ARGUMENTS.split())


def may_call(tool: str) -> bool:
    return not caller() or tool in TOOLS


def sentence_for_caller(sentence: str, code: str) -> str:
    """The sentence of an error as the caller gets it. What only the operator can mend is written into the log."""
    if not caller():
        return sentence
    if code in OPERATORS_CODES:
        _unrepaired.note(f"a principal was refused: {sentence} [{code}]")
        return "this server cannot do that at present, which only its operator can repair"
    return without_directories(sentence)


def without_directories(text: str) -> str:
    """`text` for the caller: for a principal the last name alone remains of each absolute path."""
    return _PATH.sub("…/", text) if caller() else text


def shown_text(description: str) -> str:
    """The description of a tool, without an argument that a principal may not give."""
    return description.replace("code, code_file or strategy", "code or strategy") if caller() else description


def shown_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The input schema of a tool, without the arguments that a principal may not give."""
    if not caller():
        return schema
    return {
        **schema,
        "properties": {name: schema["properties"][name] for name in schema["properties"] if name in ARGUMENTS},
    }


def refuse_beyond(tool: str, arguments: Iterable[str]) -> None:
    """Raises Refused (`not_allowed`) for a call that only the user of the home may make."""
    if not caller():
        return
    if tool not in TOOLS:
        raise Refused(
            f"{tool} is for the operator of this server, at its terminal: it reaches more than your own sessions",
            code="not_allowed",
        )
    for name in arguments:
        if name not in ARGUMENTS:
            raise Refused(
                f"{tool} does not take {name} here, which names something on the server's machine: "
                "send the text itself, in code or ctx",
                code="not_allowed",
            )
