"""Which packages cannot be used, why, and those that can be brought again.

Contract: `examined` changes nothing and blocks: it runs in threads. `repair` installs what an install has brought and
somebody has broken once more, from the source and the commit that it came from, and touches nothing else.
"""

from functools import partial
from typing import Any

import anyio

from algocline_mcp.errors import AlcError
from algocline_mcp.packages import install, installed, lookup, specs
from algocline_mcp.packages.catalog import PackageContext


def examined(place: PackageContext, name: str) -> dict[str, Any]:
    shelf = place.shelf()
    kinds = ("healthy", "missing_meta", "incomplete_pkg", "symlink_dangling", "spec_missing")
    found: dict[str, Any] = {kind: [] for kind in kinds}
    seen = {each.name: each for each in shelf.all()}
    for each in seen.values():
        about = lookup.about(each, place.limits.code_bytes)
        kind = "incomplete_pkg" if about is None else "healthy" if about.version else "missing_meta"
        found[kind].append(each.name)
        if kind != "incomplete_pkg" and not specs.files_in(each.file.parent / specs.DIRECTORY):
            found["spec_missing"].append(each.name)
    for root, _ in shelf.roots:
        for left in sorted(root.iterdir() if root.is_dir() else ()):
            if left.name not in seen and not left.name.startswith("."):
                is_dangling = left.is_symlink() and not left.exists()
                found["symlink_dangling" if is_dangling else "incomplete_pkg"].append(left.name)
    found = {kind: [each for each in names if name in ("", each)] for kind, names in found.items()}
    return found | {"path_missing": list(shelf.project.warnings)}


async def repair(place: PackageContext, name: str, fetch_s: float) -> dict[str, Any]:
    """`{repaired, skipped, unrepairable, failed}`; of the last two each with its reason. Takes `fetch_s` in all."""
    found = await install.in_thread(partial(examined, place, name))
    told: dict[str, list[Any]] = {"repaired": [], "skipped": [*found["healthy"], *found["missing_meta"]]}
    told |= {"unrepairable": [{"reason": each} for each in found["path_missing"]], "failed": []}
    deadline = anyio.current_time() + fetch_s
    for each in (*found["incomplete_pkg"], *found["symlink_dangling"]):
        source, why = await install.in_thread(partial(_origin, place, each))
        if why:
            told["unrepairable"].append({"name": each, "reason": why})
            continue
        try:
            left_s = max(0.0, deadline - anyio.current_time())
            await install.install_package(
                place.home, place.limits, source, only=each, force=True, fetch_s=left_s, environ=place.environ
            )
            told["repaired"].append(each)
        except AlcError as exc:
            told["failed"].append({"name": each, "reason": str(exc)})
    return told


def _origin(place: PackageContext, name: str) -> tuple[str, str]:
    """Where it came from, or else why it cannot be brought again."""
    target, told = installed.target_of(place.home, name), installed.source_of(place.home, name)
    if target is None:
        return "", "it was put there by hand: mend it, or remove it"
    if target.startswith("/"):
        return "", f"it is linked to {target}: mend what is there, or take the link away with alc_pkg_unlink"
    if "source" not in told:
        return "", "where it came from is not known any more: install it again with alc_pkg_install and force"
    revision = f"#{told['commit']}" if "commit" in told else ""
    return (told["source"].partition("#")[0] + revision if revision else told["source"]), ""
