"""`alc new`, `alc test` and `alc test --from`, with real workers."""

import re
from pathlib import Path

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.languages import LUA, PYTHON, Language
from algocline_mcp.packages import freeze
from tests.cli.conftest import Terminal
from tests.rig.stdio_home import StdioHome

TWO = {
    "python": """import random

import alc

def run(ctx):
    seen = alc.state.get("seen", 0)
    alc.state.set("seen", seen + 1)
    alc.llm(f"{seen} seen at {alc.time()}, number {random.random()}")
    views = alc.parallel(["a", "b"], lambda role: f"As {role}: {ctx['task']}")
    done = [view for view in views if alc.refused(view) is None]
    return {"views": done, "end": alc.llm(f"Merge {len(done)}")}
""",
    "lua": """local M = {}
function M.run(ctx)
  local seen = alc.state.get("seen", 0)
  alc.state.set("seen", seen + 1)
  alc.llm(("%d seen at %s, number %s"):format(alc.state.get("seen", 0), alc.time(), math.random()))
  local a = alc.llm("first: " .. ctx.task)
  return { a = a, list = { 1, 2 }, b = alc.llm("second: " .. a) }
end
return M
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--lua"]], ids=["python", "lua"])
def test_a_new_package_passes_its_spec(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert terminal.alc("new", "mine", *options).exit_code == 0
    tested = terminal.alc("test", "mine")
    linted = terminal.alc("lint", "mine")

    assert (tested.exit_code, tested.stdout[:27]) == (0, "1 passed, 0 failed, 0 pendi"), tested.output
    assert (linted.exit_code, linted.stderr) == (0, "no mistake in 2 files\n")


@pytest.mark.slow
@pytest.mark.parametrize("language", [PYTHON, LUA], ids=["python", "lua"])
def test_a_finished_session_becomes_a_spec_that_fails_when_the_strategy_changes(
    stdio_home: StdioHome, tmp_path: Path, language: Language
) -> None:
    package = tmp_path / "two"
    package.mkdir()
    entry = package / language.entry_file()
    entry.write_text(TWO[language.name])
    for _ in range(2):  # the second finds what the first has stored
        began = stdio_home.alc("run", str(entry), "task=tea ]] \"'", "--exec", 'printf "<%s>" "$(cat)"')
    sid = re.findall(r"session (p-\S+)", began.stderr)[0]

    frozen = stdio_home.alc("test", str(package), "--from", sid)
    assert (frozen.returncode, frozen.stderr) == (0, ""), frozen.stdout
    surroundings, spec = sorted((package / "spec").iterdir(), key=lambda path: path.suffix != ".json")
    assert frozen.stdout.startswith(f"wrote {spec}\n1 passed, 0 failed")
    again = stdio_home.alc("test", str(package), "--from", sid)
    assert f"{spec} exists already: remove it" in again.stderr

    entry.write_text(TWO[language.name].replace("Merge", "Join").replace("second", "2nd"))
    changed = stdio_home.alc("test", str(spec))
    number = 4 if language is PYTHON else 3
    assert changed.returncode == 1
    assert f"prompt {number} differs from the recorded one" in changed.stdout

    surroundings.write_text('{"seed": 1}')
    broken = stdio_home.alc("test", str(spec))
    assert f"{surroundings} does not hold what alc test --from wrote" in broken.stderr
    surroundings.unlink()
    without = stdio_home.alc("test", str(spec))
    assert "prompt 1 differs from the recorded one" in without.stdout, "the state, the clock and chance are others"


def test_mistakes_are_counted_in_plain_words(terminal: Terminal, tmp_path: Path) -> None:
    good, bad, worse = (tmp_path / f"{name}.py" for name in ("good", "bad", "worse"))
    good.write_text("import alc\n\n\ndef run(ctx):\n    return alc.llm('a')\n")
    bad.write_text("import alc\n\n\ndef run(ctx):\n    return alc.lm('a')\n")
    worse.write_text("import alc\n\n\ndef run(ctx):\n    return alc.lm('a') + alc.lm('b')\n")

    said = {files: terminal.alc("lint", *map(str, files)).stderr for files in ((good,), (good, bad), (good, worse))}

    assert said == {
        (good,): "no mistake in 1 file\n",
        (good, bad): "1 mistake in 2 files\n",
        (good, worse): "2 mistakes in 2 files\n",
    }


@pytest.mark.slow
@pytest.mark.parametrize("last", [["--from", "last"], ["--from"]], ids=["last", "no id"])
def test_without_an_id_the_newest_completed_session_of_the_package_is_frozen(
    stdio_home: StdioHome, tmp_path: Path, last: list[str]
) -> None:
    mine, other = (tmp_path / name / "init.lua" for name in ("mine", "other"))
    for entry in (mine, other):
        entry.parent.mkdir()
        entry.write_text(
            'return { run = function(ctx) return alc.llm(ctx.task) .. (ctx.more and error("x") or "") end }'
        )

    none = stdio_home.alc("test", str(mine.parent), *last)
    assert (none.returncode, "no session of mine has completed here: alc run mine" in none.stderr) == (1, True)
    assert not (mine.parent / "spec").exists()

    ran = [
        stdio_home.alc("run", str(entry), "task=tea", *more, "--exec", "cat")
        for entry, more in ((mine, []), (mine, []), (mine, ["more=1"]), (other, []))
    ]
    frozen = stdio_home.alc("test", str(mine.parent), *last)

    sid = re.findall(r"session (p-\S+)", ran[1].stderr)[0]
    assert [one.returncode for one in ran] == [0, 0, 1, 0]
    assert (frozen.returncode, frozen.stderr) == (0, ""), frozen.stdout
    assert frozen.stdout.startswith(f"wrote {mine.parent / 'spec' / f'session_{sid[-4:]}_spec.lua'}\n1 passed")


def _header(**fields: object) -> dict[str, object]:
    return {"kind": "header", "sid": "p-1-0123456789abcdef", "ctx": "{}", "strategy": "mine", **fields}


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([_header(strategy=None)], "ran code that is no package, not mine"),
        ([_header(strategy="other")], "ran the package other, not mine"),
        ([_header(kept="result")], "were removed by ALC_KEEP"),
        ([_header(), {"kind": "fork"}], "ran other strategies by alc.fork or alc.call, .*: freeze a session of each"),
        ([_header()], "has no result: a spec is made of a session that has completed"),
        ([_header(), {"kind": "end", "error": "x"}], "has no result"),
    ],
)
def test_what_cannot_be_frozen_is_refused(records: list[dict[str, object]], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        freeze.spec_of(records, "mine", PYTHON)


def test_a_spec_that_is_not_in_a_package_is_refused(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "test_x.py").touch()

    ended = terminal.alc("test", str(tmp_path / "test_x.py"))

    assert (ended.exit_code, "is not below the directory spec of a package" in ended.stderr) == (2, True)


def test_a_spec_does_not_hold_what_the_environment_gave() -> None:
    effects: list[dict[str, object]] = [
        {"kind": "effect", "name": "env", "args": ["KEY"], "result": "secret"},
        {"kind": "effect", "name": "time", "args": [], "result": 7.5, "times": 2},
    ]
    end: dict[str, object] = {"kind": "final", "status": "completed", "result": 1}

    frozen = freeze.spec_of([_header(seed=3, utc_offset_s=0), *effects, end], "mine", LUA)

    assert "secret" not in frozen.text + frozen.surroundings
    assert frozen.reads_environment
    fields = freeze.header_fields(frozen.surroundings)
    assert fields["seed"] == 3
    assert fields["carried"]["effects"] == [["time", [], {"result": 7.5}, 2]]
