"""Prompts of the MCP server: each strategy that a session can be started with, as a command with its arguments.

Contract. `prompts/list` has the strategies that `alc_run` would find without `project_root`, by name, at most
PROMPTS_MAX: those that the project of this server declares, those of ALC_PACKAGES_PATH, installed and built-in ones. A
project whose files cannot be used has none in the list; `prompts/get` says why. Arguments are the inputs in `meta` of
the strategy; a strategy without them has `task` and `opts`. `prompts/get` returns one message for the model: call
alc_run with that strategy and these values. A value that is missing is no error, the model asks for it: hosts start
commands without arguments. Reading runs no code of a package.

`Watch` compares after a call whether other strategies could be listed. Nothing polls, and a step does not wait for it.
"""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import MCPServer
from mcp_types import (
    INVALID_PARAMS,
    CompletionArgument,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from algocline_mcp.config.home import Home
from algocline_mcp.errors import AlcError, Refused
from algocline_mcp.server.tool_call import principals
from algocline_mcp.server.tool_call.deadline import MIN_DISK_S, with_deadline
from algocline_mcp.server.tool_call.lifespan import ServerState

Context = ServerRequestContext[ServerState]
Result = TypeVar("Result")
PROMPTS_MAX = 200
_STEPS = frozenset(("alc_continue", "alc_status"))  # called over and over; neither installs anything
# Of a strategy whose meta names no inputs.
_ANY_INPUTS: dict[str, dict[str, Any]] = {
    "task": {"type": "string", "description": "what to do", "default": ""},
    "opts": {"type": "object", "description": "its options, as JSON", "default": {}},
}
_TEXT = """\
Run the strategy "{name}" of algocline: {about}.

Call alc_run with these arguments:
{call}
{missing}\
A value that names a file goes into ctx_files={{name: path}} instead of opts, so that you do not type its text. Then \
answer every prompt that comes back, each on its own, with alc_continue, until the status is completed, and show me \
the result: what it says, and its warnings if it has any."""
_MISSING = """\
These values are missing. Take them from this conversation, or ask me for them, before you call alc_run:
{names}
"""


async def list_prompts(context: Context, _params: PaginatedRequestParams | None) -> ListPromptsResult:
    """Every strategy, with what it takes."""
    context.lifespan_context.prompts_stamp, prompts = await _in_thread(context, _all_prompts)
    return ListPromptsResult(prompts=prompts)


async def get_prompt(context: Context, params: GetPromptRequestParams) -> GetPromptResult:
    """The message that starts one strategy with the given arguments."""
    return await _in_thread(context, partial(_prompt, name=params.name, given=params.arguments or {}))


async def complete(context: Context, name: str, argument: CompletionArgument) -> list[str]:
    """Values of one argument: those that its input allows, else its default."""
    return await _in_thread(context, partial(_values, name=name, argument=argument))


def register(app: MCPServer[ServerState]) -> None:
    # Not by the decorator of MCPServer, which registers functions: which strategies there are is known by the home.
    app._lowlevel_server.add_request_handler("prompts/list", PaginatedRequestParams, list_prompts)
    app._lowlevel_server.add_request_handler("prompts/get", GetPromptRequestParams, get_prompt)


class Watch:
    """Compares, in the background, what prompts/list depends on with what it was when it was last asked."""

    def __init__(self) -> None:
        self._is_wanted = anyio.Event()

    def after_call(self, tool: str) -> None:
        if tool not in _STEPS:
            self._is_wanted.set()

    async def run(self, state: ServerState, announce: Callable[[], Awaitable[None]]) -> None:
        """A task for the whole life of the server. A disk that hangs holds it, and nothing else."""
        while True:
            await self._is_wanted.wait()
            self._is_wanted = anyio.Event()
            listed = state.prompts_stamp
            if listed is not None and await anyio.to_thread.run_sync(_stamp, abandon_on_cancel=True) != listed:
                state.prompts_stamp = None  # once: until they are listed again
                await announce()


async def _in_thread(context: Context, read: Callable[[int], Result]) -> Result:
    """`read(code_bytes)` beside the event loop, as its packages are on a disk that may hang."""
    limits = context.lifespan_context.limits
    reading = anyio.to_thread.run_sync(
        read, limits.code_bytes, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1)
    )
    try:
        return await with_deadline(max(limits.grace_s, MIN_DISK_S), reading, timeout_advice="ask again")
    except AlcError as exc:
        raise MCPError(INVALID_PARAMS, f"{principals.sentence_for_caller(str(exc), exc.code)} [{exc.code}]") from exc


# ── the disk ──────────────────────────────────────────────────────────────────────────────────────────────


def _stamp() -> Any:
    from algocline_mcp.packages import lookup  # 5 ms of a start
    from algocline_mcp.packages.project import find_root

    return lookup.stamp(Home.from_env(os.environ), os.environ, find_root(os.environ))


def _all_prompts(code_bytes: int) -> tuple[Any, list[Prompt]]:
    """The stamp of before they were read, and the prompts."""
    from algocline_mcp.packages import lookup  # 5 ms of a start

    stamp, prompts = _stamp(), []
    try:
        packages = _search_path().all()
    except Refused:  # files of the project: without them a host would show no command at all
        packages = lookup.SearchPath.of(Home.from_env(os.environ), os.environ, None).all()
    for package in packages:
        metadata = lookup.read_metadata(package, code_bytes)
        if metadata is not None and not metadata.is_library:
            arguments = [_argument(name, form) for name, form in (metadata.inputs or _ANY_INPUTS).items()]
            prompts.append(Prompt(name=package.name, description=metadata.description or None, arguments=arguments))
    return stamp, prompts[:PROMPTS_MAX]


def _prompt(code_bytes: int, *, name: str, given: Mapping[str, str]) -> GetPromptResult:
    about, inputs = _inputs_of(name, code_bytes)
    values = {key: _value(inputs.get(key, {}), text) for key, text in given.items() if text.strip()}
    task = {"task": values.pop("task")} if "task" in values else {}
    opts = values.pop("opts", {}) if inputs is _ANY_INPUTS else {}
    opts = (opts if isinstance(opts, dict) else {"opts": opts}) | values
    call = {"strategy": name} | task | ({"opts": opts} if opts else {})
    missing = {key: form for key, form in inputs.items() if "default" not in form and key not in {**task, **opts}}
    names = "\n".join(f"- {key}: {form.get('description', 'an input')}" for key, form in missing.items())
    text = _TEXT.format(
        name=name,
        about=about.rstrip(".") or "a strategy without a description",
        call=json.dumps(call, ensure_ascii=False, indent=1),
        missing=_MISSING.format(names=names) if missing else "",
    )
    message = PromptMessage(role="user", content=TextContent(type="text", text=text))
    return GetPromptResult(description=about or None, messages=[message])


def _values(code_bytes: int, *, name: str, argument: CompletionArgument) -> list[str]:
    form = _inputs_of(name, code_bytes)[1].get(argument.name, {})
    enum = form.get("enum")
    allowed = enum if isinstance(enum, list) else [True, False] if form.get("type") == "boolean" else []
    default = [form["default"]] if form.get("default") not in (None, "", [], {}) else []
    texts = dict.fromkeys(value if isinstance(value, str) else json.dumps(value) for value in [*default, *allowed])
    return [text for text in texts if text.startswith(argument.value)]


def _inputs_of(name: str, code_bytes: int) -> tuple[str, Mapping[str, Mapping[str, Any]]]:
    """Description and inputs of a strategy. Raises Refused where there is none with this name."""
    from algocline_mcp.packages import lookup  # 5 ms of a start

    _, _, metadata = lookup.find_strategy(_search_path(), name, code_bytes)
    return metadata.description, metadata.inputs or _ANY_INPUTS


def _search_path() -> Any:
    from algocline_mcp.packages import lookup  # 5 ms of a start
    from algocline_mcp.packages.project import find_root

    return lookup.SearchPath.of(Home.from_env(os.environ), os.environ, find_root(os.environ))


def _argument(name: str, form: Mapping[str, Any]) -> PromptArgument:
    is_required = "default" not in form
    about = str(form.get("description", ""))
    if not is_required and form["default"] not in ("", [], {}):
        shown = json.dumps(form["default"], ensure_ascii=False)
        about += f" (default: {shown})" if len(shown) <= 80 else " (has a default)"
    return PromptArgument(name=name, description=about.strip() or None, required=is_required)


def _value(form: Mapping[str, Any], text: str) -> Any:
    """A text as a value of the input's type; as it is where it is none."""
    if form.get("type") in (None, "string"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
