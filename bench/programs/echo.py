"""The least that a durable step can cost: takes a line, appends it, flushes the disk, sends the line back.

    python echo.py SOCKET FILE

Contract: listens on SOCKET, then prints one line; serves one connection and ends with it.
"""

import os
import socket
import sys


def main(socket_path: str, file_path: str) -> None:
    fd = os.open(file_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(socket_path)
        listener.listen(1)
        print("ready", flush=True)
        connection, _ = listener.accept()
    with connection, connection.makefile("rb") as lines:
        for line in lines:
            os.write(fd, line)
            os.fdatasync(fd)
            connection.sendall(line)


if __name__ == "__main__":
    main(*sys.argv[1:])
