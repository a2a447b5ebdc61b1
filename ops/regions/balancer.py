"""A HAProxy in front of servers on loopback: its settings, its process, and what it says of the servers.

Clients of a region connect to that region's port, as a name server or an anycast address would lead them to it.
"""

from __future__ import annotations

import csv
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

PROGRAM: Final = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
MISSING: Final = (
    "haproxy is missing; to install it: sudo apt-get install haproxy (Debian), brew install haproxy (macOS)"
)

SETTINGS: Final = Path(__file__).with_name("haproxy.cfg")
OUT_WITHIN_S: Final = 1.2
SILENT_OUT_WITHIN_S: Final = 3.2
"""How long the checks of haproxy.cfg take to find a server that refuses or resets connections, and one that says nothing."""

STARTS_WITHIN_S: Final = 60.0
STOPS_WITHIN_S: Final = 10.0

LISTEN: Final = """
listen {name}
  bind 127.0.0.1:{port}
  balance {balance}
  http-request set-header X-Real-IP %[src]
  http-request del-header X-Forwarded-For
  http-request del-header Forwarded
  http-request disable-l7-retry unless METH_GET
{lines}
"""


@dataclass(frozen=True)
class Listener:
    """The clients of one region: their port, and the ports of their servers by name, the nearest first. balance: `first` sends
    all of them to the first healthy server, `roundrobin` to each in turn; more: further lines of its settings."""

    name: str
    port: int
    servers: Mapping[str, int]
    balance: str = "first"
    more: Sequence[str] = ()

    def settings(self) -> str:
        servers = (f"server {name} 127.0.0.1:{port}" for name, port in self.servers.items())
        lines = "\n".join(f"  {line}" for line in (*self.more, *servers))
        return LISTEN.format(name=self.name, port=self.port, balance=self.balance, lines=lines)


@dataclass(frozen=True)
class ServerState:
    """What the balancer says of a server: its status (`UP`, `DOWN`, `MAINT`, ...), the sessions that are open, and how many
    requests it was sent since the balancer started."""

    status: str
    sessions: int
    requests: int

    @property
    def is_up(self) -> bool:
        return self.status.startswith("UP")


class Balancer:
    """A HAProxy with its settings and its log in a folder. As a context manager it runs from enter to exit."""

    def __init__(self, folder: Path, listeners: Sequence[Listener], *, patience_s: float = STARTS_WITHIN_S) -> None:
        self.log = folder / "haproxy.log"
        self._settings = folder / "haproxy.cfg"
        self._listeners = listeners
        self._patience_s = patience_s
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def address(self, listener: str) -> str:
        """Where the clients of a region connect to."""
        (port,) = (one.port for one in self._listeners if one.name == listener)
        return f"http://127.0.0.1:{port}"

    def start(self) -> None:
        """Start it and wait until it listens. Raises RuntimeError with its log if it does not."""
        if PROGRAM is None:
            raise RuntimeError(MISSING)
        self._sockets = tempfile.TemporaryDirectory(prefix="haproxy-")  # the path of a socket must be short
        self._admin, self._master = Path(self._sockets.name) / "admin", Path(self._sockets.name) / "master"
        self._write()
        with self.log.open("ab") as log:
            command = [PROGRAM, "-W", "-S", str(self._master), "-f", str(self._settings)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self._wait_for_worker(old=None)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and all connections. Nothing happens if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOPS_WITHIN_S)
        self._sockets.cleanup()

    def restart(self) -> None:
        """Stop it and start it: nobody listens for a moment, and connections end."""
        self.stop()
        self.start()

    def reload(self, listeners: Sequence[Listener] | None = None) -> None:
        """Replace its settings, by those of other listeners if they are given: the ports stay open, and what is under way goes
        on."""
        self._listeners = self._listeners if listeners is None else listeners
        self._write()
        old = self._worker()
        with suppress(ConnectionError):  # it answers nothing: the process begins anew
            self._ask(self._master, "reload")
        self._wait_for_worker(old)

    def servers(self, listener: str) -> dict[str, ServerState]:
        """The servers of a region's clients by name, the nearest first."""
        rows = csv.DictReader(self.command("show stat").lstrip("# ").splitlines())
        return {
            row["svname"]: ServerState(row["status"], int(row["scur"]), int(row["stot"]))
            for row in rows
            if row["pxname"] == listener and row["svname"] not in ("FRONTEND", "BACKEND")
        }

    def set_state(self, server: str, state: str) -> None:
        """Put a server, for all clients, into `drain` (no new connections), `maint` (none at all) or `ready`."""
        for listener in self._listeners:
            if answer := self.command(f"set server {listener.name}/{server} state {state}").strip():
                raise RuntimeError(f"haproxy refuses state {state} of {listener.name}/{server}: {answer}")

    def command(self, line: str) -> str:
        """The answer to a command of HAProxy's Runtime API."""
        return self._ask(self._admin, line)

    def _ask(self, where: Path, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.settimeout(self._patience_s)
            asking.connect(str(where))
            asking.sendall(f"{line}\n".encode())
            asking.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: asking.recv(65_536), b"")).decode()

    def _write(self) -> None:
        admin = f"\nglobal\n  stats socket {self._admin} mode 600 level admin expose-fd listeners\n"
        listeners = "".join(listener.settings() for listener in self._listeners)
        self._settings.write_text(SETTINGS.read_text() + admin + listeners)

    def _worker(self) -> str | None:
        """The id of the process that serves, None while there is none."""
        try:
            rows = [line.split() for line in self._ask(self._master, "show proc").splitlines()]
        except OSError:
            return None
        return next((row[0] for row in rows if row[1:2] == ["worker"]), None)

    def _wait_for_worker(self, old: str | None) -> None:
        """Wait for a process that serves and is not the old one."""
        ends = time.monotonic() + self._patience_s
        while time.monotonic() < ends and self._process is not None and self._process.poll() is None:
            if self._worker() not in (None, old):
                return
            time.sleep(0.02)
        raise RuntimeError(f"haproxy does not listen; its log:\n{self.log.read_text()}")
