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


LOUD = """
local function rest(s) local t = alc.time() while alc.time() - t < s do end end
print("begun", 1)
alc.progress(1, 2, "half")
rest(0.4)
alc.log("warn", "before the prompt")
local answer = alc.llm("one")
print("got " .. answer)
io.write("last\\n")
return answer
"""


@pytest.mark.slow
def test_what_a_strategy_prints_and_reports_is_shown_while_it_runs_once_and_in_order(
    stdio_home: StdioHome, tmp_path: Path
) -> None:
    (tmp_path / "loud.lua").write_text(LOUD)
    answers = tmp_path / "answers.json"
    answers.write_text('["A"]')

    for options in (["--exec", "echo A"], ["--answers", str(answers)]):
        done = stdio_home.alc("run", str(tmp_path / "loud.lua"), *options)

        shown = [line for line in done.stderr.splitlines() if not line.startswith("alc: session")]
        said = [line for line in shown if not line.startswith("…")]
        assert (done.returncode, done.stdout) == (0, "A\n"), done.stderr
        assert said == ["begun\t1", "warn: before the prompt", "got A", "last"]
        assert "… 1/2 half (0 s)" in shown
        assert ("… answering q-0 (1 of 1)" in shown) is (options[0] == "--exec")


@pytest.mark.slow
def test_continue_shows_what_is_printed_from_then_on(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "loud.lua").write_text(LOUD)

    began = stdio_home.alc("run", str(tmp_path / "loud.lua"), "--exec", "false")
    ended = stdio_home.alc("continue", "--exec", "echo A")

    assert "begun\t1\n" in began.stderr
    assert (ended.returncode, ended.stdout) == (0, "A\n"), ended.stderr
    said = [line for line in ended.stderr.splitlines() if not line.startswith(("…", "alc:"))]
    assert said == ["got A", "last"]


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["", "2000"])
def test_prompts_and_results_are_whole_however_long_they_are(stdio_home: StdioHome, tmp_path: Path, limit: str) -> None:
    (tmp_path / "long.lua").write_text("""
        local long = ("x"):rep(150000)
        local counts = alc.llm_batch({ { prompt = long }, { prompt = long .. long } })
        return { counts = counts, long = long }
    """)
    stdio_home.environment["ALC_OUTPUT_BYTES"] = limit

    done = stdio_home.alc("run", str(tmp_path / "long.lua"), "--exec", "wc -c")

    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [int(count) for count in result["counts"]] == [150_000, 300_000]
    assert result["long"] == "x" * 150_000
