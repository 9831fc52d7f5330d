"""A command that answers."""

import anyio
import pytest

from algocline_mcp.answering.command import Command
from algocline_mcp.answering.prompts import Answer, NoAnswer, Prompt

PROMPT = Prompt(text="prompt 3", system="a judge", max_tokens=7, query_id="q-3", session_id="p-1")


def test_a_command_gets_the_prompt_on_stdin_and_the_rest_in_its_environment() -> None:
    command = Command('printf "%s|$ALC_SYSTEM|$ALC_QUERY_ID|$ALC_MAX_TOKENS|$ALC_SESSION_ID\n\n" "$(cat)"')

    answer = anyio.run(command.answer, PROMPT)

    assert answer == Answer(text="prompt 3|a judge|q-3|7|p-1")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("true", "printed no answer to q-3"),
        ("echo", "printed no answer to q-3"),
        ("printf '  \\n'", "printed no answer to q-3"),
        ("echo half; exit 4", "ended with exit code 4 for q-3"),
    ],
)
def test_a_command_that_prints_nothing_or_fails_gives_no_answer(command: str, sentence: str) -> None:
    with pytest.raises(NoAnswer, match=sentence):
        anyio.run(Command(command).answer, PROMPT)
