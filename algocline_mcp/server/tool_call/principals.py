"""Tools and arguments of a principal: those that reach its own sessions and what is installed, and no others.

Contract, pure. A call has the rights of the server's user, so a principal's gets only what stays within the principal's
part of the home. Both tables list what is allowed: a new tool, or a new argument, is refused until it is listed here.
Refused are what changes packages for all, what names a file or directory of the server's machine, and what shows the
settings of the server. The user of the home, over stdio and at the terminal, may call everything.
"""

from collections.abc import Iterable
from typing import Any

from algocline_mcp.errors import Refused
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
TOOLS = frozenset(_TOOLS.split())
ARGUMENTS = frozenset(_ARGUMENTS.split())


def may_call(tool: str) -> bool:
    return not caller() or tool in TOOLS


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
