"""Linking, removing, and what a killed install leaves."""

import os
from pathlib import Path
from typing import Any

import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.packages import install as installation
from algocline_mcp.packages import installed
from algocline_mcp.packages.catalog import CatalogQuery, PackageContext, catalog
from tests.packages.steps import change, install, refusal, sources, stores


def test_a_linked_package_is_the_current_content_of_its_directory(home: Home, source: Path) -> None:
    result = change(installation.link_package, home, str(source))
    (source / "one" / "init.lua").write_text("now")

    assert result == {"status": "linked", "linked": ["one", "two"], "source": str(source)}
    assert sources(home)["one"] == "now"
    assert 'action="unlink", name="one"' in refusal(change, installation.remove_package, home, "one")
    assert 'action="unlink", name="one"' in refusal(install, home, source / "one", force=True)
    assert change(installation.unlink_package, home, "one")["source"] == str(source / "one")
    assert list(sources(home)) == ["two"]
    assert (source / "one" / "init.lua").exists()


def test_remove_deletes_the_files_of_one_package(home: Home, source: Path) -> None:
    install(home, source)

    assert 'action="remove", name="one"' in refusal(change, installation.unlink_package, home, "one")
    change(installation.remove_package, home, "one")
    assert list(sources(home)) == ["two"]
    assert not list(home.packages.glob(".store/*/one"))
    change(installation.remove_package, home, "two")
    assert (sources(home), stores(home)) == ({}, [])
    assert "is not installed here" in refusal(change, installation.remove_package, home, "two")


def test_a_change_waits_a_bounded_time_for_another_process(home: Home, source: Path) -> None:
    install(home, source)
    with installed.exclusive_change(home, Limits()):
        said = refusal(install, home, source, force=True, limits=Limits(package_lock_s=0.05))

    assert "are being changed by another process" in said


# ── killed ────────────────────────────────────────────────────────────────────────────────────────────────


class Killed(BaseException):
    pass


def _die(*given: Any) -> None:
    raise Killed


def test_an_install_that_is_killed_before_its_rename_has_not_happened(
    home: Home, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("algocline_mcp.packages.installed.os.sync", _die)
        patch.setattr(installed.Staging, "close", lambda staging: os.close(staging._fd))  # as at the end of a process
        with pytest.raises(Killed):
            install(home, source)

    assert sources(home) == {}
    assert len(stores(home)) == 1, "its staging directory is left"
    install(home, source / "one")
    assert list(sources(home)) == ["one"]
    assert len(stores(home)) == 1, "the next change removes it"


def test_an_install_that_is_killed_after_its_rename_has_happened(
    home: Home, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = installed._replace_link

    def once(home: Home, name: str, target: str) -> None:
        if name == "two":
            raise Killed
        point(home, name, target)

    with monkeypatch.context() as patch:
        patch.setattr(installed, "_replace_link", once)
        with pytest.raises(Killed):
            install(home, source)

    assert list(sources(home)) == ["one"]
    lines = catalog(PackageContext(home, Limits(), {}), "packages", CatalogQuery())["packages"]
    assert [line["name"] for line in lines if line["origin"] == "installed"] == ["one", "two"], (
        "the next reader makes the missing links"
    )
    assert list(sources(home)) == ["one", "two"]
    assert not list(home.packages.glob(".store/*/pending"))
