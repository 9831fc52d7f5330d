"""The records of a journal: their shapes, and the checks of records that another program wrote."""

from typing import Any

from algocline_mcp.errors import AlcError

Record = dict[str, Any]


# The limits that decide: a session keeps those it was born with.
RECORDED_LIMITS = (
    *("prompt_bytes", "answer_bytes", "result_bytes", "notes_bytes", "queries", "strikes"),
    *("state_key_bytes", "state_value_bytes", "budget_wait_s"),
    *("ctx_bytes", "children", "children_max", "children_depth"),
)


class IllegalRecord(AlcError):
    """A readable record that cannot follow the ones before it: another program's journal, or a newer one's."""

    code = "corrupt"


_ENDED_AS = {"completed": "Completed", "error": "Failed", "cancelled": "Cancelled"}
