import vote


def test_the_answer_with_the_most_votes_wins_however_it_is_spelt(model):
    model.answers = {
        "How many": ["So 42.\nANSWER: 42", "ANSWER: 1,042", "**Answer:** 42.0", "answer: 7", "ANSWER: 42."]
    }

    result = vote.run({"task": "How many?"})

    assert result == {"answer": "42", "share": 0.6, "votes": {"42": 3, "1,042": 1, "7": 1}, "is_tied": False}
    assert len(model.prompts) == 5


def test_a_vote_that_cannot_be_read_is_asked_for_again_and_the_result_says_so(model):
    model.answers = {"could not be read": "ANSWER: b", "Which": ["ANSWER: b", "I do not know"]}

    result = vote.run({"task": "Which?", "n": 2})

    assert result["answer"] == "b"
    assert result["share"] == 1
    assert result["warnings"] == ["votes: 1 of 2 could not be used, and were usable when asked for again"]


def test_an_answer_without_the_mark_counts_where_it_cannot_be_mistaken(model):
    readable = ["The answer is 42.", "So the final answer is: 42", "**My answer is** 42", "42", " **42**\n"]
    model.answers = {"How many": [*readable, "42 or 43", "answers: 42", "I know 42 answers"], "could not be read": "?"}

    result = vote.run({"task": "How many?", "n": 8})

    assert result["votes"] == {"42": 5}


def test_choices_alone_count(model):
    model.answers = {"Which": ["ANSWER: C++", "ANSWER: C", "ANSWER: C++"]}

    assert vote.run({"task": "Which?", "n": 3, "choices": ["C", "C++"]})["votes"] == {"C++": 2, "C": 1}


def test_no_usable_vote_is_no_answer(model):
    model.default = "hm"

    result = vote.run({"task": "Which?", "n": 3})

    assert result["answer"] is None
    assert result["warnings"] == ["votes: 3 of 3 could not be used, and are missing from the result"]


ONE_VOTE = [
    ("1234567", "1,234,567", "1234567.0", "1 234 567"),
    ("1,000", "1000.0", "1000", "$1,000"),
    ("0.1", "0.10", ".1", "0,1"),
    ("-3", "− 3", "-3.0", "-$3"),
    ("50%", "50", "50 %"),
    ("Paris", "paris"),
]
TWO_VOTES = [
    ("1234567", "1234568"),
    ("123456.7", "123456.8"),
    ("12345678901234567", "12345678901234568"),
    ("0.12345678901234567", "0.12345678901234568"),
    ("4", "- 4"),
    ("1, 2, 3", "1, 2, 5"),
    ("007", "7"),
    ("1.2.3", "1.2"),
    ("12:30", "12"),
]


def test_answers_are_one_vote_where_only_their_spelling_differs(model):
    for answers in (*ONE_VOTE, *TWO_VOTES):
        model.answers = {"Which": [f"ANSWER: {answer}" for answer in answers]}

        votes = vote.run({"task": "Which?", "n": len(answers)})["votes"]

        assert len(votes) == (1 if answers in ONE_VOTE else 2), answers
