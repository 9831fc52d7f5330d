"""Check of all packages but the built-in ones, and repair of those that can be installed again.

Contract: `check_packages` is read-only and blocks on the disk: call it in a thread. `repair` installs each incomplete
package again from its recorded source and commit; it changes no other package.
"""

import os
from functools import partial
from typing import Any

import anyio

from algocline_mcp.errors import AlcError
from algocline_mcp.packages import install, installed, lookup, specs
from algocline_mcp.packages.catalog import PackageContext

_FINDINGS = ("healthy", "missing_meta", "incomplete_pkg", "symlink_dangling", "spec_missing")


def check_packages(context: PackageContext, name: str) -> dict[str, Any]:
    """Names of packages by finding (`_FINDINGS`), of all packages or only `name`; `path_missing`: the project's
    warnings."""
    search_path = context.search_path()
    findings: dict[str, list[str]] = {finding: [] for finding in _FINDINGS}
    packages = {package.name: package for package in search_path.all() if package.origin != lookup.BUILT_IN}
    for package in packages.values():
        metadata = lookup.read_metadata(package, context.limits.code_bytes)
        finding = "incomplete_pkg" if metadata is None else "healthy" if metadata.version else "missing_meta"
        findings[finding].append(package.name)
        if finding != "incomplete_pkg" and not specs.files_in(package.file.parent / specs.DIRECTORY):
            findings["spec_missing"].append(package.name)
    for root, origin in search_path.roots:
        for path in sorted(root.iterdir() if root.is_dir() and origin != lookup.BUILT_IN else ()):
            if path.name not in packages and not path.name.startswith("."):
                is_dangling = path.is_symlink() and not path.exists()
                findings["symlink_dangling" if is_dangling else "incomplete_pkg"].append(path.name)
    if name:
        findings = {finding: [other for other in names if other == name] for finding, names in findings.items()}
    return findings | {"path_missing": list(search_path.project.warnings)}


async def repair(context: PackageContext, name: str, fetch_s: float) -> dict[str, Any]:
    """`{repaired, skipped, unrepairable, failed}`; items of the last two have a `reason`. Takes at most `fetch_s`."""
    findings = await install.in_thread(partial(check_packages, context, name))
    report: dict[str, list[Any]] = {
        "repaired": [],
        "skipped": [*findings["healthy"], *findings["missing_meta"]],
        "unrepairable": [{"reason": warning} for warning in findings["path_missing"]],
        "failed": [],
    }
    deadline = anyio.current_time() + fetch_s
    for broken in (*findings["incomplete_pkg"], *findings["symlink_dangling"]):
        source, reason = await install.in_thread(partial(_recorded_source, context, broken))
        if reason:
            report["unrepairable"].append({"name": broken, "reason": reason})
            continue
        try:
            left_s = max(0.0, deadline - anyio.current_time())
            await install.install_package(
                context.home, context.limits, source, only=broken, force=True, fetch_s=left_s, environ=context.environ
            )
            report["repaired"].append(broken)
        except AlcError as exc:
            report["failed"].append({"name": broken, "reason": str(exc)})
    return report


def _recorded_source(context: PackageContext, name: str) -> tuple[str, str]:
    """(source, ""), or ("", the reason why the package cannot be installed again)."""
    target, recorded = installed.link_target(context.home, name), installed.provenance(context.home, name)
    if target is None:
        return "", "it was put there by hand: repair it, or remove it"
    if os.path.isabs(target):
        return "", f"it is linked to {target}: repair that directory, or remove the link with alc_pkg_unlink"
    if "source" not in recorded:
        return "", "its source is not recorded: install it again with alc_pkg_install and force"
    if "commit" not in recorded:
        return recorded["source"], ""
    return f"{recorded['source'].partition('#')[0]}#{recorded['commit']}", ""
