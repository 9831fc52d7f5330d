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


TYPED = """
local schema = {type = "object", properties = {a = {type = "integer"}}, required = {"a"}}
local answers = alc.llm_batch({{prompt = "one", schema = schema}, {prompt = "two", schema = schema}})
return {answers[1], answers[2]}
"""
# Corrects itself when it is told what is wrong; with WORSE it never does.
CORRECTS = """text=$(cat); printf "%s\n" "$ALC_QUERY_ID" >> {asked}
case "$text" in *"does not fit: answer.a is missing"*) [ -z "$WORSE" ] && echo '{{"a": 1}}' && exit;; esac
echo '{{"b": 1}}'"""


@pytest.mark.slow
@pytest.mark.parametrize("is_worse", [False, True])
def test_a_command_is_told_why_its_answer_does_not_fit_and_the_strategy_gets_the_last_one(
    stdio_home: StdioHome, tmp_path: Path, is_worse: bool
) -> None:
    asked, record = tmp_path / "asked", tmp_path / "a.jsonl"
    (tmp_path / "typed.lua").write_text(TYPED)
    stdio_home.environment |= {"WORSE": "1"} if is_worse else {}
    command = CORRECTS.format(asked=asked)

    done = stdio_home.alc("run", str(tmp_path / "typed.lua"), "--exec", command, "--record", str(record))

    answer = '{"b": 1}' if is_worse else '{"a": 1}'
    assert (done.returncode, json.loads(done.stdout or "0")) == (0, [answer, answer]), done.stderr
    attempts = 3 if is_worse else 2
    assert sorted(asked.read_text().split()) == ["q-0"] * attempts + ["q-1"] * attempts
    assert done.stderr.count("does not fit its schema, after 3 attempts: answer.a is missing") == 2 * is_worse
    assert len(record.read_text().splitlines()) == 2, "a prompt has one answer"
    again = stdio_home.alc("run", str(tmp_path / "typed.lua"), "--answers", str(record))
    assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr


@pytest.mark.slow
def test_a_file_whose_answer_does_not_fit_is_named_and_can_be_corrected(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "typed.lua").write_text(TYPED)
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(['{"a": 1}', '{"b": 1}']))

    began = stdio_home.alc("run", str(tmp_path / "typed.lua"), "--answers", str(answers))
    assert began.returncode == 1
    assert "the answer to q-1 does not fit: answer.a is missing. q-1 stays open" in began.stderr
    answers.write_text(json.dumps(['{"a": 1}', '{"a": 2}']))
    done = stdio_home.alc("continue", "--answers", str(answers))
    assert (done.returncode, json.loads(done.stdout or "0")) == (0, ['{"a": 1}', '{"a": 2}']), done.stderr


@pytest.mark.slow
def test_a_person_is_told_why_an_answer_does_not_fit_and_asked_again(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "typed.lua").write_text(TYPED)

    done = stdio_home.alc("run", str(tmp_path / "typed.lua"), stdin='{"b": 1}\n\n{"a": 2}\n\n{"a": 1}\n\n')

    assert (done.returncode, json.loads(done.stdout or "0")) == (0, ['{"a": 1}', '{"a": 2}']), done.stderr
    assert done.stderr.count("the answer to q-0 does not fit: answer.a is missing") == 1
    assert done.stderr.count("── q-1") == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_quiet", [True, False])
def test_quiet_leaves_out_phases_and_progress_and_keeps_what_the_strategy_says(
    stdio_home: StdioHome, tmp_path: Path, is_quiet: bool
) -> None:
    (tmp_path / "p.lua").write_text('alc.phase("draft") alc.progress(1, 2) print("said") return alc.llm("one")')

    options = ["--answers", str(tmp_path / "a.txt"), *(["--quiet"] if is_quiet else [])]
    (tmp_path / "a.txt").write_text("1\n")
    done = stdio_home.alc("run", str(tmp_path / "p.lua"), *options)

    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    first, *rest = done.stderr.splitlines()
    assert first.startswith("alc: session p-")
    assert [line for line in rest if not line.startswith("…")] == (["said"] if is_quiet else ["phase: draft", "said"])
    assert not is_quiet or rest == ["said"]


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
        said = [line for line in shown if not line.startswith(("…", "alc: 1 prompt in 1 round"))]
        assert (done.returncode, done.stdout) == (0, "A\n"), done.stderr
        assert said == ["begun\t1", "warn: before the prompt", "got A", "last"]
        assert "… 1/2 half (0 s)" in shown
        assert ("… answering q-0 (1 of 1)" in shown) is (options[0] == "--exec")
        assert shown[-1].startswith("alc: 1 prompt in 1 round · 1 answer · ") is (options[0] == "--exec")


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
