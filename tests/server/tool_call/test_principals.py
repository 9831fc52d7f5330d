"""server/tool_call/principals.py: what is not listed is refused; and a guessed id reaches nobody else's answering."""

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.server.tool_call import principals
from algocline_mcp.server.tool_call.answering import Answering, _Task
from algocline_mcp.session.owner import calling_as

SID = "p-1-0123456789abcdef"


def test_the_user_may_call_everything() -> None:
    principals.refuse_beyond("alc_package", ["source"])

    assert principals.may_call("a tool of tomorrow")


@pytest.mark.parametrize(
    ("tool", "arguments", "names"),
    [
        ("a_tool_of_tomorrow", [], "is for the operator of this server"),
        ("alc_package", ["action"], "is for the operator of this server"),
        ("alc_run", ["code", "an_argument_of_tomorrow"], "does not take an_argument_of_tomorrow here"),
        ("alc_run", ["code_file"], "does not take code_file here"),
    ],
)
def test_what_is_not_listed_is_refused_to_a_principal(tool: str, arguments: list[str], names: str) -> None:
    with calling_as("ann"), pytest.raises(Refused, match=names) as caught:
        principals.refuse_beyond(tool, arguments)

    assert caught.value.code == "not_allowed"


@pytest.mark.anyio
async def test_a_guessed_id_does_not_stop_the_answering_of_another() -> None:
    answering, task = Answering("exec:true", 1), _Task()
    answering._tasks["ann", SID] = task

    with calling_as("ben"):
        answering.stop(SID)
    answering.stop(SID)
    is_stopped_by_others = task.scope.cancel_called
    with calling_as("ann"):
        answering.stop(SID)

    assert not is_stopped_by_others
    assert task.scope.cancel_called
