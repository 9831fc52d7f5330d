"""A simulated event loop: `anyio` as the server's half sees it, and tasks that a seed resumes one by one.

Contract: a coroutine runs until it waits; the schedule decides when it goes on. A scope whose deadline has passed ends
what is inside it at the next resumption, as a cancellation does.
"""

from collections.abc import Callable, Coroutine, Generator
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from tests.sim.machine import Killed, Machine, Process, Stream
from tests.sim.sockets import Socket


class Expired(BaseException):
    """The cancellation of a scope."""

    def __init__(self, scope: "Scope") -> None:
        super().__init__()
        self.scope = scope


class Scope:
    def __init__(self, loop: "Loop", limit_s: float, *, fails: bool) -> None:
        self._loop = loop
        self._fails = fails
        self.deadline = loop.machine.now + limit_s
        self.cancelled_caught = False

    def __enter__(self) -> Self:
        self._loop.current.scopes.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._loop.current.scopes.remove(self)
        self.cancelled_caught = isinstance(exc, Expired) and exc.scope is self
        if self.cancelled_caught and self._fails:
            raise TimeoutError
        return self.cancelled_caught


class Wait:
    """What a task waits for: a time, or a stream on which there is something to read, or room to write."""

    def __init__(self, at: float | None = None, stream: Stream | None = None, *, is_reading: bool = True) -> None:
        self.at = at
        self.stream = stream
        self.is_reading = is_reading

    def __await__(self) -> Generator["Wait", None, None]:
        yield self

    def is_over(self, now: float) -> bool:
        if self.stream is not None:
            return not self.stream.is_open or (self.stream.is_ready if self.is_reading else self.stream.has_room)
        return self.at is None or self.at <= now


class Task:
    """A call of one server. `outcome`: what it returned, or the error it raised; None while it runs."""

    def __init__(self, process: Process, work: Coroutine[Wait, None, Any]) -> None:
        self.process = process
        self.work = work
        self.wait = Wait()
        self.scopes: list[Scope] = []
        self.outcome: Any = None
        self.is_over = False

    def is_due(self, now: float) -> bool:
        return self.wait.is_over(now) or any(scope.deadline <= now for scope in self.scopes)

    def wakes_at(self) -> float:
        times = [scope.deadline for scope in self.scopes]
        return min([*times, self.wait.at] if self.wait.at is not None else times, default=float("inf"))


class Loop:
    """`anyio`. Everything that a server awaits."""

    class CapacityLimiter:
        def __init__(self, total: int) -> None:
            pass

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.current: Task
        self.from_thread = SimpleNamespace(check_cancelled=bool)  # a call of this loop is never cancelled in a thread
        self.to_thread = SimpleNamespace(run_sync=self._run_sync)

    def resume(self, task: Task) -> None:
        """Lets it go on to its next wait, or to its end."""
        before = getattr(self, "current", None)
        self.current = task
        expired = next((scope for scope in task.scopes if scope.deadline <= self.machine.now), None)
        try:
            task.wait = task.work.throw(Expired(expired)) if expired is not None else task.work.send(None)
        except StopIteration as stop:
            task.outcome, task.is_over = stop.value, True
        except Exception as exc:  # noqa: BLE001  the client looks at it
            task.outcome, task.is_over = exc, True
        finally:
            if not task.process.is_alive:
                task.is_over = True
            if before is not None:
                self.current = before

    def drop(self, task: Task) -> None:
        """The host cancels the call, or its server is dead."""
        task.is_over = True
        before, self.current = getattr(self, "current", task), task
        try:
            task.work.close()
        except (Killed, RuntimeError):
            pass  # nothing of a dead process does anything any more
        finally:
            self.current = before

    def current_time(self) -> float:
        return self.machine.now

    async def sleep(self, limit_s: float) -> None:
        await Wait(self.machine.now + limit_s)

    async def wait_readable(self, sock: Socket) -> None:
        await Wait(stream=self.machine.find(sock.fileno()))

    async def wait_writable(self, sock: Socket) -> None:
        await Wait(stream=self.machine.find(sock.fileno()), is_reading=False)

    def fail_after(self, limit_s: float) -> Scope:
        return Scope(self, limit_s, fails=True)

    def move_on_after(self, limit_s: float) -> Scope:
        return Scope(self, limit_s, fails=False)

    async def _run_sync(self, function: Callable[..., Any], *args: Any, limiter: object = None) -> Any:
        await Wait()
        return function(*args)
