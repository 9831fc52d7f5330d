"""`alc serve`: serves MCP over HTTP until SIGTERM or SIGINT.

Contract. `serve` raises Refused or HomeUnusable, one sentence, before it listens; then it runs until a signal, and ends
the process: exit code 0. What happens then, bounded at each step:

    1. /readyz says 503, for `unready_s`: a load balancer sends nothing more
    2. no connection is accepted any more; each connection is closed when its request has its reply
    3. after `drain_s` each call that still waits is told to ask again; what is left after _REPLY_S is cut off
    4. paused workers are asked to hibernate; those that compute go on, and the next server finds them
    5. a node ends its workers and gives all sessions back to the database, where the other nodes find them

Nothing has to be saved: `kill -9` loses no more than that, and a second signal ends the process at once.
"""

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

import anyio
from uvicorn.server import ServerState

from algocline_mcp.config.home import Home
from algocline_mcp.config.http import Address, HttpLimits, HttpSettings, refuse_open_door
from algocline_mcp.config.limits import Limits
from algocline_mcp.errors import Refused
from algocline_mcp.http.connections import BoundedProtocol, Connections, uvicorn_config
from algocline_mcp.http.identity import Verifier, asks_who
from algocline_mcp.http.service import PATH, Service
from algocline_mcp.pool.admission import rest
from algocline_mcp.server.app import refuse_tracers_later
from algocline_mcp.transport.descriptors import drop_what_nobody_reads, leave

if TYPE_CHECKING:
    from algocline_mcp.pool.node import Node
    from algocline_mcp.pool.spawn import ForkServerProcess

_BACKLOG = 128
_REPLY_S = 2.0  # for the replies of calls that were ended
_CURES = {
    errno.EADDRINUSE: "another program listens there: stop it, or give another port",
    errno.EACCES: "ports below 1024 need a privilege: give another port",
    errno.EADDRNOTAVAIL: "this machine has no such address: give one of its own, or 127.0.0.1",
}


def serve(
    address: Address,
    fork_process: "ForkServerProcess | None",
    on_ready: Callable[[str, bool], None],
    database_url: str | None = None,
) -> NoReturn:
    """`on_ready` gets, as soon as the server listens, the URL and whether callers are asked for a token.
    `database_url`: that the server is a node of this database."""
    limits, settings = HttpLimits.from_env(os.environ), HttpSettings.from_env(os.environ)
    home = Home.from_env(os.environ)
    is_asking = asks_who(home, settings)
    refuse_open_door(address, settings, asks_who=is_asking)
    verifier = Verifier(home, settings.issuer) if is_asking else None
    node = None if database_url is None else node_of(database_url, home)
    with closing(listen(address)) as listener:
        url = f"http://{address.with_port(listener.getsockname()[1])}{PATH}"
        drop_what_nobody_reads()
        for name in ("uvicorn.error", "mcp"):  # a client that sends garbage writes no log
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            anyio.run(
                _serve,
                listener,
                Service(settings, limits, verifier, fork_process, node),
                node,
                limits,
                lambda: on_ready(url, is_asking),
            )
        except BaseException:  # noqa: BLE001 - the process has to end, whatever threads are left
            traceback.print_exc()
            leave(1)
    sys.stdout.flush()
    leave()


def node_of(url: str, home: Home) -> "Node":
    """Takes the home for this process. Raises Refused where the extra or the tables are missing, where they are of
    another version, and for settings that a node does not have; StorageFailed, HomeUnusable."""
    from algocline_mcp.cluster import schema  # all of it needs an extra
    from algocline_mcp.cluster.connection import Database
    from algocline_mcp.cluster.copies import claim
    from algocline_mcp.cluster.node import Node

    database = Database(url)
    _refuse_settings(os.environ)
    limits = Limits.from_env(os.environ)
    with database.connect() as connection:
        schema.check(connection, database)
    claim(home)  # until the process ends
    return Node(database, home, limits)


def _refuse_settings(environ: Mapping[str, str]) -> None:
    """Raises Refused for what reads the home, which of a node is a cache."""
    if environ.get("ALC_CARD_SINKS"):
        raise Refused("ALC_CARD_SINKS is not applied to cards in a database: unset it, or serve without --database")


def listen(address: Address) -> socket.socket:
    """Raises Refused: the address, what is wrong with it, and the cure."""
    try:
        family, kind, number, _, place = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as exc:
        raise Refused(f"{address.host} is not known as a name or an address: give an address of this machine") from exc
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that starts again need not wait
        listener.bind(place)
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        cure = _CURES.get(exc.errno or 0, "give another address")
        raise Refused(f"cannot listen on {address}: {exc.strerror}; {cure}") from exc
    return listener


async def _serve(
    listener: socket.socket,
    service: Service,
    node: "Node | None",
    limits: HttpLimits,
    on_listening: Callable[[], None],
) -> None:
    loop, is_ending = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        if is_ending.is_set():
            leave()
        is_ending.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end)
    connections = Connections(limits)
    config, state = uvicorn_config(service.app, limits), ServerState()
    async with service.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(refuse_tracers_later)
        acceptor = await loop.create_server(
            lambda: BoundedProtocol(config, state, connections), sock=listener, backlog=_BACKLOG
        )
        on_listening()
        await is_ending.wait()
        service.become_unready()
        await anyio.sleep(limits.unready_s)
        acceptor.close()
        if not await connections.shut_down(limits.drain_s):
            service.server.end_calls()
            await connections.shut_down(_REPLY_S)
        connections.abort()
        if service.server.state is not None and (pool := service.server.state.opened_pool) is not None:
            await rest(pool)
            if node is not None:
                await node.close(pool)
        tasks.cancel_scope.cancel()
