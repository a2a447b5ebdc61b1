"""Regions to try on one machine: each a server with a Redis of its own, and the ways that lead there from all regions.

All of them have ports of 127.0.0.1: loopback has no other address on macOS, and network namespaces need root.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from ops.regions.relay import Relay

ROOT: Final = Path(__file__).parent.parent.parent

NAMES: Final = ("us-east4-eqdc4a", "us-west2", "europe-west4-drams3a")
ROUND_TRIP_MS: Final[Mapping[frozenset[str], float]] = {
    frozenset({"us-east4-eqdc4a", "us-west2"}): 60.0,
    frozenset({"us-east4-eqdc4a", "europe-west4-drams3a"}): 90.0,
    frozenset({"us-west2", "europe-west4-drams3a"}): 140.0,
}
WITHIN_REGION_MS: Final = 1.0
"""Round trips, rounded from what clouds publish of such regions."""

OTHER_REDIS: Final = frozenset({"REDIS_URLS", "HOME_REGION"})
"""Settings of the shell that would lead a region to another Redis than its own."""

STOPS_WITHIN_S: Final = 30.0
REDIS: Final = shutil.which("redis-server")
MISSING_REDIS: Final = (
    "redis-server is missing; to install it: sudo apt-get install redis-server (Debian), brew install redis (macOS)"
)


def round_trip_ms(one: str, other: str) -> float:
    return WITHIN_REGION_MS if one == other else ROUND_TRIP_MS[frozenset({one, other})]


def nearest_first(name: str, names: Sequence[str] = NAMES) -> list[str]:
    """Regions by their distance from one of them, which is the first."""
    return sorted(names, key=lambda other: round_trip_ms(name, other))


class Process:
    """A program that runs in a group of its own, so that Ctrl-C does not reach it, with its output in a file."""

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str] = os.environ) -> None:
        self.log = log
        self.environment = environment
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        if self.is_running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """End it and all its children at once."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def terminate(self) -> None:
        """Tell it to end, and do not wait."""
        if self._process is not None and self.is_running:
            self._process.terminate()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.killpg(process.pid, how) if how == signal.SIGKILL else process.send_signal(how)
        try:
            process.wait(STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Region:
    """A region: its server, its Redis, and a relay to its server from each region of clients. From enter to exit they run."""

    def __init__(
        self, name: str, folder: Path, port: int, redis_port: int, clients: Sequence[str], settings: Mapping[str, str]
    ) -> None:
        self.name, self.port, self.redis_port = name, port, redis_port
        folder.mkdir(parents=True, exist_ok=True)
        own = {"MARKET": "demo", "HOST": "127.0.0.1", "PORT": str(port), "DATA_DIR": str(folder), "TRUST_PROXY": "1"}
        own |= {"REDIS_URL": f"redis://127.0.0.1:{redis_port}/0", "RAILWAY_REPLICA_REGION": name}
        around = {name: value for name, value in os.environ.items() if name not in OTHER_REDIS}
        serve = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
        self.server = Process(serve, folder / "server.log", {**around, **own, **settings})
        self.redis = Process(redis_command(folder, redis_port), folder / "redis.log")
        self.ways = {client: Relay(port, round_trip_ms(client, name) / 2000) for client in clients}
        self.is_cut_off = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for way in self.ways.values():
                stack.enter_context(way)
            for process in (self.redis, self.server):
                stack.callback(process.stop)
                process.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self) -> None:
        """Start what does not run."""
        self.redis.start()
        self.server.start()

    def kill(self) -> None:
        """End server and Redis at once."""
        self.server.kill()
        self.redis.kill()

    def cut(self) -> None:
        """Nothing reaches it and nothing comes from it, though it runs."""
        self.is_cut_off = True
        for way in self.ways.values():
            way.cut()

    def mend(self) -> None:
        self.is_cut_off = False
        for way in self.ways.values():
            way.mend()


def redis_command(folder: Path, port: int) -> list[str]:
    """A Redis that keeps what it has."""
    options = {"port": str(port), "bind": "127.0.0.1", "dir": str(folder), "save": "", "appendonly": "yes"}
    options["maxmemory-policy"] = "noeviction"
    return [REDIS or "redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))]
