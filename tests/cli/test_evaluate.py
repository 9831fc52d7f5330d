"""alc eval at the terminal: wrong uses, and the views of stored runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from algocline_mcp.cli.main import alc
from algocline_mcp.config.home import Home
from algocline_mcp.evaluation import inspect_log
from algocline_mcp.evaluation.plan import ROWS, create_run
from tests.evaluation.test_report import CASES, a_plan, a_report
from tests.rig.stdio_home import StdioHome

ONE = ["q.jsonl", "--strategy", "a.lua"]
STRATEGY = "return alc.llm(ctx.task)"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("ALC_HOME", str(tmp_path / "h"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.lua").write_text(STRATEGY)
    (tmp_path / "q.jsonl").write_text('{"input": "1+1?", "expected": "2"}\n')
    (tmp_path / "bad.jsonl").write_text('{"input": "1"}\n{"inpt": "2"}\n')
    (tmp_path / "prices.json").write_text('{"other": {"input": 1, "output": 2}}')
    return Home(tmp_path / "h")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(alc, ["eval", *arguments])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["q.jsonl"], 2, "give --strategy"),
        (ONE, 2, "say who answers: --model openai:NAME, --exec CMD"),
        (
            ["q.jsonl", "--strategy", "a.lua", "--exec", "x", "--model", "openai:y"],
            2,
            "give --model or --exec, not both",
        ),
        ([*ONE, "--answers", "a.json"], 2, "give a .jsonl that --record has written"),
        (["no.jsonl", "--strategy", "a.lua", "--exec", "x"], 1, "no.jsonl cannot be read: No such file"),
        (["q.jsonl", "--strategy", "b.lua", "--exec", "x"], 1, "b.lua is not a file: give the path of a strategy"),
        (["q.jsonl", "--strategy", "nowhere", "--exec", "x"], 1, "Strategy 'nowhere' is not installed"),
        (["q.jsonl", "--strategy", "a.lua:n", "--exec", "x"], 1, "'n' is not KEY=VALUE"),
        ([*ONE, "--strategy", "a.lua", "--exec", "x"], 1, "'a.lua' is given twice"),
        (
            ["bad.jsonl", "--strategy", "a.lua", "--exec", "x"],
            1,
            "bad.jsonl, line 2: the case has no `input`, only inpt",
        ),
        ([*ONE, "--exec", "x", "--grader", "exakt"], 1, "there is no grader 'exakt'"),
        ([*ONE, "--exec", "x", "--grader", "g.py"], 1, "g.py cannot be read"),
        (
            ["q.jsonl", "--strategy", "a.lua", "--model", "openai:y", "--prices", "prices.json"],
            1,
            "has no price of openai:y",
        ),
        (["--strategy", "a.lua", "--exec", "x"], 2, "Missing argument 'CASES'"),
        ([*ONE, "--epochs", "0", "--exec", "x"], 2, "Invalid value for '--epochs'"),
        ([*ONE, "--regrade", "--anew"], 2, "give --anew or --regrade, not both"),
        ([*ONE, "--regrade"], 1, "q.jsonl has no run of these strategies with --regrade: alc eval RUN --regrade"),
        (["q.jsonl", "--regrade"], 2, "give --strategy"),
        (["x", "--regrade"], 1, "Eval result not found: x: alc eval list shows the runs"),
        (["show", "x"], 1, "Eval result not found: x: alc eval list shows the runs"),
        (["compare", "x", "y"], 1, "Eval result not found: x"),
    ],
)
def test_a_wrong_use_is_one_sentence_and_begins_no_run(
    home: Home, arguments: list[str], code: int, sentence: str
) -> None:
    result = run(*arguments)

    assert (result.exit_code, sentence in result.stderr) == (code, True), result.stderr
    assert not home.evals.exists()


@pytest.mark.parametrize("typed", [["eval"], ["eval", "run"]])
def test_a_usage_error_names_the_command_as_it_was_typed(home: Home, typed: list[str]) -> None:
    named = " ".join(["alc", *(typed if "run" in typed else ["eval", "CASES"])])

    wrong = CliRunner().invoke(alc, [*typed, "q.jsonl", "--strateg", "a.lua"], prog_name="alc")
    shown = CliRunner().invoke(alc, [*typed, "q.jsonl", "--help"], prog_name="alc")

    usage = f"Usage: {named} [OPTIONS]{' CASES' if 'run' in typed else ''}\n"
    assert wrong.stderr.startswith(f"{usage}Try '{named} --help' for help.\n")
    assert shown.stdout.startswith(usage)


def stored(home: Home, count: int = 2) -> tuple[str, dict[str, Any]]:
    plan = a_plan(count)
    report = a_report(count, plan=plan)
    directory = create_run(home, plan)
    directory.save("report.json", report)
    return directory.run_id, report


def test_stored_runs_are_listed_shown_and_written(home: Home, tmp_path: Path) -> None:
    assert "no run yet" in run("list").stderr
    run_id, report = stored(home)

    assert run("list").stdout == f"{run_id}  6 cases: a.lua 50.0 %, b.lua:n=3 66.7 %\n"
    assert [line["run_id"] for line in json.loads(run("list", "--json").stdout)] == [run_id]
    shown = run("show", "last", "--out", "out")
    assert shown.exit_code == 0
    assert "b.lua:n=3 against a.lua: +16.7 points" in shown.stdout
    assert "c0  0.50  0.50  x, y" in shown.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"report.json", "rows.csv", "score.png"}
    assert json.loads(run("show", run_id[:8], "--json").stdout) == report


def test_without_the_library_of_inspect_nothing_is_shown_before_the_refusal(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _ = stored(home)
    monkeypatch.setattr(inspect_log, "find_spec", lambda name: None)

    refused = run("show", run_id, "--inspect", "logs")

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "pip install 'algocline-mcp[inspect]'" in refused.stderr


@pytest.mark.slow
def test_regrade_finds_the_run_and_who_judges_by_what_was_recorded(stdio_home: StdioHome, tmp_path: Path) -> None:
    (tmp_path / "a.lua").write_text(STRATEGY)
    (tmp_path / "q.jsonl").write_text('{"input": "1+1?", "expected": "2"}\n{"input": "1+2?", "expected": "3"}\n')
    asked, files = tmp_path / "asked", [str(tmp_path / "q.jsonl"), "--strategy", str(tmp_path / "a.lua")]
    command = f"echo x >> {asked}; echo 'It is 2 or 3. GRADE: C'"

    def score(*arguments: str) -> tuple[float, int]:
        done = stdio_home.alc("eval", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["strategies"][0]["score"], len(asked.read_text().splitlines())

    assert score(*files, "--epochs", "2", "--exec", command) == (0.0, 4)
    assert score("last", "--regrade", "--grader", "contains") == (1.0, 4)
    assert score(*files, "--regrade", "--grader", "exact") == (0.0, 4)
    assert score(*files, "--regrade", "--grader", "exact", "--exec", "false") == (0.0, 4), "it needs no answer"
    assert score("last", "--regrade", "--grader", "judge") == (1.0, 8), "the recorded command judges"
    assert score("last", "--regrade") == (1.0, 8), "the last graders, whose answers are kept"
    assert score("last", "--regrade", "--grader", "judge", "--exec", "echo GRADE: I") == (0.0, 8), "another judge"
    assert len(list((stdio_home.root / "evals").iterdir())) == 1


def test_two_runs_are_compared_case_by_case(home: Home) -> None:
    first, _ = stored(home, 1)
    second, _ = stored(home, 2)

    result = run("compare", first, second)

    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert f"b.lua:n=3 ({second}) against a.lua ({first}): +16.7 points" in result.stdout


def test_a_run_that_was_killed_before_its_report_is_shown_from_its_rows(home: Home) -> None:
    plan = a_plan(2)
    directory = create_run(home, plan)
    for row in a_report(2, plan=plan)["rows"][:5]:
        directory.add_row(row)
    with open(directory.path / ROWS, "ab") as file:
        file.write(b'{"sid": "p-torn')
    directory.add_row(a_report(2, plan=plan)["rows"][5])

    assert len(directory.rows()) == 6
    assert "partial" in run("list").stdout
    assert len(CASES) == 6
