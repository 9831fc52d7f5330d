"""What a strategy in Python prints is in the log."""

import io
import sys
import warnings
from typing import Any

import pytest

from algocline_mcp.worker.engine.python.output import captured


@pytest.fixture
def entries() -> list[tuple[Any, ...]]:
    return []


def captured_by(entries: list[tuple[Any, ...]]) -> Any:
    return captured(lambda level, message: entries.append((level, message)), lambda text: entries.append((text,)))


def test_each_print_is_one_message_and_the_rest_follows_at_the_end(entries: list[tuple[Any, ...]]) -> None:
    before = sys.stdout, sys.stderr

    with captured_by(entries):
        print("a", 1)
        print("two\nlines")
        print()
        print("no ", end="")
        print("break")
        print("to stderr", file=sys.stderr)
        sys.stdout.write("partial")

    assert entries == [("info", "a 1"), ("info", "two\nlines"), ("info", "no break"), ("warn", "to stderr"),
                       ("info", "partial")]  # fmt: skip
    assert (sys.stdout, sys.stderr) == before


def test_a_long_text_is_logged_in_parts(entries: list[tuple[Any, ...]]) -> None:
    with captured_by(entries):
        for _ in range(1000):
            print("x" * 100, end="")
        print("y" * 200_000)

    texts = [message for _, message in entries]
    assert max(map(len, texts)) <= 1 << 16
    assert "".join(texts) == "x" * 100_000 + "y" * 200_000


def test_a_warning_of_python_is_a_warning_of_the_session(entries: list[tuple[Any, ...]]) -> None:
    with captured_by(entries), warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning("old", DeprecationWarning, "panel.py", 3)
        warnings.showwarning("never awaited", RuntimeWarning, "/usr/lib/python3/asyncio/x.py", 3)

    assert entries == [("panel.py:3: DeprecationWarning: old",), ("RuntimeWarning: never awaited",)]


def test_the_streams_are_streams(entries: list[tuple[Any, ...]]) -> None:
    with captured_by(entries):
        assert sys.stdout.writable()
        assert not sys.stdout.isatty()
        assert sys.stdout.encoding == "utf-8"
        with pytest.raises(io.UnsupportedOperation):
            sys.stdout.fileno()
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"x")  # type: ignore[arg-type]  # a mistake on purpose
