from alc_pieces import pieces_of


def test_a_piece_ends_with_the_best_break_in_its_second_half():
    assert pieces_of("One. Two three.\n\nFour.\nFive six", 24) == ["One. Two three.\n\n", "Four.\nFive six"]
    assert pieces_of("alpha beta\ngamma delta", 14) == ["alpha beta\n", "gamma delta"]
    assert pieces_of("It is so. It is not so.", 14) == ["It is so. ", "It is not so."]
    assert pieces_of("alpha beta gamma", 12) == ["alpha beta ", "gamma"]
    assert pieces_of("abcdefgh", 3) == ["abc", "def", "gh"]
    assert pieces_of("日本語。中国語。", 6) == ["日本語。", "中国語。"]


def test_a_short_text_is_one_piece_and_a_blank_one_none():
    assert pieces_of("short", 100) == ["short"]
    assert pieces_of(" \n\n ", 2) == []
    assert pieces_of("", 2) == []


def test_pieces_are_the_text_and_none_is_too_long():
    text = "\n\n".join(f"Paragraph {n}. It has {n} words; and a tail that goes on.\nLine {n}" for n in range(200))

    for chars in (7, 50, 333, 4000):
        pieces = pieces_of(text, chars)

        assert "".join(pieces) == text
        assert max(map(len, pieces)) <= chars
        assert len(pieces) <= 2 * len(text) // chars + 1
