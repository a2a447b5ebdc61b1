"""The servers of `python -m bench.fan_out`: how each is started, and what its clients speak."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import door, events
from bench.crowd import Crowd, Protocol
from bench.serving import child_of, free_port

SETTLE_S: Final = 0.5
"""Between the connecting of clients and their first event."""

NODE = door.PEERS / "node"
PLACES = 4096
SOCKETS, RAW = Protocol(), Protocol("/", is_socket_io=False)
HERE = Protocol(arrival=b'42["snapshot"')
QUEUES = Protocol("/stream", is_websocket=False, is_socket_io=False)
FOLLOW = Protocol(
    f"/v2/trading-directions/SPY/stream?follow=true&after={events.EPOCH}-{{sent}}",
    is_websocket=False,
    is_socket_io=False,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One server of the table. runs: what starts it, `gunicorn`, `uvicorn` or `node`; module: in bench/peers."""

    key: str
    label: str
    module: str
    protocol: Protocol = SOCKETS
    runs: str = "gunicorn"


ROWS = {
    row.key: row
    for row in (
        Row("a", "this server", "fan_out_here", HERE, runs="here"),
        Row("b", "Flask-SocketIO, emit to a room, gunicorn + gevent", "fan_out_flask_socketio"),
        Row("c", "python-socketio, uvicorn", "fan_out_asgi", runs="uvicorn"),
        Row("d", "Node's socket.io", "fan_out.js", runs="node"),
        Row("e", "raw websockets, gunicorn + gevent: the limit", "fan_out_raw", RAW),
        Row("f", "JSON lines: this server", "fan_out_here", FOLLOW, runs="here"),
        Row("g", "JSON lines: a generator with a queue each", "fan_out_queues", QUEUES),
    )
}


class NotMeasured(Exception):
    """A row cannot be measured; the message says why."""


@dataclass(slots=True)
class Server:
    """A row's server, running. control: the connection on which each byte starts an event; events: how many there were."""

    row: Row
    port: int
    pid: int
    control: socket.socket
    events: int = 0

    def trigger(self, crowd: Crowd) -> None:
        self.events += 1
        crowd.triggered()
        self.control.send(b".")

    def crowd(self, size: int, *, compression: bool = False) -> Crowd:
        """Clients, of whom each has had an event."""
        crowd = Crowd(self.port, self.row.protocol, size, self.events, compression)
        crowd.connect()
        crowd.pump_for(SETTLE_S)
        self.trigger(crowd)
        crowd.wait()
        return crowd

    def resident_kb(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1024


class Starter:
    """Starts the servers, each on their core. node_version: None where there is no Node."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.node_version: str | None = None
        self.python: str | None = None

    def possible(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose needs are met; says which are not."""
        kinds = {row.runs for row in rows}
        self.python = door.peers_python() if "uvicorn" in kinds else None
        self.node_version = node() if "node" in kinds else None
        lacking = {"uvicorn": self.python is None, "node": self.node_version is None}
        for row in rows:
            if lacking.get(row.runs):
                print(f"({row.key}) {row.label}: left out, its packages are missing")
        return [row for row in rows if not lacking.get(row.runs)]

    @contextmanager
    def running(self, row: Row) -> Iterator[Server]:
        """A row's server, ready; stopped at the end. Raises NotMeasured."""
        port, trigger = free_port(), free_port()
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        log = folder / "stderr"
        environment = self._environment(row, port, trigger, folder)
        with log.open("wb") as out:
            command = door.pinned(door.SERVER_CORE, self._command(row, port))
            process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=door.ROOT)
        try:
            control = _control(process, trigger, log)
            with control:
                pid = process.pid if row.runs in ("node", "uvicorn") else child_of(process.pid)
                yield Server(row, port, pid, control)
        finally:
            process.kill() if row.runs in ("node", "uvicorn") else process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()

    def _command(self, row: Row, port: int) -> list[str]:
        target = f"bench.peers.{row.module}:app"
        if row.runs == "node":
            return [shutil.which("node") or "node", str(door.ROOT / "bench" / "peers" / "node" / row.module)]
        if row.runs == "uvicorn":
            quiet = ["--no-access-log", "--log-level", "warning"]
            return [str(self.python), "-m", "uvicorn", target, "--port", str(port), "--loop", "uvloop", *quiet]
        settings = "gunicorn.conf.py" if row.runs == "here" else "bench/peers/gunicorn_peer.py"
        return [sys.executable, "-m", "gunicorn", "-c", settings, target]

    def _environment(self, row: Row, port: int, trigger: int, folder: Path) -> dict[str, str]:
        around = {name: value for name, value in os.environ.items() if name not in door.OURS}
        around |= {
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "TRIGGER_PORT": str(trigger),
            "NODE_PATH": f"{NODE}/node_modules",
        }
        if row.runs == "node":
            shared = {"ROOM": events.ROOM, "NAME": events.NAME, "TEXT": events.TEXT, "FIRST": str(events.FIRST)}
            return around | shared
        if row.runs == "here":
            return around | OURS | {"DATA_DIR": str(folder)}
        return around | {"PEER_CONNECTIONS": str(PLACES)}


OURS: Mapping[str, str] = {
    **{f"RATE_LIMIT_{group}": "100000000" for group in ("DIRECTIONS", "ANALYSIS", "REPLAY", "STREAMS", "OTHER")},
    "MARKET": "demo",
    "MAX_CONNECTIONS": str(PLACES),
    "MAX_CONNECTIONS_PER_ADDRESS": str(PLACES),
    "STREAMS_PER_CLIENT": str(PLACES),
    "STREAMS_IN_ALL": str(PLACES),
    "SOCKETS_PER_CLIENT": str(PLACES),
    "SOCKETS_IN_ALL": str(PLACES),
    "LOG_LEVEL": "WARNING",
}


def _control(process: subprocess.Popen[bytes], port: int, log: Path) -> socket.socket:
    """The connection that starts events, once the server is there. Raises NotMeasured with its last words."""
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            control = socket.create_connection(("127.0.0.1", port), 30)
            control.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return control
        except OSError:
            time.sleep(0.05)
    words = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raise NotMeasured(f"it did not start: {words[-1] if words else 'no answer in time'}")


def node() -> str | None:
    """Node's version, once the packages of bench/peers/node are installed; None, with a sentence, if they cannot be."""
    source, marker = door.ROOT / "bench" / "peers" / "node", NODE / ".installed"
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("Node is missing (apt-get install nodejs npm, brew install node)")
        return None
    wanted = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    if not (marker.exists() and marker.read_text() == wanted):
        NODE.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / name, NODE / name)
        command = ["npm", "ci", "--silent", "--fetch-retries=1", "--fetch-timeout=20000"]
        done = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"the packages of Node's peer (bench/peers/node) are missing: {done.stderr.strip()[-200:]}")
            return None
        marker.write_text(wanted)
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("v")
