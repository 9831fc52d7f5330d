"""What `alc lint` finds without running a strategy, and that it finds nothing in what is right."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import alc as python_alc
from algocline_mcp.cli.main import alc
from algocline_mcp.help import topics
from algocline_mcp.languages import LUA, PYTHON, language_of_file
from algocline_mcp.packages import lint, lua_options
from algocline_mcp.worker.engine.python.api.options import Options
from tests.docs.help_pages import public_functions

ROOT = Path(__file__).parents[2]
MISTAKES = {
    "alc.ask('x')": "there is no alc.ask",
    "alc.paralel([1], f)": "there is no alc.paralel: was alc.parallel meant?",
    "alc.incr('k')": "there is no alc.incr: was alc.state.incr meant?",
    "alc.state.increment('k')": "there is no alc.state.increment: was alc.state.incr meant?",
    "alc.math.avg([1])": "there is no alc.math.avg",
    "await alc.aio.vote([])": "there is no alc.aio.vote: it has cache, call",
    "alc.llm('x', sytem='y')": "alc.llm has no keyword sytem: was system meant?",
    "alc.llm('x', temperature=1)": "an option of the host is given by options={'temperature': …}",
    "await alc.aio.llm('x', sytem='y')": "alc.aio.llm has no keyword sytem: was system meant?",
    "alc.vote()": "cannot be called so: missing a required argument: 'answers'",
    "alc.vote([], 3)": "cannot be called so: too many positional arguments",
    "alc.chunk(t, size=3, sise=4)": "alc.chunk has no keyword sise: was size meant?",
    "alc.vote(x)['winer']": "the result of alc.vote has no 'winer': it has winner, count, total",
    "v = alc.vote(x)\nprint(v['n'])": "the result of alc.vote has no 'n'",
    "def run(ctx):\n    alc.llm('x')": "run returns nothing",
    "def run():\n    return 1": "run has no argument: write def run(ctx)",
    "def run(ctx):\n    return lambda: 1": "the result is a function",
    "local x = 1": "Python writes name = value",
    "def run(ctx)\n    return 1": "expected ':'",
}
RIGHT = [
    "return alc.llm('x', system='y', options={'temperature': 1})",
    "alc.llm(*arguments, **options)",
    "v = alc.vote(x)\nv = {}\nv['n']",
    "alc.env.HOME\nalc.env['X']\nalc.env.get('Y', 'Z')",
    "alc.llm.__doc__\nalc.Refused('a', 'b').reason",
    "alc = object()\nalc.anything()",
    "def run(ctx):\n    raise ValueError('x')",
    "def run(ctx):\n    def inner():\n        return 1\n    return inner()",
    "async def run(ctx):\n    return await alc.aio.llm('x')",
    "alc.parallel([1], lambda i: 'x', system='s', post_fn=str, max_tokens=3)",
    "def run(ctx, *rest):\n    yield 1",
]


@pytest.mark.parametrize(("code", "sentence"), MISTAKES.items())
def test_a_mistake_in_python_gets_one_sentence(code: str, sentence: str) -> None:
    (finding,) = lint.findings(f"import alc\n{code}\n", PYTHON)

    assert sentence in finding.sentence
    assert finding.line in (2, 3)


@pytest.mark.parametrize("code", RIGHT)
def test_what_is_right_is_not_reported(code: str) -> None:
    assert lint.findings(code, PYTHON) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("return alc.ask('x')", [(1, "there is no alc.ask")]),
        ("local x\nreturn alc.state.incement('x')", [(2, "there is no alc.state.incement: was alc.state.increment")]),
        ("alc.main(run)", [(1, "there is no alc.main in Lua")]),
        ("-- alc.ask\nlocal s = 'alc.ask' .. [[\nalc.ask]] return alc.llm(s)", []),
        ("function alc.mine() end return alc.mine()", []),
        ("alc = { mine = print } return my.alc.other()", []),
        ("return alc.env.HOME, alc.env:get('X'), alc.state.get('x')", []),
    ],
)
def test_names_of_alc_in_lua(code: str, found: list[tuple[int, str]]) -> None:
    findings = lint.findings(code, LUA)

    assert [(finding.line, finding.sentence.partition(" meant")[0].partition(";")[0]) for finding in findings] == [
        (line, sentence.replace("increment", "incr")) for line, sentence in found
    ]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("alc.llm('x', { sytem = 'y' })", "alc.llm has no option sytem: was system meant?"),
        ("alc.llm('x', { ['max_token'] = 5 })", "alc.llm has no option max_token: was max_tokens meant?"),
        (
            "alc.llm(f(1, { sytem = 2 }), { system = 'a', lable = 'b' })",
            "alc.llm has no option lable: was label meant?",
        ),
        ("alc.llm_safe('x', { groundd = true }, 'none')", "alc.llm_safe has no option groundd: was grounded meant?"),
        (
            "alc.llm_batch({ { prompt = 'a' }, { promt = 'b' } })",
            "alc.llm_batch has no option promt: was prompt meant?",
        ),
        ("alc.llm_batch {\n{ prompt = 'a', sytem = 'b' } }", "alc.llm_batch has no option sytem: was system meant?"),
        ("alc.cache('x', { cache_kye = 1 })", "alc.cache has no option cache_kye: was cache_key meant?"),
        (
            "alc.fork({ 'a' }, { on_eror = 1 }, { on_eror = 'skip' })",
            "alc.fork has no option on_eror: was on_error meant?",
        ),
        ("alc.fork({ 'a' }, {}, { retries = 3 })", "alc.fork has no option retries; it has on_error"),
        ("alc.parallel({ f, g }, { system = 's' })", "alc.parallel has no option system; it has chain, on_error"),
        (
            "alc.parallel(items, function(item, i) local a, b = 1, 2 if a then return b end end, { on_eror = 'skip' })",
            "alc.parallel has no option on_eror: was on_error meant?",
        ),
        ("alc.card.find { limt = 3 }", "alc.card.find has no option limt: was limit meant?"),
        ("alc.match_enum(t, { a = 1 }, { treshold = 0.5 })", "alc.match_enum has no option treshold: was threshold"),
        ("alc.chunk(t, { size = 3, mod = 'chars' })", "alc.chunk has no option mod: was mode meant?"),
        ("alc.tuning({ n = 1 }, ctx, { prefx = 'x' })", "alc.tuning has no option prefx: was prefix meant?"),
    ],
)
def test_a_wrong_option_in_lua_gets_one_sentence(code: str, sentence: str) -> None:
    (finding,) = lint.findings(f"local x\nreturn {code}", LUA)

    assert finding.sentence.startswith(sentence)
    assert finding.line == 2 + code.count("\n")


@pytest.mark.parametrize(
    "code",
    [
        "alc.llm('x', { system = 's', temperature = 0.2, top_p = 1, model = 'm', max_completion_tokens = 5 })",
        "alc.llm('x', { schema = { sytem = 1 }, [key] = 1, 'first', system == 1, (sytem) })",
        "alc.llm('{ sytem = 1 }', { --[[ sytem = 1 ]] system = 's' })",
        "alc.llm(prompts[{ sytem = 1 }], options)",
        "alc.parallel(items, function(i) return { sytem = i } end, { chain = true })",
        "alc.parallel({ f }, { on_error = 'skip' })",
        "alc.call('pkg', { sytem = 1 })",
        "alc.json_encode({ sytem = 1 })",
        "my.alc.llm('x', { sytem = 1 })",
        "alc.fork({ 'a' }, ctx, { on_error = 'skip'",
    ],
)
def test_options_that_are_right_or_cannot_be_known_are_not_reported(code: str) -> None:
    assert lint.findings(f"return {code}", LUA) == []


def test_each_function_with_options_in_the_stub_is_checked() -> None:
    names = {name for name, places in lua_options.signatures().items() if any(places)}

    assert {"llm", "llm_batch", "parallel", "fork", "pipe", "chunk", "card.find", "math.mann_whitney_u"} <= names
    assert names <= set(lint.functions_of_alc())


def test_the_functions_and_keywords_are_those_of_the_package_alc() -> None:
    assert set(lint.functions_of_alc()) == set(public_functions())
    assert tuple(Options.__annotations__) == lint.KEYWORDS
    assert set(lint.COROUTINES) == {
        name for name, value in vars(python_alc.aio).items() if callable(value) and not name.startswith("_")
    }
    names = {name for name in vars(python_alc) if name.isidentifier() and not name.startswith("_")}
    assert names - {"desk", "pytest_plugin"} <= {*lint.OTHER_NAMES, *lint.functions_of_alc()}


def test_nothing_is_reported_in_examples_strategies_and_help() -> None:
    files = [*(ROOT / "examples").iterdir(), *(ROOT / "algocline_mcp" / "strategies").rglob("*.py")]
    texts = {str(file): (file.read_text(), language_of_file(file.name)) for file in files if file.is_file()}
    blocks = re.compile(r"```(python|lua)\n(.*?)```", re.DOTALL)
    for topic in topics.TOPICS:
        for i, (name, code) in enumerate(blocks.findall(topics.page(topic))):
            texts[f"{topic} {i}"] = (code, PYTHON if name == "python" else LUA)

    by_text = {name: lint.findings(text, language) for name, (text, language) in texts.items() if language}
    assert {name: findings for name, findings in by_text.items() if findings} == {}


def test_the_command_names_file_and_line_and_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pk").mkdir()
    Path("pk/__init__.py").write_text("import alc\n\ndef run(ctx):\n    return alc.lmm('x')\n")
    Path("pk/part.lua").write_text("return function( end")
    Path("good.py").write_text("return alc.llm('x')")
    Path("notes.txt").touch()

    bad, good = (CliRunner().invoke(alc, ["lint", path]) for path in ("pk", "good.py"))
    wrong = CliRunner().invoke(alc, ["lint", "notes.txt"])

    assert bad.stdout.splitlines() == [
        "pk/__init__.py:4: there is no alc.lmm: was alc.llm meant?",
        "pk/part.lua:1: <name> or '...' expected near 'end'",
    ]
    assert (bad.exit_code, bad.stderr) == (1, "2 mistakes in 2 files\n")
    assert (good.exit_code, good.stdout, good.stderr) == (0, "", "no mistake in 1 file\n")
    assert "notes.txt is no strategy: its name ends with .py or .lua" in wrong.stderr
