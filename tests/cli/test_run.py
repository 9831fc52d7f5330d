"""`alc run` and `alc continue`, with a real server and real workers."""

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
    assert done.stdout == "<best of <A tea> and <B tea>>\n"


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
    answers = tmp_path / "answers.json"
    answers.write_text('["one"]')

    began = stdio_home.alc("run", str(tmp_path / "two.lua"), "task=tea", "--answers", str(answers))
    assert began.returncode == 1
    sid = began.stderr.partition("alc continue ")[2].split()[0]
    assert f"go on with: alc continue {sid} --answers {answers}\n" in began.stderr
    answers.write_text('["one", "two", "three"]')
    ended = stdio_home.alc("continue", sid, "--answers", str(answers), "--json")
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout, began.stdout) == ('"three"\n', "")
