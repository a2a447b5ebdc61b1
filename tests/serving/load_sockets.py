"""Socket.IO clients in a process of its own, which follow tickers and come back behind what they have. On SIGTERM it writes
what each of them was told.

The only argument is JSON: `ports` (a client takes one after the other), `count`, `tickers`, `out` (a file). Prints `ready` once
all have begun with every ticker.
"""

from gevent import monkey

monkey.patch_all()

import hashlib  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import websocket  # noqa: E402
from gevent.event import Event  # noqa: E402

PATH = "/socket.io/?EIO=4&transport=websocket"
NUMBERED = ("signal", "price", "status")
TIMEOUT_S = 60.0
"""Longer than the server is silent."""


class Client:
    """One client. events: by ticker what it was told, `[kind, epoch, seq, missed, digest, when]`; breaks: when a connection
    ended, and when the next one had its `hello`."""

    def __init__(self, number: int, config: dict[str, Any]) -> None:
        self.number, self._config = number, config
        self.events: dict[str, list[list[Any]]] = {ticker: [] for ticker in config["tickers"]}
        self.last: dict[str, str] = {}
        self.byes: list[str] = []
        self.breaks: list[tuple[float, float]] = []
        self._ended: float | None = None
        self._attempts = 0

    def run(self) -> None:
        while True:
            with suppress(OSError, websocket.WebSocketException, ValueError):
                self._follow()
            self._ended = self._ended or time.time()
            gevent.sleep(random.uniform(0.05, 0.5))

    def _follow(self) -> None:
        ports = self._config["ports"]
        port = ports[(self.number + self._attempts) % len(ports)]
        self._attempts += 1
        header = {"X-Real-IP": f"10.1.{self.number >> 8}.{self.number & 255}"}
        link = websocket.create_connection(f"ws://127.0.0.1:{port}{PATH}", timeout=TIMEOUT_S, header=header)
        try:
            while text := link.recv():
                self._take(link, text)
        finally:
            link.shutdown()

    def _take(self, link: websocket.WebSocket, text: str) -> None:
        if text == "2":
            link.send("3")
        elif text.startswith("0{"):
            link.send("40" + json.dumps({"subscribe": list(self.events), "after": self.last}))
        elif text.startswith("42["):
            name, payload, *_ = json.loads(text[2:])
            self._hear(name, payload)

    def _hear(self, name: str, told: dict[str, Any]) -> None:
        if name == "hello" and self._ended is not None:
            self.breaks.append((self._ended, time.time()))
            self._ended = None
        elif name == "bye":
            self.byes.append(told["reason"])
        elif name in (*NUMBERED, "snapshot"):
            digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
            row = [name, told["epoch"], told["seq"], told.get("missed"), digest, time.time()]
            self.events[told["ticker"]].append(row)
            self.last[told["ticker"]] = told["id"]


def main(config: dict[str, Any]) -> None:
    clients = [Client(number, config) for number in range(config["count"])]
    for client in clients:
        gevent.spawn(client.run)
    stopped = Event()
    gevent.signal_handler(signal.SIGTERM, stopped.set)
    while not all(client.last.keys() == client.events.keys() for client in clients):
        gevent.sleep(0.1)
    print("ready", flush=True)
    stopped.wait()
    rows = [{"events": one.events, "byes": one.byes, "breaks": one.breaks} for one in clients]
    Path(config["out"]).write_text(json.dumps(rows))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
