"""Cases: what each format gives, and one sentence with the line for what is wrong."""

import pytest

from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.cases import Case, case_of, parse_cases

JSONL = """
{"input": "2+2?", "expected": "4"}
{"id": "long", "question": "Capital?", "target": ["Tokyo", "東京"], "ctx": {"n": 3}, "solution": "Tokyo"}

"A text alone"
"""
CSV = """id,input,expected,ctx.n,choices,note
a,"2+2, or more?",4,3,,x
,"two
lines",5,,red | blue,
"""
YAML = """
name: sums
cases:
  - input: 2+2?
    expected: 4
  - {id: day, input: "When?", expected: 2020-01-01}
"""


def test_jsonl_has_a_case_a_line_and_hides_what_it_does_not_know() -> None:
    cases = parse_cases("a.jsonl", JSONL)

    assert [case.id for case in cases] == ["1", "long", "3"]
    assert cases[1] == Case("long", "Capital?", ["Tokyo", "東京"], {"n": 3}, metadata={"solution": "Tokyo"})
    assert cases[1].context() == {"task": "Capital?", "n": 3}
    assert cases[2].input == "A text alone"


def test_csv_has_columns_for_ctx_and_cells_with_line_feeds() -> None:
    cases = parse_cases("a.csv", CSV)

    assert cases[0] == Case("a", "2+2, or more?", "4", {"n": "3"}, metadata={"note": "x"})
    assert cases[1] == Case("2", "two\nlines", "5", choices=("red", "blue"))
    assert cases[1].context() == {"task": "two\nlines", "choices": ["red", "blue"]}


def test_yaml_has_a_list_or_an_object_with_cases() -> None:
    pytest.importorskip("yaml")

    cases = parse_cases("a.yaml", YAML)

    assert cases == [Case("1", "2+2?", 4), Case("day", "When?", "2020-01-01")]
    assert parse_cases("a.yml", "- one\n- two\n")[1].input == "two"


def test_an_object_as_input_is_the_whole_ctx() -> None:
    case = case_of("here", {"input": {"text": "…", "n": 1}, "ctx": {"n": 2}}, number=1)

    assert case.context() == {"text": "…", "n": 2}
    assert case_of("here", case.as_json(), number=7) == case


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.jsonl", '"x"\n{"input": }', "a.jsonl, line 2: not JSON (Expecting value)"),
        ("a.jsonl", '"x"\n\n{"expected": "4"}', "a.jsonl, line 3: the case has no `input`, only expected"),
        ("a.jsonl", "[1]", "a.jsonl, line 1: a case is an object with `input`, not [1]"),
        ("a.jsonl", '{"input": "", "expected": 1}', "a.jsonl, line 1: the case has no `input`"),
        ("a.jsonl", '{"input": 1, "ctx": []}', "a.jsonl, line 1: `ctx` is []: it must be an object"),
        ("a.jsonl", '{"input": 1, "choices": "a"}', 'line 1: `choices` is "a": it must be a list'),
        ("a.jsonl", '{"input": 1, "question": 2}', "line 1: `question` and `input` mean the same"),
        ("a.jsonl", '{"id": 1, "input": 1}\n{"id": "1", "input": 2}', "line 2: the id '1' is taken by line 1"),
        ("a.jsonl", "[" * 100_000, "a.jsonl, line 1: not JSON (RecursionError)"),
        ("a.jsonl", "\n\n", "a.jsonl has no case: write one a line"),
        ("a.csv", "id,expected\n1,2", "a.csv, line 1: no column is named `input`"),
        ("a.csv", "input,input\n1,2", "a.csv, line 1: the column 'input' is there twice"),
        ("a.csv", 'input,expected\n"a\nb",1\nx,y,z', "a.csv, line 4: 3 cells under 2 columns"),
        ("a.csv", 'input\n"a" b', "a.csv, line 2: not CSV"),
        ("a.csv", "input,expected\n,4", "a.csv, line 2: the case has no `input`"),
        ("a.txt", "x", "a.txt is not a file of cases: its name must end in .jsonl, .csv, .yaml, .yml"),
    ],
)
def test_a_bad_case_is_one_sentence_with_its_line(name: str, text: str, sentence: str) -> None:
    with pytest.raises(Refused) as error:
        parse_cases(name, text)

    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- input: a\n- input: [", "a.yaml, line 2: not YAML"),
        ("- input: a\n- expected: 4", "a.yaml, line 2: the case has no `input`"),
        ("one", "a.yaml, line 1: neither a list of cases"),
        ("", "a.yaml, line 1: neither a list of cases"),
        ("- !!python/object:os.system {}", "a.yaml, line 1: not YAML"),
    ],
)
def test_bad_yaml_is_one_sentence_with_its_line(text: str, sentence: str) -> None:
    pytest.importorskip("yaml")

    with pytest.raises(Refused) as error:
        parse_cases("a.yaml", text)

    assert sentence in str(error.value)
