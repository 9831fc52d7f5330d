"""The proxy of the tests does what its faults are named after."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.proxy import Proxy

SOON_S = 30.0


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of a server that sends back what it gets."""
    with tempfile.TemporaryDirectory(prefix="alc") as directory:
        path = Path(directory) / "s"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def echo(connection: socket.socket) -> None:
            with connection:
                while chunk := connection.recv(100):
                    connection.sendall(chunk)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=echo, args=(connection,), daemon=True).start()

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        with Proxy(path) as proxy:
            yield proxy
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join(SOON_S)


def _connected(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), SOON_S)
    connection.sendall(b"a")
    assert connection.recv(1) == b"a"
    return connection


def test_what_was_sent_during_a_cut_arrives_after_it(proxy: Proxy) -> None:
    with _connected(proxy) as connection:
        proxy.cut()
        connection.sendall(b"b")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.mend()
        connection.settimeout(SOON_S)

        assert connection.recv(1) == b"b"


def test_a_reset_ends_each_connection_and_the_next_one_works(proxy: Proxy) -> None:
    with _connected(proxy) as connection:
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)

    _connected(proxy).close()


def test_a_delay_is_waited_out(proxy: Proxy) -> None:
    with _connected(proxy) as connection:
        proxy.delay(0.3)
        connection.sendall(b"c")
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(SOON_S)

        assert connection.recv(1) == b"c"
