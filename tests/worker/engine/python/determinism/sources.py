"""Sources of difference between two processes: name -> body of a function that returns what a prompt could contain.

The last ones, and in 3.11 also the hash of None, are not covered: CPython computes them in C from an address."""

SOURCES = {
    "hash of a text": "return hash('panel')",
    "set of texts": "return list({f'word {n}' for n in range(30)})",
    "first of the longest texts of a set": "return max({f'word {n:02}' for n in range(30)}, key=len)",
    "hash of a frozen dataclass": (
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A:\n    x: str\nreturn hash(A('a'))"
    ),
    "random.random": "import random\nreturn random.random()",
    "random.seed()": (
        "import random\nrandom.seed()\nitems = list(range(20))\nrandom.shuffle(items)\nreturn items, random.gauss()"
    ),
    "Random()": "import random\nreturn random.Random().random()",
    "SystemRandom": "import random\nreturn random.SystemRandom().random()",
    "secrets": "import secrets\nreturn secrets.token_hex(), secrets.choice(range(10**9))",
    "uuid4": "import uuid\nreturn uuid.uuid4()",
    "uuid1": "import uuid\nreturn uuid.uuid1(), uuid.getnode()",
    "os.urandom": "import os\nreturn os.urandom(100).hex(), os.getrandom(8).hex()",
    "time.time": "import time\nfrom time import time as now\nreturn time.time(), time.time_ns(), now()",
    "time.monotonic": "import time\nreturn time.monotonic(), time.monotonic_ns(), time.clock_gettime(1)",
    "performance counters": (
        "import time\nreturn time.perf_counter(), time.perf_counter_ns(), time.process_time(), time.thread_time_ns()"
    ),
    "time.strftime": "import time\nreturn time.strftime('%c %z'), time.ctime(), time.asctime()",
    "time.localtime": "import time\nreturn time.localtime(), time.gmtime()",
    "time.sleep": "import time\nbegan = time.time()\ntime.sleep(0.01)\nreturn time.time() - began",
    "datetime.now": "from datetime import datetime\nreturn datetime.now(), datetime.today()",
    "datetime.now(UTC)": "import datetime\nreturn datetime.datetime.now(datetime.UTC)",
    "date.today": "import datetime, time\nreturn datetime.date.today(), time.localtime().tm_hour",
    "hash of an instance": "class A: pass\nreturn hash(A())",
    "repr of an instance": "class A: pass\na = A()\nreturn len({repr(A()), repr(a)}), hash(repr(a)), a",
    "set of instances": "class A: pass\nitems = [A() for _ in range(200)]\nreturn [items.index(a) for a in set(items)]",
    "set of exceptions": (
        "class E(ValueError): pass\nitems = [E(n) for n in range(200)]\nreturn [str(error) for error in set(items)]"
    ),
    "set of instances compared by identity": (
        "from dataclasses import dataclass\n@dataclass(eq=False)\nclass A:\n    x: int\n"
        "return [a.x for a in {A(n) for n in range(200)}]"
    ),
    "set of instances with slots": (
        "class A:\n    __slots__ = ('x',)\n    def __init__(self, x): self.x = x\n"
        "return [a.x for a in {A(n) for n in range(200)}]"
    ),
    "weak set of instances of a metaclass": (
        "import weakref\nclass M(type): pass\nclass A(metaclass=M): pass\nitems = [A() for _ in range(200)]\n"
        "return [items.index(a) for a in weakref.WeakSet(items)]"
    ),
    "set of generic instances": (
        "from typing import Generic, TypeVar\nT = TypeVar('T')\nclass A(Generic[T]): pass\n"
        "items = [A[int]() for _ in range(200)]\nreturn [items.index(a) for a in set(items)]"
    ),
    "repr of functions": "class A:\n    def f(self): pass\nreturn f'{A.f} {A().f} {(lambda: 1)} {object()}'",
    "moment of a collection": (
        "dead = []\nclass A:\n    def __del__(self): dead.append(1)\nmoments = []\n"
        "for n in range(30000):\n    a = A()\n    a.a = a\n    before = len(dead)\n    a = None\n"
        "    if n % 7 == 0: moments.append(len(dead))\nreturn hash(tuple(moments))"
    ),
    "process": (
        "import os, threading\nfrom os import getpid\n"
        "return os.getpid(), getpid(), os.getppid(), threading.get_native_id()"
    ),
    "environment": "import os\nreturn dict(os.environ), os.getenv('HOME'), os.environb",
    "arguments and directory": "import os, sys\nreturn sys.argv, sys.orig_argv, sys.executable, os.getcwd()",
    "traceback": (
        "import json, traceback\ntry:\n    json.loads('{')\nexcept ValueError:\n    return traceback.format_exc()"
    ),
    "set of instances of classes made by calls": (
        "import dataclasses, types\nA = dataclasses.make_dataclass('A', ['x'], eq=False)\n"
        "B = types.new_class('B', (), {}, lambda body: body.update(__init__=lambda self, x: setattr(self, 'x', x)))\n"
        "return [a.x for a in {A(n) for n in range(200)}], [b.x for b in {B(n) for n in range(200)}]"
    ),
    "set of instances with the hash of object": (
        "class A:\n    __hash__ = object.__hash__\n    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, other): return self is other\nreturn [a.x for a in {A(n) for n in range(200)}]"
    ),
    "thread": (
        "import logging, threading\nthread = threading.current_thread()\n"
        "assert thread is threading.main_thread() and [thread] == threading.enumerate()\n"
        "return threading.get_ident(), thread, thread.ident, vars(logging.makeLogRecord({}))"
    ),
    "process group and users": (
        "import os\nreturn os.getpgrp(), os.getpgid(0), os.getsid(0), os.getresuid(), os.getresgid()"
    ),
    "timeit": "import timeit\nreturn timeit.timeit('1', number=3), timeit.repeat('1', number=3, repeat=2)",
    "hash of None": "return hash(None)",
    "id": "return id([])",
    "hash of an object": "return hash(object())",
    "set of functions": (
        "items = [eval('lambda: 0') for _ in range(200)]\nreturn [items.index(a) for a in set(items)]"
    ),
}
