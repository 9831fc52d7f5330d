"""The built-in strategies as packages: their metadata, their specs in an engine, and what the wheel has."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from algocline_mcp.config.home import BUILT_IN_PACKAGES, Home
from algocline_mcp.config.limits import Limits
from algocline_mcp.packages import specs
from algocline_mcp.packages.catalog import PackageContext
from algocline_mcp.packages.lookup import Package, entry_of, read_metadata

PACKAGES = [
    Package(path.name, entry_of(path), "built in")
    for path in sorted(BUILT_IN_PACKAGES.iterdir())
    if not path.name.startswith(("_", "."))
]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_strategy_says_what_it_takes_returns_and_costs(package: Package) -> None:
    metadata = read_metadata(package, Limits().code_bytes)

    assert metadata is not None
    assert all((metadata.version, metadata.description, metadata.doc))
    assert package.name not in sys.stdlib_module_names, "import would find that"
    if metadata.is_library:
        return
    assert all((metadata.reference, metadata.cost, metadata.inputs, metadata.outputs))
    for name, form in metadata.inputs.items():
        assert {"type", "description"} <= form.keys(), name
        assert form.keys() <= {"type", "description", "default", "minimum", "maximum", "enum"}, name


@pytest.mark.slow
def test_all_specs_pass_in_an_engine(tmp_path: Path) -> None:
    limits = Limits()
    context = PackageContext(Home(tmp_path / "h"), limits, {})

    async def failures_of(package: Package) -> list[str]:
        report = await specs.run_specs(specs.select_specs(context, package.name), limits, os.environ, 300)
        assert report["passed"] > 0
        return [f"{package.name}: {failure['name']}: {failure['error']}" for failure in report.get("failures", ())]

    for package in PACKAGES:
        assert anyio.run(failures_of, package) == []
