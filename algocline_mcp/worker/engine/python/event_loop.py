"""asyncio without a kernel: no selector, no socket, no thread, no signal.

What is ready runs first in, first out. When nothing is ready, all open queries make one pause of the session, and any
answer, or the first timer, ends it. Both are recorded by the keeper, and so is the time: a replay runs the same
callbacks in the same order. Where nothing is ready, no query is open and no timer is set, no task can ever go on; that
is an error, and not an endless wait.

Order must not depend on addresses: tasks and futures have the hash of a serial number, tasks are named from Task-1 on
in each session, timers of the same time fire in the order in which they were set.
"""

import asyncio
import heapq
import math
import os
import sys
from asyncio import base_events, events
from collections.abc import Callable, Coroutine
from contextvars import Context
from itertools import count
from typing import Any, NoReturn, Protocol, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from algocline_mcp.session.waits import WAKE_S
from algocline_mcp.worker.engine.python.exceptions import Error
from algocline_mcp.worker.engine.python.open_queries import OpenQueries, Waiting
from algocline_mcp.worker.lowlevel.code_names import LIBRARY

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")
_TURNS_PER_CLOCK = 64  # turns of a busy loop between two looks at the clock, which cost a message to the keeper each
_SHOWN_TASKS = 5  # in the sentence of a deadlock
NO_KERNEL = (
    "asyncio: {} needs the operating system, and a strategy has no sockets, files, processes, threads or signals: ask "
    "the host with alc.llm, several prompts at once with alc.parallel or with tasks that await alc.aio.llm"
)


class LoopExchange(Waiting, Protocol):
    def time(self) -> float: ...
    def log(self, level: str, message: str, *, is_warning: bool = False) -> None: ...


class SessionLoops:
    """What all event loops of one session share."""

    def __init__(self, exchange: LoopExchange) -> None:
        self.exchange = exchange
        self.queries = OpenQueries(exchange)
        self.task_numbers = count(1)
        self.serials = count(1)


_latest: list[SessionLoops] = []


def loops_of(exchange: LoopExchange) -> SessionLoops:
    """New where the last call was for another session."""
    if not _latest or _latest[0].exchange is not exchange:
        _latest[:] = [SessionLoops(exchange)]
    return _latest[0]


class Task(asyncio.Task[Result]):
    def __new__(cls, *_args: Any, loop: "EventLoop", **_options: Any) -> "Task[Result]":
        self = super().__new__(cls)
        self._serial = next(loop.shared.serials)  # before __init__, in which an eager task already runs
        return self

    def __hash__(self) -> int:
        return self._serial

    _serial: int


class Future(asyncio.Future[Result]):
    def __init__(self, *, loop: "EventLoop") -> None:
        self._serial = next(loop.shared.serials)
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._serial


class _Timer(asyncio.TimerHandle):
    def __init__(self, when: float, serial: int, callback: Callable[..., Any], *rest: Any) -> None:
        super().__init__(when, callback, *rest)
        self.serial = serial

    def __lt__(self, other: object) -> bool:
        return isinstance(other, _Timer) and (self.when(), self.serial) < (other.when(), other.serial)


class _InOrder(WeakKeyDictionary[Any, None]):
    """A weak set that keeps the order in which its items came."""

    def add(self, item: Any) -> None:
        self[item] = None

    def discard(self, item: Any) -> None:
        self.pop(item, None)


class EventLoop(base_events.BaseEventLoop):
    """What the base class keeps: the queue of what is ready, the life of a loop, asynchronous generators, handlers."""

    _ready: Any
    _stopping: bool
    _check_closed: Callable[[], None]

    def __init__(self, exchange: LoopExchange) -> None:
        super().__init__()
        self.shared = loops_of(exchange)
        self._asyncgens = _InOrder()  # what is left at the end is closed in this order
        self._timers: list[_Timer] = []
        self._cancelled_timers = 0
        self._turns = 0
        self._now = 0.0

    # ── a turn ────────────────────────────────────────────────────────────────────────────────────────────

    def _run_once(self) -> None:
        """Runs what is ready now; waits before that where nothing is."""
        self._turns += 1
        if not self._ready and not self._stopping:
            self._wait()
        elif self._timers and self._turns % _TURNS_PER_CLOCK == 0:
            self._fire(self.time())
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _wait(self) -> None:
        self._remove_cancelled_timers()
        if self._timers:
            now = self.time()
            wake_s = min(self._timers[0].when() - now, WAKE_S)
            if wake_s <= 0 or self.shared.queries.wait(wake_s):
                self._fire(now + wake_s)
        elif self.shared.queries.is_waited_for:
            self.shared.queries.wait(None)
        else:
            raise Error(self._deadlock())

    def _deadlock(self) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=hash)
        names = ", ".join(map(_position, tasks[:_SHOWN_TASKS])) + (", …" if len(tasks) > _SHOWN_TASKS else "")
        return (
            f"asyncio: no task can ever go on: each waits for a lock, an event, a queue or a future that nobody sets, "
            f"and no query and no timer is open ({names})"
        )

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────

    def time(self) -> float:
        """Seconds of the recorded clock, which may not go back."""
        self._now = max(self._now, self.shared.exchange.time())
        return self._now

    def call_at(
        self, when: float, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._check_closed()
        if math.isnan(when):  # it would stand at any place among the timers
            raise ValueError("asyncio: a time or delay is NaN (not a number)")
        timer = _Timer(when, next(self.shared.serials), callback, args, self, context)
        heapq.heappush(self._timers, timer)
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self._cancelled_timers += 1

    def _fire(self, now: float) -> None:
        """Makes ready what is due at `now`, which is past where a clock is coarser than a timer."""
        self._now = max(self._now, now)
        while self._timers and self._timers[0].when() <= self._now:
            self._ready.append(heapq.heappop(self._timers))

    def _remove_cancelled_timers(self) -> None:
        if self._cancelled_timers:
            self._cancelled_timers = 0
            self._timers = [timer for timer in self._timers if not timer.cancelled()]
            heapq.heapify(self._timers)

    # ── tasks and futures ─────────────────────────────────────────────────────────────────────────────────

    def create_future(self) -> asyncio.Future[Any]:
        return Future(loop=self)

    def create_task(
        self, coro: Any, *, name: object = None, context: Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        self._check_closed()
        options["name"] = f"Task-{next(self.shared.task_numbers)}" if name is None else name
        factory: Any = self.get_task_factory()
        if factory is None:
            return Task(coro, loop=self, context=context, **options)
        if factory is _eager_task_factory:
            factory = _own_eager_task_factory
        if factory is _own_eager_task_factory or sys.version_info >= (3, 14):
            made: asyncio.Task[Any] = factory(self, coro, context=context, **options)
            return made
        task: asyncio.Task[Any] = factory(self, coro, **({} if context is None else {"context": context}))
        task.set_name(options["name"])
        return task

    # ── what others do in threads, and what a kernel is needed for ────────────────────────────────────────

    # Typeshed gives the function of an executor other type variables than this module has.
    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Calls the function in the loop's own thread, in the order of these calls. While it runs nothing else does."""
        self._check_closed()
        future = self.create_future()
        self.call_soon(self._run_job, future, func, args)
        return future

    def _run_job(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if future.cancelled():
            return
        events._set_running_loop(None)  # as in a thread: the function may call asyncio.run
        try:
            result = func(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except StopIteration as exc:  # which no future takes
            future.set_exception(RuntimeError(f"function raised {exc!r}"))
        except BaseException as exc:  # noqa: BLE001 - the awaiting task gets it
            future.set_exception(exc)
        else:
            future.set_result(result)
        finally:
            events._set_running_loop(self)

    def _process_events(self, event_list: object) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def set_debug(self, enabled: bool) -> None:
        """There is no debug mode: it measures time and reads files of the standard library."""
        super().set_debug(False)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Logs an error that reached no task, as an exception that nobody has awaited."""
        exception = context.get("exception")
        detail = "" if exception is None else f": {type(exception).__name__}: {exception}"
        self.shared.exchange.log("error", f"asyncio: {context.get('message', 'exception')}{detail}")


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refusing(self: EventLoop, *_args: Any, **_options: Any) -> NoReturn:
        raise Error(NO_KERNEL.format(name))

    return refusing


for _name in (
    *("add_reader", "add_writer", "remove_reader", "remove_writer", "add_signal_handler", "remove_signal_handler"),
    *("create_connection", "create_server", "create_unix_connection", "create_unix_server", "create_datagram_endpoint"),
    *("connect_accepted_socket", "connect_read_pipe", "connect_write_pipe", "start_tls", "sendfile"),
    *("subprocess_exec", "subprocess_shell", "getaddrinfo", "getnameinfo"),
    *("sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into", "sock_sendall", "sock_sendto"),
    *("sock_connect", "sock_accept", "sock_sendfile"),
):
    setattr(EventLoop, _name, _refuse(_name))


def _eager_task(coro: Any, *, loop: Any, **options: Any) -> Task[Any]:
    return Task(coro, loop=loop, **options)


_eager_task_factory: Any = getattr(asyncio, "eager_task_factory", object())
_own_eager_task_factory: Any = None
if sys.version_info >= (3, 12):
    _own_eager_task_factory = asyncio.create_eager_task_factory(_eager_task)


def _position(task: "asyncio.Task[Any]") -> str:
    """Name and line of a task. The standard library's frames are others on each machine."""
    (frame,) = task.get_stack(limit=1) or (None,)
    if frame is None or os.path.isabs(file := frame.f_code.co_filename) or file.startswith(LIBRARY):
        return task.get_name()
    return f"{task.get_name()} at {file}:{frame.f_lineno}"


def running_loop() -> EventLoop | None:
    """The running loop, where it is one of these."""
    loop = events._get_running_loop()
    return loop if isinstance(loop, EventLoop) else None


def run(main: Coroutine[Any, Any, Result], exchange: LoopExchange) -> Result:
    """Runs the coroutine in a loop of its own, as asyncio.run does."""
    with asyncio.Runner(loop_factory=lambda: EventLoop(exchange)) as runner:
        return runner.run(main)
