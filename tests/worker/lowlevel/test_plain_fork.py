"""A fork without the hooks of Python: the child computes, uses locks, signals and threads as after os.fork."""

import ctypes
import errno
import os
import subprocess
import sys

import pytest

from algocline_mcp.worker.lowlevel import plain_fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is os.fork")

CHILD = """
import asyncio, os, random, signal, sys, threading
from algocline_mcp.worker.lowlevel.plain_fork import fork

os.register_at_fork(after_in_child=lambda: print("hook", flush=True))
if sys.argv[1:] == ["threads"]:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
state = random.getstate()
if not fork():
    caught = []
    signal.signal(signal.SIGUSR1, lambda *_: caught.append("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    helper = threading.Thread(target=caught.append, args=["thread"])
    helper.start()
    helper.join()
    caught.append(asyncio.run(asyncio.to_thread(lambda: "loop")))
    print(*caught, threading.current_thread() is threading.main_thread(), random.getstate() == state, flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


def run(*arguments: str) -> list[str]:
    command = [sys.executable, "-W", "ignore", "-c", CHILD, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_child_of_one_thread_can_do_what_any_process_can() -> None:
    assert run() == ["signal thread loop True True", "7"]


def test_with_several_threads_the_hooks_run() -> None:
    assert run("threads") == ["hook", "signal thread loop True False", "7"]


def test_without_proc_the_hooks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_fork, "_TASKS", "/nowhere")
    monkeypatch.setattr(os, "fork", lambda: -7)

    assert plain_fork.threads() == 0
    assert plain_fork.fork() == -7


def test_refused_fork_is_an_error_with_the_systems_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    close = ctypes.CDLL(None, use_errno=True).close
    monkeypatch.setattr(plain_fork, "_fork", lambda: close(-1))
    monkeypatch.setattr(plain_fork, "threads", lambda: 1)

    with pytest.raises(OSError, match=os.strerror(errno.EBADF)) as caught:
        plain_fork.fork()

    assert caught.value.errno == errno.EBADF
