"""Listens in the place of a worker and misbehaves: `impostor.py SOCKET SID MODE`, until its stdin ends.

mute: reads requests and sends nothing · gone: closes every connection at once · stranger: replies for another session ·
newer: uses another protocol · noise: sends no JSON · long: sends an endless line · chatty: sends endless progress ·
empty: replies without a feed result · bare: sends progress without its numbers.
First line on stdout: `{pid}`, once it listens.
"""

import json
import os
import socket
import sys
import threading

path, sid, mode = sys.argv[1:]
WORKER = {"protocol": 1, "version": "0", "sid": sid, "pid": os.getpid(), "start_time": 0}
FEED = {"kind": "feed", "session_id": sid, "feed_result": {"Running": {}}}
PROGRESS = {"kind": "progress", "session_id": sid, "progress": {"step": 1, "total": 2, "message": None}}


def line(data: object, **worker: object) -> bytes:
    response = WORKER | worker | {"id": 1, "ok": True, "data": data, "error": None, "code": None}
    return json.dumps(response).encode() + b"\n"


REPLIES = {
    "stranger": line(FEED, sid="p-0-0000000000000000"),
    "newer": line(FEED, protocol=99),
    "noise": b"\xff\x00{]\n",
    "empty": line({"kind": "feed"}),
    "bare": line({"kind": "progress"}),
}
ENDLESS = {"long": b"x" * 65536, "chatty": line(PROGRESS)}


def serve(client: socket.socket) -> None:
    with client:
        try:
            if mode == "gone":
                return
            client.recv(65536)
            if mode in REPLIES:
                client.sendall(REPLIES[mode])
            while mode in ENDLESS:
                client.sendall(ENDLESS[mode])
            while client.recv(65536):
                pass
        except OSError:
            pass


def listen() -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(64)
threading.Thread(target=listen, daemon=True).start()
print(json.dumps({"pid": os.getpid()}), flush=True)
sys.stdin.read()
os.unlink(path)
