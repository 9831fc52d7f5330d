"""Repair of packages that cannot be used."""

import shutil
from pathlib import Path
from typing import Any

import anyio

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.packages import check
from algocline_mcp.packages.catalog import PackageContext
from tests.packages.steps import RUNS, install, needs_git


@needs_git
def test_a_broken_package_is_installed_again_from_its_commit_and_others_stay(home: Home, repository: Path) -> None:
    install(home, f"{repository.as_uri()}#v1")
    install(home, repository / "two", force=True)
    (home.packages / "one" / "init.lua").unlink()
    (home.packages / "two" / "init.lua").unlink()
    shutil.rmtree(repository / "two")
    (home.packages / "by_hand").mkdir()
    (home.packages / "lost").symlink_to(".store/gone/lost")
    context = PackageContext(home, Limits(), {})

    async def repair() -> dict[str, Any]:
        return await check.repair(context, "", 20.0)

    report = anyio.run(repair)
    assert (report["repaired"], (home.packages / "one" / "init.lua").read_text()) == (["one"], RUNS % (1, "one"))
    assert [failure["name"] for failure in report["failed"]] == ["two"]
    assert {item["name"]: item["reason"].partition(":")[0] for item in report["unrepairable"]} == {
        "by_hand": "it was put there by hand",
        "lost": "its source is not recorded",
    }
