"""Runs a program beside the requests of this process, and reads the little that it says.

`subprocess` under gevent forks: it copies the page tables of the whole worker, and all requests wait for that. posix_spawn does
not. The program gets the variables of PASSED alone, so that the secrets of the server are not in its environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from app.clock import REAL_TIME

PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PASSED: Final = (*PROXIES, *(name.lower() for name in PROXIES), *CERTIFICATES, "HOME", "LANG", "PATH", "TMPDIR", "TZ")

MOST_BYTES: Final = 65_536
"""Of what the program reads, and of what it says: a pipe holds as much without anyone who reads."""

LOOK_S: Final = 0.02


def output_of(command: list[str], text: bytes, timeout_s: float) -> bytes:
    """What a program said that read the length of `text` (four bytes) and `text`, and was ended after `timeout_s` real seconds
    unless it had ended. Raises OSError if it cannot be started."""
    if len(text) + 4 > MOST_BYTES:
        raise OSError("more than a pipe holds")
    with _pipe() as (to_read, to_write), _pipe() as (said, to_say):
        actions = [
            (os.POSIX_SPAWN_DUP2, to_read, 0),
            (os.POSIX_SPAWN_DUP2, to_say, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        _fill(to_write, len(text).to_bytes(4) + text)
        pid = os.posix_spawn(command[0], command, passed, file_actions=actions)
        _wait(pid, timeout_s)
        os.set_blocking(said, False)
        with suppress(BlockingIOError):
            return os.read(said, MOST_BYTES)
        return b""


def _fill(pipe: int, data: bytes) -> None:
    """Writes all of it at once. Raises OSError where a pipe holds less, as it does for a user who has very many."""
    os.set_blocking(pipe, False)
    if os.write(pipe, data) < len(data):
        raise OSError("more than a pipe holds")


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe, which are closed at the end."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def _wait(pid: int, timeout_s: float) -> None:
    """Wait until a program has ended, and end it after `timeout_s`."""
    ends = REAL_TIME.now() + timeout_s
    while not _has_ended(pid):
        if REAL_TIME.now() > ends:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        REAL_TIME.sleep(LOOK_S)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
