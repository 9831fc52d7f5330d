"""Attacks of strategies in Python, as their text: what an author, or the model that writes it, could try.

Each is the body of a function, which may use the names of `_BEFORE` and `it`, the ctx: paths, ports and the number of a
victim process. `code_of` makes a strategy of it, whose result is "reached", or the error that stopped it.
"""

import textwrap

_BEFORE = """\
import errno
import gc
import os
import sys
import threading

ctypes = sys.modules["ctypes"]  # a strategy cannot import it, and the interpreter has it
socket, signal, resource, fcntl, mmap = (
    sys.modules[name] for name in ("socket", "signal", "resource", "fcntl", "mmap")
)
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
PAGE = 4096


def call(result):
    if result in (-1, None, (1 << 64) - 1):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def system_call(it, numbers, *arguments):
    number = numbers[('x86_64', 'aarch64').index(it['machine'])]
    return call(libc.syscall(ctypes.c_long(number), *arguments))


def connect(family, kind, address):
    with socket.socket(family, kind, 0) as sock:
        sock.connect(address)
        sock.send(b"x")


def attack(it):
"""
_AFTER = """


def run(ctx):
    for fd in (0, 1):  # room for two descriptors, so that it is not their limit that refuses
        os.close(fd)
    try:
        attack(ctx)
    except Exception as exc:
        error = exc.__cause__ or exc
        return errno.errorcode.get(getattr(error, "errno", None), f"{type(error).__name__}: {error}")
    return "reached"
"""


def code_of(body: str) -> str:
    return _BEFORE + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + _AFTER


FILES = {
    "read the user's key": "os.open(it['directory'] + '/id_rsa', os.O_RDONLY)",
    "read the list of users": "__import__('io').FileIO('/etc/passwd')",
    "read a file by the library of C": "call(libc.open(b'/etc/passwd', 0))",
    "read a file by an import": """
        sys.modules['json'].__loader__.get_data('/etc/passwd')""",
    "read another session's journal": "os.open(it['journal'], os.O_RDONLY)",
    "write another session's journal": "os.open(it['journal'], os.O_WRONLY)",
    "read the environment of the victim": "call(libc.open(b'/proc/%d/environ' % it['victim'], 0))",
    "list a directory": "os.listdir(it['directory'])",
    "create a file": "os.open(it['directory'] + '/new', os.O_CREAT | os.O_WRONLY)",
    "truncate a file": "os.truncate(it['directory'] + '/victim', 0)",
    "link": "os.link(it['directory'] + '/victim', it['directory'] + '/linked')",
    "link symbolically": "os.symlink('/etc/passwd', it['directory'] + '/symlinked')",
    "rename": "os.rename(it['directory'] + '/renamed', it['directory'] + '/again')",
    "make a directory": "os.mkdir(it['directory'] + '/made')",
    "remove": "os.unlink(it['directory'] + '/removed')",
    "change the mode of a file": "os.chmod(it['directory'] + '/victim', 0o666)",
    "ask whether a file exists": "os.stat(it['directory'] + '/victim')",
}
CONNECTIONS = {
    "connect by TCP": "connect(socket.AF_INET, socket.SOCK_STREAM, ('127.0.0.1', it['tcp']))",
    "send by UDP": "connect(socket.AF_INET, socket.SOCK_DGRAM, ('127.0.0.1', it['udp']))",
    "connect to an abstract socket": "connect(socket.AF_UNIX, socket.SOCK_STREAM, '\\0' + it['abstract'])",
    "connect to a keeper": "connect(socket.AF_UNIX, socket.SOCK_STREAM, it['keeper'])",
    "make a pair of sockets": "socket.socketpair()",
    "pass a descriptor": """
        keeper = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, 3)
        try:
            socket.send_fds(keeper, [b'{"op":"log","level":"info","message":"x"}\\n'], [2])
        finally:
            keeper.detach()""",
}
PROCESSES = {
    "fork": "os.fork() or os._exit(0)",
    "clone by its number": "system_call(it, (56, 220), 17, 0, 0, 0, 0) or libc._exit(0)",
    "start a program": "os.posix_spawn('/bin/true', ['true'], {})",
    "start a thread": "threading.Thread(target=len, args=('',)).start()",
    "start a thread by the library of C": """
        function = ctypes.cast(libc.pause, ctypes.c_void_p)
        number = libc.pthread_create(ctypes.byref(ctypes.c_long()), None, function, None)
        if number:
            raise OSError(number, '')""",
    "signal another process": "os.kill(it['victim'], signal.SIGCONT)",
    "signal the keeper": "os.kill(libc.getppid(), signal.SIGCONT)",
    "signal itself": "os.kill(libc.getpid(), signal.SIGCONT)",
    "ignore the signal of the CPU limit": "signal.signal(signal.SIGXCPU, signal.SIG_IGN)",
    "block the signal of the CPU limit": "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXCPU])",
    "trace a process": "call(libc.ptrace(0x4206, it['victim'], None, None))",
    "read a process": """
        buffer = ctypes.create_string_buffer(8)
        vectors = [(ctypes.c_size_t * 2)(address, 8) for address in (ctypes.addressof(buffer), it['address'])]
        call(libc.process_vm_readv(it['victim'], vectors[0], 1, vectors[1], 1, 0))
        assert buffer.raw == b'a secret', buffer.raw""",
    "open a pidfd": "system_call(it, (434, 434), it['victim'], 0)",
    "change a limit": "resource.setrlimit(resource.RLIMIT_CPU, resource.getrlimit(resource.RLIMIT_CPU))",
    "change the limit of another process": "resource.prlimit(it['victim'], resource.RLIMIT_CORE)",
    "change the priority": "os.nice(1)",
    "become dumpable": "call(libc.prctl(4, 1, 0, 0, 0))",
    "open a pipe": "os.pipe()",
    "copy a descriptor": "os.dup(2)",
    "change a descriptor": "fcntl.fcntl(2, fcntl.F_SETFL, 0)",
}
MEMORY = {
    "map a page to write and execute": "call(libc.mmap(None, PAGE, 7, 0x22, -1, 0))",
    "map an executable page": "mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    "make a page executable": """
        page = call(libc.mmap(None, PAGE, 3, 0x22, -1, 0))
        call(libc.mprotect(ctypes.c_void_p(page), PAGE, 5))""",
    "open a file in memory": "os.memfd_create('x')",
}
# Ways around the rules of imports and builtins, which are no wall.
DETOURS = {
    "open by the builtins of another module": "sys.modules['builtins'].open('/etc/passwd')",
    "open by a frame of the runtime": """
        frame = sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
        frame.f_builtins['open']('/etc/passwd')""",
    "open by a subclass of object": """
        (kind,) = [kind for kind in object.__subclasses__() if kind.__name__ == '_wrap_close']
        kind.__init__.__globals__['open']('/etc/passwd', 0)""",
    "open by unpickling": """
        sys.modules['pickle'].loads(b"cos\\nopen\\n(S'/etc/passwd'\\nI0\\ntR.")""",
    "read a journal by the program's own code": """
        sys.modules['algocline_mcp.storage.journal'].read(__import__('pathlib').Path(it['journal']))""",
}
# What this kernel, or a container, may refuse in any case: the control need not succeed.
PERHAPS = {
    "read the memory of the keeper": "call(libc.open(b'/proc/%d/mem' % libc.getppid(), 0))",
    "unshare the user namespace": "call(libc.unshare(0x10000000))",
    "unshare the network": "call(libc.unshare(0x40000000))",
    "set up io_uring": "system_call(it, (425, 425), 1, ctypes.create_string_buffer(256))",
    "use the keyring": "system_call(it, (250, 219), 0, -3, 0, 0, 0)",
    "load BPF": "system_call(it, (321, 280), 0, ctypes.create_string_buffer(128), 128)",
    "open a performance counter": "system_call(it, (298, 241), ctypes.create_string_buffer(128), 0, -1, -1, 0)",
    "handle page faults": "system_call(it, (323, 282), 1)",
    "open secret memory": "system_call(it, (447, 447), 0)",
}
ATTACKS = FILES | CONNECTIONS | PROCESSES | MEMORY | DETOURS | PERHAPS

# Looks for a text that its own code does not contain, in all that this process holds: live objects, the environment as
# the library of C has it, and the memory of every page that has an object, with what was freed in it.
SCAN = """\
import gc
import sys

ctypes = sys.modules["ctypes"]


def run(ctx):
    secret = b"".join(part.encode() for part in ctx["parts"])
    kept = secret * 2 if ctx["is_control"] else None
    environ = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    count = 0
    while environ[count]:
        count += 1
    variables = b" ".join(environ[n] for n in range(count))
    seen, pending = {id(secret)}, [gc.get_objects(), sys.modules, kept]
    texts = []
    while pending:
        value = pending.pop()
        if id(value) not in seen:
            seen.add(id(value))
            pending += gc.get_referents(value)
            if isinstance(value, (str, bytes)):
                texts.append(value)
    held = [1 for text in texts if secret in (text.encode("utf-8", "replace") if isinstance(text, str) else text)]
    pages = sorted({address >> 12 for address in seen})
    at = [n for page in pages if (n := ctypes.string_at(page << 12, 4096).find(secret)) >= 0]
    return {"variables": secret in variables, "objects": len(held), "pages": len(at), "looked_at": len(pages)}
"""
