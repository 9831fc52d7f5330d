"""Fixtures of pytest for tests of strategies."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from alc.desk.model import Model
    from alc.desk.replay import Replayed


@pytest.fixture
def model() -> "Iterator[Model]":
    """Answers what the test's functions ask: `model.answers["nurse"] = "no 2"`, `model.default = "yes 8"`."""
    import alc  # loaded for the tests that use it alone

    with alc.use(alc.Model()) as scripted:
        yield scripted


@pytest.fixture
def replay() -> "Callable[..., Replayed]":
    """`replay(file_or_function, ctx, answers)` runs a strategy in two engines, and fails where a prompt differs."""
    from alc.desk.replay import replay as replay_in_engines  # loaded for the tests that use it alone

    return replay_in_engines
