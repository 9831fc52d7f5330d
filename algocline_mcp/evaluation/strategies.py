"""The strategies that an evaluation runs: a file or the name of a package, with options. Blocks on the disk.

Contract: the text is read once, when the run begins, and is kept in its plan. A strategy that is edited meanwhile is
another strategy, and so another run.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.evaluation.cases import Case
from algocline_mcp.evaluation.options import parse_options
from algocline_mcp.history.new_session import Strategy
from algocline_mcp.languages import LANGUAGES, LUA, Language, language_of_file
from algocline_mcp.package_inputs import InputError, changes, forms_of, unknown
from algocline_mcp.packages import lookup
from algocline_mcp.packages.catalog import PackageContext
from algocline_mcp.packages.lookup import Package
from algocline_mcp.packages.metadata import metadata_of
from algocline_mcp.packages.project import NAME, find_root, read_project

_LABEL = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Contender:
    """`label`: as given at the command line, and unique in a run. `options`: merged into each ctx."""

    label: str
    code: str
    chunk: str
    language: str
    name: str | None = None
    project_root: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    lib_paths: tuple[str, ...] = ()
    variants: Mapping[str, str] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """A name for its cards, which are files."""
        return self.name or _LABEL.sub("_", Path(self.chunk).stem).strip("._") or "strategy"

    def session(self, case: Case, title: str) -> Strategy:
        return Strategy(
            self.code,
            self.chunk,
            case.context() | dict(self.options),
            title=title,
            project_root=self.project_root,
            lib_paths=self.lib_paths,
            name=self.name,
            variants=self.variants,
            language=self.language,
        )

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"lib_paths": list(self.lib_paths)}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "Contender":
        return cls(**{**value, "lib_paths": tuple(value["lib_paths"])})


def contender(context: PackageContext, text: str) -> Contender:
    """The strategy that `FILE|NAME[:KEY=VALUE,…]` names. Raises Refused."""
    name, options = parse_options(text, what="the strategy")
    language = language_of_file(name)
    if language is not None:
        return _of_file(context.limits, text, Path(os.path.abspath(os.path.expanduser(name))), language, options)
    search_path = context.search_path()
    entry = lookup.entry_of(Path(os.path.abspath(os.path.expanduser(name))))
    if search_path.find(name) is None and entry.is_file():
        return _of_file(context.limits, text, entry, language_of_file(entry.name) or LUA, options)
    package, code, _ = lookup.find_strategy(search_path, name, context.limits.code_bytes)
    root = search_path.project.root
    return Contender(
        text,
        code,
        f"{package.name}/{package.file.name}",
        package.language.name,
        package.name,
        None if root is None else os.fspath(root),
        options,
        variants=dict(search_path.project.variants),
    )


def check_inputs(contenders: Sequence[Contender], cases: Sequence[Case]) -> None:
    """Raises Refused, before anything is asked, for a case that does not give what a strategy needs."""
    for strategy in contenders:
        if strategy.name is None:
            continue
        forms = forms_of(metadata_of(strategy.code, LANGUAGES[strategy.language]).inputs)
        if slips := unknown(strategy.name, forms, strategy.options, is_near=True):
            raise Refused(f"{strategy.label}: {slips[0]}", code="bad_input")
        for case in cases:
            try:
                changes(strategy.name, forms, case.context() | dict(strategy.options))
            except InputError as exc:
                name = next(iter(exc.inputs))
                own = f'{{"input": {{"{name}": …}}}}'
                raise Refused(
                    f"case {case.id}: {exc}: give it in the case, such as {own}, or for all cases as an option, "
                    f"--strategy {strategy.name}:{name}=…",
                    code="bad_input",
                ) from exc


def _of_file(limits: Limits, label: str, path: Path, language: Language, options: dict[str, Any]) -> Contender:
    if not path.is_file():
        raise Refused(f"{path} is not a file: give the path of a strategy, or the name of an installed one")
    code = lookup.read_source(Package(path.stem, path, "given"), limits.code_bytes).removeprefix("\ufeff")
    name, project = path.parent.name, read_project(find_root(os.environ))
    is_entry = path.name == language.entry_file() and NAME.fullmatch(name) is not None
    if is_entry and not metadata_of(code, language).is_library:
        chunk, near = f"{name}/{path.name}", (str(path.parent.parent), str(path.parent))
        return Contender(label, code, chunk, language.name, name, None, options, near, project.variants)
    return Contender(label, code, path.name, language.name, None, None, options, (str(path.parent),), project.variants)
