"""A real redis-server of the tests' own: started, killed, paused and brought back on the same port."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from typing import Self

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.waiting import PATIENCE_S

PROGRAM = "redis-server"
MISSING = (
    f"{PROGRAM} is missing; to install it: `sudo apt-get install redis-server` (Debian), `brew install redis` (macOS)"
)
# Below the ports that systems hand out themselves: a port is still free after a kill, and a client that keeps
# calling a dead server never gets that very port as its own and talks to itself.
PORTS = range(20_000, 30_000)
PATIENT_OPTIONS = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), f"{PATIENCE_S:.0f}")
PATIENT = "?" + "&".join(f"{name}={value}" for name, value in PATIENT_OPTIONS.items())
"""Behind an address, where Redis does not fail: a busy machine passes the time-out that servers have of their own (0.3 s)."""

STOP_SECONDS = 5.0


def skip_without_redis_server() -> None:
    """Skips the test, and says how to get the program, where there is none."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(MISSING)


@cache
def ports() -> Iterator[int]:
    """Those of PORTS that no other process of this run of tests takes, one after the other, and then again: what is given is
    given to nobody else before a server listens on it."""
    name, count = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    own = [*PORTS[int(name.removeprefix("gw")) % count :: count]]
    random.shuffle(own)
    return cycle(own)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    for port in islice(ports(), 50):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port found between {PORTS.start} and {PORTS.stop}")


class RedisServer:
    """One redis-server on loopback that keeps nothing on disk unless its options say so; a context manager that starts and
    stops it. options: of redis.conf, by name."""

    def __init__(self, port: int | None = None, options: Mapping[str, str] | None = None) -> None:
        self.port = free_port() if port is None else port
        self._options = dict(options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, seconds: float = PATIENCE_S) -> Redis:
        """A client that tries once and waits no longer than this; the caller closes it."""
        return Redis.from_url(
            self.url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def start(self) -> None:
        """Starts it, empty, and waits until it answers."""
        if self._process is not None:
            raise RuntimeError(f"{PROGRAM} runs already")
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self._log = Path(self._folder.name) / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_it_answers(self._process)
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Ends it at once, as a crash does (SIGKILL). Nothing happens if it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in good order, also while paused. Nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Back on the same port with nothing in it; what still runs is killed first."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Keeps its connections open and answers nothing (SIGSTOP)."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Goes on after `pause` (SIGCONT), and waits until it answers."""
        self._running().send_signal(signal.SIGCONT)
        self._wait_until_it_answers(self._running())

    def flush(self) -> None:
        """Removes all data."""
        with self.client() as client:
            client.flushall()

    def _command(self) -> list[str]:
        options = {"bind": "127.0.0.1", "port": str(self.port), "dir": self._folder.name}
        options |= {"save": "", "appendonly": "no", "daemonize": "no"} | self._options
        return [PROGRAM, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError(f"{PROGRAM} does not run")
        return self._process

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if process.poll() is not None:
                raise RuntimeError(f"{PROGRAM} ended with code {process.returncode}; its log:\n{self._log.read_text()}")
            if self._answers_as(process.pid):
                return
            time.sleep(0.02)
        raise RuntimeError(f"{PROGRAM} did not answer within {PATIENCE_S:g} s; its log:\n{self._log.read_text()}")

    def _answers_as(self, pid: int) -> bool:
        """Whether this very process answers, not another server that has the port."""
        try:
            with self.client() as client:
                return bool(client.ping()) and client.info("server")["process_id"] == pid
        except RedisError:
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused one sees no SIGTERM
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE_S)
        self._folder.cleanup()
