"""Tokens of principals on the disk."""

import hashlib
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.errors import Refused
from algocline_mcp.http import tokens
from algocline_mcp.http.tokens import Tokens, new_token, principals_of, remove_token


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_token_says_who_has_it_and_no_other_text_does(home: Home) -> None:
    anna, ben = new_token(home, "anna"), new_token(home, "ben")
    known = Tokens(home)

    assert [known.principal_of(token) for token in (anna, ben)] == ["anna", "ben"]
    others = ["", "anna", anna[:-1], anna + "a", anna.lower(), f" {anna}", anna + "\n", "alc_" + "A" * 43, "é" * 47]
    assert {known.principal_of(text) for text in others} == {None}


def test_disk_has_the_digest_alone_and_no_other_user_reads_it(home: Home) -> None:
    token = new_token(home, "anna")

    (path,) = home.principals.iterdir()
    assert hashlib.sha256(token.encode()).hexdigest() in path.read_text()
    assert not any(token in file.read_text() for file in home.root.rglob("*") if file.is_file())
    assert (path.stat().st_mode & 0o777, home.principals.stat().st_mode & 0o777) == (0o600, 0o700)
    assert len(token) == 47


def test_removed_token_is_refused_at_once_and_a_new_one_is_known(home: Home) -> None:
    known = Tokens(home)
    for _ in range(50):  # within one tick of the clock of the file system, too
        token = new_token(home, "anna")
        assert known.principal_of(token) == "anna"
        remove_token(home, "anna")
        assert known.principal_of(token) is None


def test_settled_directory_is_not_read_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    token, known = new_token(home, "anna"), Tokens(home)
    os.utime(home.principals, ns=(0, 0))
    known.principal_of(token)
    monkeypatch.setattr(tokens, "_read", lambda directory: pytest.fail("it was read again"))

    assert known.principal_of(token) == "anna"


def test_second_token_of_a_name_is_refused_and_the_first_stays(home: Home) -> None:
    token = new_token(home, "anna")

    with pytest.raises(Refused, match="alc token remove anna"):
        new_token(home, "anna")

    assert Tokens(home).principal_of(token) == "anna"
    assert [each.name for each in principals_of(home)] == ["anna"]


def test_two_that_make_it_at_once_get_one_token(home: Home) -> None:
    made: list[str] = []

    def make() -> None:
        with suppress(Refused):
            made.append(new_token(home, "anna"))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [Tokens(home).principal_of(token) for token in made] == ["anna"]
    assert os.listdir(home.principals) == ["anna"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "Anna", "-a", ".a", "a b", "a\n", "jwt:a", "ä", "a" * 65]
)
def test_name_that_is_not_usable_is_refused(home: Home, name: str) -> None:
    for change in (new_token, remove_token):
        with pytest.raises(Refused, match="no name of a principal"):
            change(home, name)


def test_removal_of_nobody_says_so(home: Home) -> None:
    with pytest.raises(Refused, match="anna has no token"):
        remove_token(home, "anna")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"sha256": ""}', '{"sha256": null, "created_s": "x"}', "\0"])
def test_damaged_file_opens_no_door_and_closes_none(home: Home, content: str) -> None:
    token = new_token(home, "anna")
    (home.principals / "ben").write_text(content)
    (home.principals / ".draft").write_text(content)
    (home.principals / "dir").mkdir()

    known = Tokens(home)

    assert known.principal_of(token) == "anna"
    assert [each.name for each in principals_of(home)] == ["anna"]
