"""Code that forked processes write to: found by comparison, and moved together without a change in what it does."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a fork server")

# In processes of their own: the functions of this one shall keep their code.
MOVED = """
from algocline_mcp.worker.lowlevel import code_pages

def plain(number):
    return number + 1

def holder(number):
    def inner():
        return [part for part in (lambda: (number, number))()]
    return inner

alive = holder(5)
known = code_pages.loaded()
codes = {code.co_qualname: code for code in known.codes.values() if code.co_filename == "<string>"}
before = plain.__code__, holder.__code__, alive.__code__
addresses = code_pages.shared_addresses()
for at, name in enumerate(("holder.<locals>.inner.<locals>.<lambda>", "plain")):
    addresses[at] = id(codes[name])
code_pages.gather(known, addresses)
after = plain.__code__, holder.__code__, alive.__code__
print([one is other for one, other in zip(before, after)], before == after)
print(plain(1), holder(2)(), alive())
inner = [part for part in holder.__code__.co_consts if hasattr(part, "co_code")]
print(inner == [alive.__code__], [one is other for one, other in zip(inner, [alive.__code__])])
print(loads.__code__ is untouched)
"""
WRITTEN = """
import os, signal
from algocline_mcp.worker.lowlevel import code_pages

def ran(numbers):
    return sum(number * 2 for number in numbers)

def did_not_run(numbers):
    return sum(number * 3 for number in numbers)

known = code_pages.loaded()
read, write = os.pipe()
pid = os.fork()
if not pid:
    for _ in range(20):
        ran([1, 2.5, 3])
    os.write(write, b".")
    signal.pause()
os.read(read, 1)
changed = code_pages.written(pid, known)
print(id(ran.__code__) in changed, id(did_not_run.__code__) in changed)
os.kill(pid, 9)
os.waitpid(pid, 0)
"""


def run(program: str) -> list[str]:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()


def test_moved_code_does_the_same_also_where_it_is_defined_within_other_code() -> None:
    program = "from json import loads\nuntouched = loads.__code__\n" + MOVED

    assert run(program) == ["[False, False, False] True", "2 [2, 2] [5, 5]", "True [True]", "True"]


def test_code_that_a_forked_process_ran_is_found_and_no_other() -> None:
    assert run(WRITTEN) == ["True False"]


def test_copies_lie_one_after_the_other() -> None:
    program = """
from algocline_mcp.worker.fork_server import main
from algocline_mcp.worker.lowlevel import code_pages, free_blocks
import sys
known = code_pages.loaded()
chosen = [address for address, code in known.codes.items() if 600 < sys.getsizeof(code) < 1000][::9]
addresses = code_pages.shared_addresses()
for at, address in enumerate(chosen):
    addresses[at] = address
names = {known.codes[address].co_qualname for address in chosen}
free_blocks.fill()
code_pages.gather(known, addresses)
moved = [code for address, code in code_pages.loaded().codes.items() if address not in known.codes]
moved = [code for code in moved if 600 < sys.getsizeof(code) < 1000 and code.co_qualname in names]
pages = lambda addresses: len({address >> 12 for address in addresses})
print(len(chosen) > 20, pages(map(id, moved)) < pages(chosen) / 2)
"""

    assert run(program) == ["True True"]
