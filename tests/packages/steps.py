"""Steps that tests of packages share: install, change, and what is in the home then."""

import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from algocline_mcp.config.home import Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.packages import install as installation

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
RUNS = "return {meta = {version = '%s'}, run = function(ctx) return alc.llm(ctx.task) .. '%s' end}"


def install(home: Home, source: Path | str, **options: Any) -> dict[str, Any]:
    limits = options.pop("limits", Limits())

    async def run() -> dict[str, Any]:
        return await installation.install_package(home, limits, str(source), **options)

    return anyio.run(run)


def change(function: Any, home: Home, *arguments: Any, **options: Any) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        result: dict[str, Any] = await function(home, Limits(), *arguments, **options)
        return result

    return anyio.run(run)


def refusal(function: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(Refused) as caught:
        function(*arguments, **options)
    return str(caught.value)


def sources(home: Home) -> dict[str, str]:
    """Package name -> text of its init.lua."""
    names = [name for name in os.listdir(home.packages) if not name.startswith(".")] if home.packages.exists() else []
    return {name: (home.packages / name / "init.lua").read_text() for name in sorted(names)}


def stores(home: Home) -> list[str]:
    return sorted(name for name in os.listdir(home.packages / ".store") if name != "lock")
