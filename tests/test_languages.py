"""The facts of each language that server and worker share."""

import sys

from algocline_mcp.languages import LUA, PYTHON


def test_the_abi_of_python_names_its_minor_version_and_no_distribution() -> None:
    abi = PYTHON.abi(lambda name: f"a version of {name}")

    assert abi == {
        "language": "python",
        "interpreter": f"CPython {sys.version_info.major}.{sys.version_info.minor}",
        "prelude": PYTHON.prelude,
    }


def test_the_abi_of_lua_names_the_package_that_contains_it() -> None:
    assert LUA.abi(lambda name: f"a version of {name}")["lupa"] == "a version of lupa"


def test_the_entry_file_of_a_package_is_named_with_and_without_its_directory() -> None:
    assert [language.entry_file("vote") for language in (LUA, PYTHON)] == ["vote/init.lua", "vote/__init__.py"]
    assert [language.entry_file() for language in (LUA, PYTHON)] == ["init.lua", "__init__.py"]
