import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from algocline_mcp.storage.process_stat import read_process_stat, start_time_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/PID/stat")


def test_a_process_reads_its_own_parent_session_and_command_line() -> None:
    stat = read_process_stat("self")

    assert stat == read_process_stat(os.getpid()) or stat.user_ticks <= read_process_stat(os.getpid()).user_ticks
    assert (stat.parent, stat.process_session) == (os.getppid(), os.getsid(0))
    assert stat.arg_end - stat.arg_start == len(Path("/proc/self/cmdline").read_bytes())


def test_the_start_time_is_that_of_the_process_in_clock_ticks_since_boot() -> None:
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = start_time_of(child.pid)

    assert started is not None
    assert abs(started / os.sysconf("SC_CLK_TCK") - uptime_s) < 60


def test_a_name_with_spaces_and_parentheses_does_not_shift_the_fields() -> None:
    code = "open('/proc/self/comm', 'w').write('a) R 1 (b'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        stat = read_process_stat(child.pid)

    assert (stat.parent, stat.process_session) == (os.getpid(), os.getsid(0))


def test_a_zombie_still_has_its_start_time_and_a_reaped_process_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        before = start_time_of(child.pid)
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        zombie = read_process_stat(child.pid)
    finally:
        child.communicate()

    assert (zombie.state, zombie.start_time) == ("Z", before)
    assert start_time_of(child.pid) is None
    with pytest.raises(OSError, match="No such file"):
        read_process_stat(child.pid)


def test_processor_time_in_user_mode_is_counted_in_ticks() -> None:
    before, used_s = read_process_stat("self").user_ticks, time.process_time()
    while time.process_time() - used_s < 0.1:
        sum(range(1000))

    assert read_process_stat("self").user_ticks - before > 0
