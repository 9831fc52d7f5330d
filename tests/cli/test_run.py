"""`alc run` and `alc continue`, with a real server and real workers."""

import json
from pathlib import Path

import pytest

from tests.rig.stdio_home import StdioHome

TWO_STEPS = """
local drafts = alc.llm_batch({{prompt = "A " .. ctx.task}, {prompt = "B " .. ctx.task}})
return alc.llm("best of " .. drafts[1] .. " and " .. drafts[2], {system = "judge", max_tokens = 7})
"""


@pytest.mark.slow
def test_a_command_answers_a_whole_strategy(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "two.lua").write_text(TWO_STEPS)

    done = stdio_home.alc("run", str(tmp_path / "two.lua"), "task=tea", "--exec", 'printf "<%s>" "$(cat)"')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == "<best of <A tea> and <B tea>>"


@pytest.mark.slow
def test_a_finished_session_keeps_what_alc_keep_says(stdio_home: StdioHome, tmp_path: Path) -> None:
    """At once: there may be no next server that makes up for it."""
    (tmp_path / "one.lua").write_text('return #alc.llm("the " .. "question")')
    stdio_home.environment["ALC_KEEP"] = "result"

    done = stdio_home.alc("run", str(tmp_path / "one.lua"), "--exec", "echo the answer")
    assert (done.returncode, done.stdout) == (0, "10\n"), done.stderr
    (journal,) = (stdio_home.root / "state" / "sessions" / "finished").glob("p-*.journal")
    left = journal.read_bytes()
    assert b"the question" not in left
    assert b"the answer" not in left
    assert b'"result":10' in left


@pytest.mark.slow
def test_continue_goes_on_where_the_answers_ran_out(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "two.lua").write_text(TWO_STEPS)
    (tmp_path / "some.json").write_text('["one"]')
    (tmp_path / "rest.json").write_text('{"q-1": "two", "q-2": "three"}')

    began = stdio_home.alc("run", str(tmp_path / "two.lua"), "task=tea", "--answers", str(tmp_path / "some.json"))
    assert began.returncode == 1
    sid = began.stderr.partition("alc continue ")[2].split()[0]
    assert f"go on with: alc continue {sid} --answers FILE, a file of the answers that are left" in began.stderr
    ended = stdio_home.alc("continue", sid, "--answers", str(tmp_path / "rest.json"))
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == "three"
