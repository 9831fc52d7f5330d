"""Upstream's tools for evaluations and scenarios; listed with ALC_TOOLS=full.

Contract: as in compat/sessions. An evaluation that a host answers is one session, which runs alc.eval: it pauses as any
other. The runs of `alc eval` and these are listed, shown and compared by the same functions, those of evaluation/.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver.tools import Tool
from mcp_types import CallToolResult
from pydantic import Field, PlainValidator, WithJsonSchema

from algocline_mcp.errors import Refused
from algocline_mcp.evaluation import hosted, runs
from algocline_mcp.evaluation.plan import find_run
from algocline_mcp.evaluation.report import comparison
from algocline_mcp.history.new_session import header_of
from algocline_mcp.packages import scenarios
from algocline_mcp.pool import dispatch
from algocline_mcp.server.compat.arguments import AnyValue
from algocline_mcp.server.tool_call import results
from algocline_mcp.server.tool_call.arguments import ABSENT, Limit, Opts, Text, WaitS, flag
from algocline_mcp.server.tool_call.pool_call import (
    call_pool,
    call_with_progress,
    granted_wait_s,
    host_result,
    run_in_thread,
    server_state,
)
from algocline_mcp.server.tool_call.source import Chosen, read_source
from algocline_mcp.server.tool_call.tool import Listing, Outcome, ToolContext, hints, make_tool
from algocline_mcp.session.owner import caller

_READ = hints(read_only=True, idempotent=True)
_LISTED = 20
AutoCard = Annotated[bool, PlainValidator(flag("auto_card")), WithJsonSchema({"type": "boolean"})]


async def alc_eval(
    context: ToolContext,
    strategy: Annotated[Text, Field(description="Name of an installed strategy")],
    scenario: Annotated[AnyValue, Field(description="Lua that returns a scenario, or an object with cases")] = None,
    scenario_file: Annotated[Text, Field(description="Path of a .lua scenario")] = ABSENT,
    scenario_name: Annotated[Text, Field(description="An installed scenario, or a module")] = ABSENT,
    strategy_opts: Annotated[Opts, Field(description="Merged into the strategy's ctx")] = {},  # noqa: B006 - read only
    auto_card: Annotated[AutoCard, Field(description="Create a card of the results")] = False,
    project_root: Text = ABSENT,
    wait_s: WaitS = None,
) -> Annotated[CallToolResult, Outcome]:
    """
    Run a strategy on the cases of a scenario and grade the answers. You answer its prompts with alc_continue, as those
    of alc_run. alc_eval_detail shows the result later too.
    """
    server = server_state(context)
    limits, home = server.limits, server.pool().home
    chosen = {"scenario": scenario, "scenario_file": scenario_file or None, "scenario_name": scenario_name or None}
    names = [name for name, value in chosen.items() if value not in (None, "")]
    if len(names) != 1:
        wrong = "Provide one of" if not names else "Provide only one of"
        all_names = "scenario or scenario_name" if caller() else "scenario, scenario_file, or scenario_name"
        raise Refused(f"{wrong}: {all_names}{' (not multiple)' if names else ''}.")
    installed = await read_source(Chosen(strategy=strategy, project_root=project_root), home=home, limits=limits)
    text = scenario if isinstance(scenario, str) else None
    lib_paths: tuple[str, ...] = ()
    if scenario_file:
        file = await read_source(Chosen(code_file=scenario_file, project_root=project_root), home=home, limits=limits)
        text, lib_paths = file.code, file.lib_paths
    request = hosted.Request(
        strategy=installed.name or strategy,
        options=strategy_opts,
        scenario_code=text,
        scenario=scenario_name or (scenario if text is None else None),
        scenario_label=scenario_name or (Path(scenario_file).stem if scenario_file else "inline"),
        auto_card=auto_card,
    )
    run = hosted.session_of(request, installed.project_root, lib_paths, installed.variants)
    sid = dispatch.gen_pool_sid()
    header = header_of(limits, run, sid=sid)
    directory = await run_in_thread(context, partial(hosted.create, home, request, sid))
    result = await call_pool(
        context,
        wait_s,
        lambda pool, wait, on_progress: dispatch.begin_via_pool(pool, header, wait_s=wait, on_progress=on_progress),
        timeout_advice="the evaluation may have started. Check alc_status() before you start it again",
        additions={"warnings": list(installed.warnings)},
    )
    return await host_result(context, result | {"eval_id": directory.run_id})


async def alc_eval_history(
    context: ToolContext, strategy: Text = ABSENT, limit: Limit = None
) -> Annotated[CallToolResult, Listing]:
    """List evaluations, newest first."""
    server = server_state(context)
    read = partial(runs.history, server.pool().home, server.limits, strategy or None, limit or _LISTED)
    return results.result({"evals": await run_in_thread(context, read)})


async def alc_eval_detail(context: ToolContext, eval_id: Text) -> Annotated[CallToolResult, Listing]:
    """Show an evaluation: figures, comparisons, every case."""
    server = server_state(context)

    def read() -> dict[str, Any]:
        return runs.stored_report(find_run(server.pool().home, eval_id), server.limits)

    return await host_result(context, await run_in_thread(context, read))


async def alc_eval_compare(
    context: ToolContext, eval_id_a: Text, eval_id_b: Text
) -> Annotated[CallToolResult, Listing]:
    """Compare two evaluations on the cases that both have."""
    server = server_state(context)
    compare = partial(runs.compare_runs, server.pool().home, server.limits, eval_id_a, eval_id_b)
    return results.result({"comparisons": [comparison(item) for item in await run_in_thread(context, compare)]})


async def alc_scenario_list(context: ToolContext) -> Annotated[CallToolResult, Listing]:
    """List the scenarios of the home."""
    return results.result(await run_in_thread(context, partial(scenarios.listed, server_state(context).pool().home)))


async def alc_scenario_show(context: ToolContext, name: Text) -> Annotated[CallToolResult, Listing]:
    """Show the source of a scenario."""
    server = server_state(context)
    show = partial(scenarios.shown, server.pool().home, server.limits, name)
    return await host_result(context, await run_in_thread(context, show))


async def alc_scenario_install(context: ToolContext, url: Text) -> Annotated[CallToolResult, Listing]:
    """Install scenarios from a git URL or a directory: its .lua files, or those in its directory scenarios."""
    server = server_state(context)
    fetch_s = granted_wait_s(context, server.limits.package_fetch_s)
    install = partial(scenarios.install_scenarios, server.pool().home, server.limits, url, fetch_s=fetch_s)
    advice = "some scenarios may be installed; check with alc_scenario_list"
    return await host_result(context, await call_with_progress(context, fetch_s, install, timeout_advice=advice))


# ── registration ──────────────────────────────────────────────────────────────────────────────────────────


def tools() -> list[Tool]:
    return [
        make_tool(alc_eval, "Evaluate a strategy", hints(), None),
        make_tool(alc_eval_history, "List evaluations", _READ, None),
        make_tool(alc_eval_detail, "Show an evaluation", _READ, None),
        make_tool(alc_eval_compare, "Compare evaluations", _READ, None),
        make_tool(alc_scenario_list, "List scenarios", _READ, None),
        make_tool(alc_scenario_show, "Show a scenario", _READ, None),
        make_tool(alc_scenario_install, "Install scenarios", hints(idempotent=True, is_open=True), None),
    ]
