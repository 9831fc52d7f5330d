"""All attempts of tests/server/test_owners.py over real HTTP: two principals with tokens, and the user over stdio."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.http.tokens import new_token
from tests.rig.http_server import HttpServer
from tests.rig.stdio_home import StdioHome, wait_for_workers_to_leave
from tests.server import test_owners as in_memory
from tests.server.test_owners import ANN, BEN, SETTINGS, USER, Player, Story

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    with tempfile.TemporaryDirectory(prefix="alc-") as directory:
        home = StdioHome(Path(directory))
        home.environment |= SETTINGS
        story = Story(home=Home(home.root))
        anns, bens = (new_token(story.home, name) for name in (ANN, BEN))

        async def play() -> None:
            async with server.client(token=anns) as ann, server.client(token=bens) as ben, home.client() as user:
                await in_memory.play(Player({ANN: ann, BEN: ben, USER: user}.__getitem__, story))

        with HttpServer(home.environment) as server:
            anyio.run(play)
            server.stop()
        wait_for_workers_to_leave(home)
        yield story


@pytest.mark.parametrize(
    "judge",
    [
        in_memory.test_a_principal_is_listed_what_it_may_call_alone,
        in_memory.test_each_attempt_ends_as_its_row_says,
        in_memory.test_no_attempt_shows_anything_of_another,
        in_memory.test_advice_names_no_tool_and_no_argument_that_the_caller_may_not_use,
        in_memory.test_what_belongs_to_another_is_refused_in_the_words_for_what_does_not_exist,
        in_memory.test_resources_and_completions_are_those_of_the_caller,
        in_memory.test_attempts_change_nothing_of_the_other,
        in_memory.test_the_user_over_stdio_and_a_principal_do_not_see_each_other,
        in_memory.test_a_header_names_its_owner_and_the_users_paths_are_unchanged,
    ],
)
def test_over_http_as_well(story: Story, judge: object) -> None:
    assert callable(judge)
    judge(story)
