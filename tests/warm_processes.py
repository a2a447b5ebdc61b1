"""Servers and commands as processes of their own that need not import the server first (tests/warm_start.py). COLD_STARTS=1
starts each by its own command."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, Final

from tests.waiting import PATIENCE_S

ROOT: Final = Path(__file__).parent.parent
SERVERS: Final = (["gunicorn"], ["app", "serve"], ["app", "demo"])
COMMANDS: Final = (["app"], ["gunicorn"])
READ_AT_IMPORT: Final = ("PYTHON", "OTEL_", "GEVENT", "LD_", "OPENBLAS_", "OMP_")
"""Beginnings of the names of variables that Python or a library reads while it is imported."""


class WarmProcess:
    """A process that was born warm, with what of `subprocess.Popen` the tests use."""

    def __init__(self, told: socket.socket) -> None:
        self._told = told
        self._text = b""
        self.returncode: int | None = None
        self.pid = int(self._line(PATIENCE_S) or 0)

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            line = self._line(timeout)
            if line is None:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            self.returncode = int(line)
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _line(self, timeout: float | None) -> str | None:
        """The next line; None if it does not come in time."""
        ends = None if timeout is None else time.monotonic() + timeout
        while b"\n" not in self._text:
            self._told.settimeout(None if ends is None else max(0.0, ends - time.monotonic()))
            try:
                came = self._told.recv(4096)
            except (TimeoutError, BlockingIOError):
                return None
            if not came:
                raise RuntimeError("the process that starts others warm has ended")
            self._text += came
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()


Process = WarmProcess | subprocess.Popen[str]


def start(command: Sequence[str], environment: Mapping[str, str], out: IO[Any], errors: IO[Any]) -> Process:
    """Starts a command at the root of the project, warm where that makes no difference to it."""
    if not may_be_warm(command, environment):
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=errors, text=True)
    kind = "server" if any(command[2 : 2 + len(words)] == words for words in SERVERS) else "command"
    told = socket.socket(socket.AF_UNIX)
    told.connect(source(kind))
    asked = json.dumps({"arguments": list(command[1:]), "environment": dict(environment)})
    socket.send_fds(told, [asked.encode()], [out.fileno(), errors.fileno()])
    return WarmProcess(told)


def run(command: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, and returns what it printed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = start(command, environment, out, errors)
        try:
            status = process.wait(PATIENCE_S)
        finally:
            process.kill()
        texts = [file.seek(0) or file.read() for file in (out, errors)]
    return subprocess.CompletedProcess(list(command), status, *texts)


def may_be_warm(command: Sequence[str], environment: Mapping[str, str]) -> bool:
    is_ours = list(command[:2]) == [sys.executable, "-m"] and [command[2]] in COMMANDS
    is_as_here = all(
        environment.get(name) == os.environ.get(name)
        for name in {*environment, *os.environ}
        if name.startswith(READ_AT_IMPORT)
    )
    return is_ours and is_as_here and "COLD_STARTS" not in environment


@lru_cache
def source(kind: str) -> str:
    """The address of the process that starts others of a kind; it ends with this one."""
    address = str(Path(tempfile.mkdtemp(prefix="warm-")) / "door")
    command = [sys.executable, "-m", "tests.warm_start", kind, address]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE)
    atexit.register(end, process, Path(address).parent)
    deadline = time.monotonic() + PATIENCE_S
    while not Path(address).exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the process that starts others warm does not start")
        time.sleep(0.02)
    return address


def end(process: subprocess.Popen[bytes], folder: Path) -> None:
    process.communicate(timeout=PATIENCE_S)
    shutil.rmtree(folder, ignore_errors=True)  # the run may have removed all of its folders already
