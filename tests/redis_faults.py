"""What befalls a Redis, and how it is mended; and a user of it with a password that no log and no error may have."""

from __future__ import annotations

from collections.abc import Callable

from tests.redis_server import RedisServer
from tests.waiting import PATIENCE_S

PASSWORD = "a-secret-word"
SILENCE_S = 1.0
"""For who uses a Redis that says nothing: longer than a busy machine takes for an answer, for the test waits for it."""

Fault = Callable[[RedisServer], Callable[[], None]]
"""Brings a fault about, and returns what mends it."""


def url_of_someone(server: RedisServer) -> str:
    """Its address for the user with the password."""
    return server.url.replace("redis://", f"redis://someone:{PASSWORD}@")


def allow_someone(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "someone", "on", f">{PASSWORD}", "~*", "+@all")


def kill(server: RedisServer) -> Callable[[], None]:
    def mend() -> None:
        server.start()
        allow_someone(server)

    server.kill()
    return mend


def pause(server: RedisServer) -> Callable[[], None]:
    server.pause()
    return server.resume


def fill(server: RedisServer) -> Callable[[], None]:
    def mend() -> None:
        with server.client() as client:
            client.config_set("maxmemory", 0)

    with server.client() as client:
        client.config_set("maxmemory", 1)
    return mend


def make_a_copy(server: RedisServer) -> Callable[[], None]:
    """A replica, which nobody may write."""

    def mend() -> None:
        with server.client() as client:
            client.replicaof("NO", "ONE")

    with server.client() as client:
        client.replicaof("127.0.0.1", 1)
    return mend


def time_out_s(fault: Fault) -> float:
    """How long who uses it waits for an answer: briefly where none comes, else as long as a busy machine needs."""
    return SILENCE_S if fault is pause else PATIENCE_S


FAULTS: tuple[Fault, ...] = (kill, pause, fill, make_a_copy)
