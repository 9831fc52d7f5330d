"""The strategies of a run: files, packages and built-in ones, with options."""

from dataclasses import replace
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.strategies import Contender, check_inputs, contender
from algocline_mcp.packages.catalog import PackageContext

PACKAGE = "return { run = function(ctx) return 1 end }"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageContext:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "init.lua").write_text(PACKAGE)
    (tmp_path / "a.py").write_text("\ufeffimport alc\n")
    home = Home(tmp_path / "h")
    (home.packages / "installed").mkdir(parents=True)
    (home.packages / "installed" / "init.lua").write_text(PACKAGE)
    return PackageContext(home, Limits(), {})


def test_a_file_is_read_without_its_mark_and_finds_its_neighbours(context: PackageContext, tmp_path: Path) -> None:
    strategy = contender(context, "a.py:n=5,words=a,b,c")

    assert (strategy.label, strategy.name, strategy.language) == ("a.py:n=5,words=a,b,c", None, "python")
    assert (strategy.code, strategy.package) == ("import alc\n", "a")
    assert strategy.options == {"n": 5, "words": "a,b,c"}
    assert strategy.lib_paths == (str(tmp_path),)
    assert strategy.session(Case("1", "?", ctx={"n": 1}), "t").ctx == {"task": "?", "n": 5, "words": "a,b,c"}
    assert Contender.of_json(strategy.as_json()) == strategy


@pytest.mark.parametrize(
    ("text", "name", "chunk"),
    [
        ("own/init.lua", "own", "own/init.lua"),
        ("own", "own", "own/init.lua"),
        ("./own:n=3", "own", "own/init.lua"),
        ("installed", "installed", "installed/init.lua"),
        ("vote:n=3", "vote", "vote/__init__.py"),
    ],
)
def test_packages_run_as_packages(context: PackageContext, text: str, name: str, chunk: str) -> None:
    strategy = contender(context, text)

    assert (strategy.name, strategy.chunk, strategy.package) == (name, chunk, name)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("b.py", "b.py is not a file: give the path of a strategy, or the name of an installed one"),
        ("nothing", "Strategy 'nothing' is not installed"),
        ("evalframe", "Package 'evalframe' is a library package"),
        ("vote:n", "'n' is not KEY=VALUE"),
    ],
)
def test_what_is_no_strategy_is_refused(context: PackageContext, text: str, sentence: str) -> None:
    with pytest.raises(Refused) as error:
        contender(context, text)

    assert sentence in str(error.value)


def test_a_case_without_what_a_strategy_needs_is_refused_before_anything_is_asked(context: PackageContext) -> None:
    cases = [Case("a", {"file": "x"}), Case("b", "?")]
    review = contender(context, "review")

    check_inputs([contender(context, "a.py"), review], cases[:1])
    check_inputs([contender(context, "review:file=x")], cases)
    with pytest.raises(Refused) as error:
        check_inputs([contender(context, "vote"), review], cases[1:])
    with pytest.raises(Refused, match=r"vote:m=3,N=4: vote has no input choice: was choices meant\?"):
        check_inputs([replace(contender(context, "vote:m=3,N=4"), options={"choice": 1, "temperature": 1})], cases)
    assert str(error.value) == (
        'case b: review needs file (the text to review): give it in the case, such as {"input": {"file": …}}, or for '
        "all cases as an option, --strategy review:file=…"
    )
