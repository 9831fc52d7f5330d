import json

import extract

FILLER = "A line that says nothing here.\n" * 8
TEXT = f"""The contract is between Acme Ltd and Bolt plc.
{FILLER}
The total is 1,200 euros. Parties: Acme Ltd.
{FILLER}
The amount due is 1,300 euros."""
FIELDS = {
    "total": {"type": "number", "description": "the amount due"},
    "parties": {"type": "array", "items": {"type": "string"}},
    "date": "the day it was signed",
}


def quoted(**fields):
    return json.dumps({name: [{"value": v, "quote": q} for v, q in finds] for name, finds in fields.items()})


def test_fields_are_merged_with_their_sources(model):
    model.answers = {
        "Piece 1": quoted(parties=[("Acme Ltd", "between Acme Ltd and"), ("Bolt plc", "and Bolt plc")]),
        "Piece 2": quoted(total=[(1200, "The total is 1,200 euros")], parties=[("ACME  ltd", "Parties: acme ltd.")]),
        "Piece": "{}",
    }

    result = extract.run({"text": TEXT, "fields": FIELDS, "chars": 300})

    assert result["answer"] == {"total": 1200, "parties": ["Acme Ltd", "Bolt plc"], "date": None}
    assert result["missing"] == ["date"]
    assert result["sources"]["total"] == [{"value": 1200, "quote": "The total is 1,200 euros", "piece": 2}]
    assert result["conflicts"] == result["unsupported"] == result["unread"] == []
    assert "warnings" not in result


def conflicting(model, verdict):
    model.answers = {
        "different values": verdict,
        "Piece 2": quoted(total=[(1200, "The total is 1,200 euros")]),
        "Piece 3": quoted(total=[(1300, "The amount due is 1,300")]),
        "Piece": "{}",
    }
    return extract.run({"text": TEXT, "fields": FIELDS, "chars": 300})


def test_a_conflict_is_judged_and_named(model):
    result = conflicting(model, "The later passage corrects it.\nVerdict: B")

    assert result["answer"]["total"] == 1300
    assert result["conflicts"] == [
        {
            "field": "total",
            "values": [
                {"value": 1200, "quote": "The total is 1,200 euros", "piece": 2},
                {"value": 1300, "quote": "The amount due is 1,300", "piece": 3},
            ],
            "chosen": 1300,
        }
    ]


def test_a_conflict_that_stays_open_has_no_value(model):
    result = conflicting(model, "Verdict: unclear")

    assert result["answer"]["total"] is None
    assert result["conflicts"][0]["chosen"] is None


def test_a_value_without_a_true_quotation_or_of_another_type_is_unsupported(model):
    model.answers = {
        "Piece 1": quoted(total=[("much", "between Acme Ltd"), (5, "the total is five")], date=[("May", "")]),
        "Piece": "{}",
    }

    result = extract.run({"text": TEXT, "fields": FIELDS, "chars": 300})

    assert result["answer"]["total"] is None
    assert [find["value"] for find in result["unsupported"]] == ["much", 5, "May"]


def test_a_piece_without_an_answer_is_named(model):
    model.answers = {"Piece 2": "I cannot", "Piece": "{}"}

    result = extract.run({"text": TEXT, "fields": FIELDS, "chars": 300})

    assert result["unread"] == [2]
    assert result["warnings"] == ["pieces: 1 of 3 could not be used, and are missing from the result"]


def test_fields_may_be_a_schema_of_an_object():
    assert extract.schemas_of({"type": "object", "properties": {"a": {"type": "string"}}}) == {"a": {"type": "string"}}
    assert extract.schemas_of({"a": "what"}) == {"a": {"type": "string", "description": "what"}}


def test_fields_that_name_nothing_are_an_error():
    for fields in ({}, {"a": 5}):
        try:
            error = extract.schemas_of(fields)
        except ValueError as exc:
            error = str(exc)

        assert "extract: fields must name" in error


def test_a_quotation_is_compared_without_case_blanks_and_kinds_of_marks():
    assert extract.is_quoted("“The  TOTAL” – is", 'so "the total" - is it')
    assert extract.is_quoted("the total…", "the total is")
    assert not extract.is_quoted("the sum", "the total")
    assert not extract.is_quoted("…", "a … b")


def test_a_value_fits_its_schema():
    assert extract.fits(3, {"type": "integer", "minimum": 1})
    assert not extract.fits(True, {"type": "integer"})
    assert not extract.fits(0, {"type": "number", "minimum": 1})
    assert not extract.fits("c", {"enum": ["a", "b"]})
    assert extract.fits(None, {})
