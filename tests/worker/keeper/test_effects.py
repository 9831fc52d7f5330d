"""Host functions: paths of modules, refusals, variables."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.home import BUILT_IN_PACKAGES
from algocline_mcp.session.records import Record
from algocline_mcp.worker.keeper.effects import World, allowed_variables, language_of_package, lib_paths

CODE_BYTES = 100


def write(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def world(*roots: Path, **environ: str) -> World:
    return World("lua", roots, environ, CODE_BYTES)


def require(name: Any, *roots: Path) -> Record:
    return world(*roots).perform("module", (name,))


# ── modules ───────────────────────────────────────────────────────────────────────────────────────────────

FOUND: list[tuple[str, dict[str, str | bytes], str, str]] = [
    ("m", {"1/m.lua": "one"}, "one", "m.lua"),
    ("m", {"1/m/init.lua": "one"}, "one", "m/init.lua"),
    ("m", {"1/m.lua": "file", "1/m/init.lua": "folder"}, "file", "m.lua"),
    ("m", {"1/m.lua": "one", "2/m.lua": "two"}, "one", "m.lua"),
    ("m", {"1/m/init.lua": "one", "2/m.lua": "two"}, "one", "m/init.lua"),
    ("m", {"2/m.lua": "two"}, "two", "m.lua"),
    ("m", {"1/m/other.lua": "no", "2/m.lua": "two"}, "two", "m.lua"),
    ("m", {"1/m": "a file where a folder could be", "2/m.lua": "two"}, "two", "m.lua"),
    ("a.b-c.D_9", {"1/a/b-c/D_9.lua": "deep"}, "deep", "a/b-c/D_9.lua"),
    ("a.b", {"1/a.b.lua": "no", "1/a/b/init.lua": "deep"}, "deep", "a/b/init.lua"),
    ("m", {"1/m.lua": ""}, "", "m.lua"),
    ("m", {"1/m.lua": "é\r\n\0"}, "é\r\n\0", "m.lua"),
    ("m", {"1/m.lua": "x" * CODE_BYTES}, "x" * CODE_BYTES, "m.lua"),
]


@pytest.mark.parametrize(("name", "files", "source", "chunk"), FOUND)
def test_module_is_the_first_file_in_order_of_paths_then_forms(
    name: str, files: dict[str, str | bytes], source: str, chunk: str, tmp_path: Path
) -> None:
    write(tmp_path, files)

    outcome = require(name, tmp_path / "1", tmp_path / "2", tmp_path / "missing")

    assert outcome == {"result": {"source": source, "chunk": chunk}}


def test_error_of_a_missing_module_names_every_path_that_was_tried(tmp_path: Path) -> None:
    outcome = require("a.m", tmp_path / "1", tmp_path / "2")

    where = f"{tmp_path / '1'}, {tmp_path / '2'}"
    assert outcome == {"error": f"module 'a.m' not found: no a/m.lua or …/init.lua in {where}"}


def test_to_a_principal_a_missing_module_names_no_directory(tmp_path: Path) -> None:
    own = World("lua", [tmp_path], {}, CODE_BYTES, [tmp_path], names_directories=False)

    assert [own.perform(kind, ("a.m",)) for kind in ("module", "scenario")] == [
        {"error": "module 'a.m' not found: no a/m.lua or …/init.lua among the modules of this server"},
        {"error": "scenario 'a.m' not found: no a/m.lua among the scenarios of this server"},
    ]


BAD_NAMES: list[Any] = [
    *("", ".", "..", "../m", "/etc/passwd", "a/b", "a..b", ".a", "a.", "a\n", "a\0", "a b", "é", "~", "*", "m.lua "),
    *(5, None, True, 1.5, ["m"], {"m": 1}),
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_invalid_name_is_refused_and_nothing_is_opened(
    name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    monkeypatch.setattr(os, "open", lambda *args, **kwargs: opened.append(args))

    outcome = require(name, tmp_path)

    sentence = f"module {name!r} not found: a name is letters, digits, _ and -, with dots between parts"
    assert outcome == {"error": sentence}
    assert opened == []


UNUSABLE: dict[str, tuple[bytes, str]] = {
    "too long": (b"x" * (CODE_BYTES + 1), f"module file m.lua is longer than {CODE_BYTES} bytes"),
    "not UTF-8": (b"\xff", "module file m.lua is not UTF-8: 'utf-8' codec can't decode byte 0xff in position 0"),
    "surrogate": (b"\xed\xa0\x80", "module file m.lua is not UTF-8: "),
}


@pytest.mark.parametrize(("content", "sentence"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_file_that_cannot_be_used_is_an_error_and_no_other_is_tried(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    write(tmp_path, {"1/m.lua": content, "2/m.lua": "two"})

    outcome = require("m", tmp_path / "1", tmp_path / "2")

    assert outcome["error"].startswith(sentence)


def test_file_that_may_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Any, *args: Any) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    write(tmp_path, {"m.lua": "one"})
    monkeypatch.setattr(os, "open", refuse)

    assert require("m", tmp_path) == {"error": "module file m.lua cannot be read: Permission denied"}


def test_name_longer_than_a_file_name_is_an_error(tmp_path: Path) -> None:
    outcome = require("m" * 300, tmp_path)

    assert outcome["error"].endswith("cannot be read: File name too long")


def _held_up(number: int, frame: Any) -> None:
    raise AssertionError("held up")


def test_fifo_does_not_block_the_keeper(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.lua")
    before = signal.signal(signal.SIGALRM, _held_up)
    signal.alarm(5)
    try:
        outcome = require("m", tmp_path)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

    assert outcome == {"error": "module file m.lua is not a regular file"}


def test_folder_in_the_place_of_a_file_is_an_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "m.lua").mkdir()
    before = os.listdir("/dev/fd")

    outcome = require("m", tmp_path)

    assert outcome == {"error": "module file m.lua is not a regular file"}
    assert os.listdir("/dev/fd") == before


def test_device_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "m.lua").symlink_to("/dev/zero")

    assert require("m", tmp_path) == {"error": "module file m.lua is not a regular file"}


# ── precedence and environment ────────────────────────────────────────────────────────────────────────────

HOME = Path("/h/packages")
PATHS: list[tuple[list[str], dict[str, str], list[str]]] = [
    ([], {}, ["/h/packages"]),
    (["/s", "/t"], {}, ["/s", "/t", "/h/packages"]),
    (["/s"], {"ALC_PACKAGES_PATH": "/a:/b"}, ["/s", "/a", "/b", "/h/packages"]),
    ([], {"ALC_PACKAGES_PATH": ":/a::"}, ["/a", "/h/packages"]),
    ([], {"ALC_PACKAGES_PATH": ""}, ["/h/packages"]),
    ([], {"HOME": "/u"}, ["/h/packages", "/u/.algocline/packages"]),
    ([], {"HOME": ""}, ["/h/packages"]),
    (["/s"], {"HOME": "/u", "ALC_PACKAGES_PATH": "/a"}, ["/s", "/a", "/h/packages", "/u/.algocline/packages"]),
]


@pytest.mark.parametrize(("own", "environ", "expected"), PATHS)
def test_paths_come_in_order_of_precedence(own: list[str], environ: dict[str, str], expected: list[str]) -> None:
    assert lib_paths({"lib_paths": own}, HOME, environ) == [*map(Path, expected), BUILT_IN_PACKAGES]


ALLOWED: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"A": "1", "B": "2"}, {}),
    ({"A": "1", "B": "2", "ALC_ENV_ALLOW": ""}, {}),
    ({"A": "1", "B": "2", "ALC_ENV_ALLOW": "A"}, {"A": "1"}),
    ({"A": "1", "B": "", "ALC_ENV_ALLOW": " B , A,,MISSING"}, {"A": "1", "B": ""}),
    ({"A": "1", "ALC_ENV_ALLOW": "*"}, {}),
    ({"A": "1", "ALC_ENV_ALLOW": "a"}, {}),
    ({"AB": "1", "ALC_ENV_ALLOW": "A"}, {}),
]


@pytest.mark.parametrize(("environ", "expected"), ALLOWED)
def test_strategy_reads_only_the_variables_that_are_allowed(environ: dict[str, str], expected: dict[str, str]) -> None:
    assert allowed_variables(environ) == expected


@pytest.mark.parametrize(("name", "value"), [("A", "1"), ("B", None), ("", None)])
def test_variable_is_its_text_or_nothing(name: str, value: str | None) -> None:
    assert world(A="1").perform("env", (name,)) == {"result": value}


def test_clock_reads_seconds_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_790_000_000.123_456)

    assert world().perform("time", ()) == {"result": 1_790_000_000.123}


CALLS: list[tuple[str, tuple[Any, ...], str]] = [
    ("format_disk", (), "there is no host function 'format_disk'"),
    ("", (), "there is no host function ''"),
    ("__class__", (), "there is no host function '__class__'"),
    ("time", (1,), "host function 'time' cannot take 1 such arguments"),
    ("env", (), "host function 'env' cannot take 0 such arguments"),
    ("env", (["A"],), "host function 'env' cannot take 1 such arguments"),
    ("env", ({"A": 1},), "host function 'env' cannot take 1 such arguments"),
    ("module", (), "host function 'module' cannot take 0 such arguments"),
    ("module", ("m", "n"), "host function 'module' cannot take 2 such arguments"),
]


@pytest.mark.parametrize(("name", "args", "sentence"), CALLS)
def test_call_that_does_not_fit_is_an_error_for_the_strategy(name: str, args: tuple[Any, ...], sentence: str) -> None:
    assert world().perform(name, args) == {"error": sentence}


# ── packages of a project ─────────────────────────────────────────────────────────────────────────────────


def variant(name: str, root: Path) -> Record:
    return World("lua", [root / "lib"], {}, CODE_BYTES, variants={"mine": str(root / "next")}).perform(
        "module", (name,)
    )


@pytest.mark.parametrize(
    ("name", "source", "chunk"),
    [
        ("mine", "variant", "mine/init.lua"),
        ("mine.sub", "sub", "mine/sub.lua"),
        ("mine.deep", "deep", "mine/deep/init.lua"),
        ("mine2", "other", "mine2.lua"),
    ],
)
def test_a_package_of_the_project_wins_under_its_own_name(name: str, source: str, chunk: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "lib/mine/init.lua": "installed",
            "lib/mine/sub.lua": "installed",
            "lib/mine2.lua": "other",
            "next/init.lua": "variant",
            "next/sub.lua": "sub",
            "next/deep/init.lua": "deep",
            "next/.lua": "hidden",
        },
    )

    assert variant(name, tmp_path) == {"result": {"source": source, "chunk": chunk}}


def test_parts_of_two_versions_are_not_mixed(tmp_path: Path) -> None:
    write(tmp_path, {"lib/mine/gone.lua": "installed", "next/init.lua": "variant", "next/.lua": "hidden"})

    assert variant("mine.gone", tmp_path)["error"].startswith("variant pkg 'mine': failed to read ")
    (tmp_path / "next" / "init.lua").unlink()
    assert "there is no module 'mine'" in variant("mine", tmp_path)["error"]


# ── two languages ─────────────────────────────────────────────────────────────────────────────────────────


def of_python(*roots: Path, **variants: str) -> World:
    return World("python", roots, {}, CODE_BYTES, variants=variants)


@pytest.mark.parametrize(
    ("name", "files", "source", "chunk"),
    [
        ("m", {"1/m.py": "one"}, "one", "m.py"),
        ("m", {"1/m/__init__.py": "one"}, "one", "m/__init__.py"),
        ("m.sub", {"1/m/sub.py": "deep"}, "deep", "m/sub.py"),
        ("m", {"1/m.lua": "lua", "1/m.py": "python"}, "python", "m.py"),
        ("m", {"1/m.lua": "lua", "2/m.py": "python"}, "python", "m.py"),
    ],
)
def test_module_of_python_is_found_in_its_own_forms_before_any_other(
    name: str, files: dict[str, str | bytes], source: str, chunk: str, tmp_path: Path
) -> None:
    write(tmp_path, files)

    outcome = of_python(tmp_path / "1", tmp_path / "2").perform("module", (name,))

    assert outcome == {"result": {"source": source, "chunk": chunk}}


@pytest.mark.parametrize("file", ["m.py", "m/__init__.py"])
def test_package_in_python_is_found_for_lua_and_says_its_language(file: str, tmp_path: Path) -> None:
    write(tmp_path, {f"1/{file}": "python"})

    assert require("m", tmp_path / "1") == {"result": {"source": "python", "chunk": file, "language": "python"}}


def test_a_lua_module_precedes_a_package_in_python_in_every_directory(tmp_path: Path) -> None:
    write(tmp_path, {"1/m.py": "python", "2/m.lua": "lua"})

    assert require("m", tmp_path / "1", tmp_path / "2") == {"result": {"source": "lua", "chunk": "m.lua"}}


def test_package_in_lua_cannot_be_imported_and_the_error_says_how_to_run_it(tmp_path: Path) -> None:
    write(tmp_path, {"m.lua": "lua"})

    outcome = of_python(tmp_path).perform("module", ("m",))

    assert outcome == {"error": "m is a package in Lua, which cannot be imported: alc.call('m', ctx) runs it"}


@pytest.mark.parametrize("name", ["m.sub", "no", "m-1"])
def test_parts_of_a_package_in_python_are_no_modules_for_lua(name: str, tmp_path: Path) -> None:
    write(tmp_path, {"m/__init__.py": "", "m/sub.py": "", "m-1.py": "", "no.py/file": ""})

    assert "not found" in require(name, tmp_path)["error"]


@pytest.mark.parametrize(
    ("files", "language"),
    [
        ({"1/m.lua": ""}, "lua"),
        ({"1/m.py": ""}, "python"),
        ({"1/m/__init__.py": ""}, "python"),
        ({"1/m.py": "", "1/m.lua": ""}, "lua"),
        ({"1/m.py": "", "2/m.lua": ""}, "python"),
        ({"next/__init__.py": "", "1/m.lua": ""}, "python"),
        ({"next/init.lua": "", "1/m.py": ""}, "lua"),
    ],
)
def test_language_of_a_child_is_that_of_the_first_directory_with_the_package(
    files: dict[str, str | bytes], language: str, tmp_path: Path
) -> None:
    write(tmp_path, files)
    variants = {"m": str(tmp_path / "next")} if any(name.startswith("next") for name in files) else {}

    for own in ("lua", "python"):
        world = World(own, (tmp_path / "1", tmp_path / "2"), {}, CODE_BYTES, variants=variants)
        assert language_of_package(world, "m") == language


def test_child_without_a_package_has_the_language_of_its_parent(tmp_path: Path) -> None:
    assert [language_of_package(World(own, (tmp_path,), {}, 1), "m") for own in ("lua", "python")] == ["lua", "python"]
    assert language_of_package(of_python(tmp_path), "../m") == "python"


def test_scenarios_are_lua_for_every_language(tmp_path: Path) -> None:
    write(tmp_path, {"s.lua": "lua", "s.py": "python"})

    outcome = World("python", (), {}, CODE_BYTES, [tmp_path]).perform("scenario", ("s",))

    assert outcome == {"result": {"source": "lua", "chunk": "s.lua"}}
