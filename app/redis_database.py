"""A Redis, used by all threads of a process, with short time-outs.

Every failure is Unavailable (part `store`) with one sentence: the message is for clients, `detail` holds what Redis or its
client says. Nothing is tried twice here: who calls knows when to try again.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import redis

from app.errors import Unavailable
from app.redis_pools import pool_of
from app.telemetry.stages import NULL_STAGES, Stages

TIMEOUT_S: Final = 0.3
"""Seconds for a connection, and for each answer."""

CONNECTIONS: Final = 8
"""At most so many connections for commands; who needs one more waits for TIMEOUT_S, twice. One more is for messages."""

SILENCE_S: Final = 5
"""Who waits for messages asks whether Redis is still there after so many seconds without one."""

CERTIFICATE: Final = "the certificate of Redis does not fit: "
CERTIFICATE_ADVICE: Final = "`ssl_ca_certs=` in REDIS_URL names the file of the authority that vouches for it"

REDIRECT: Final = "it is one node of a cluster and redirects; REDIS_URL must be an address that answers for all nodes"

NOW: Final = """
local now = tonumber(table.remove(ARGV))
if now < 0 then
  local time = redis.call('TIME')
  now = time[1] + time[2] / 1000000
end
"""


class Refused(Unavailable):
    """The user of the address may not do this in its Redis (ACL)."""


Script = Callable[[Sequence[str], Sequence[Any]], Any]


class RedisDatabase:
    """The Redis at `url` (`redis://`, `rediss://`, `unix://`, or that of Sentinels, `app/redis_address.py`). No connection is
    opened before the first command. `epoch()` takes the place of Redis' own clock, for tests. Raises TypeError or ValueError
    for an option of the address that redis does not know.

    client  for what batches commands by itself; it raises redis' own errors
    epoch   the clock in place of Redis' own; None: its own counts
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = TIMEOUT_S,
        stages: Stages = NULL_STAGES,
        epoch: Callable[[], float] | None = None,
    ) -> None:
        self._stages = stages
        self.epoch = epoch
        self._pool = pool_of(url, timeout_s, CONNECTIONS)
        self._listening = pool_of(url, timeout_s, 1, idle_s=0)
        self._is_closed = False
        self.timeout_s = timeout_s
        self.client = redis.Redis(connection_pool=self._pool)
        self._redis: Any = self.client

    def read(self, *command: Any) -> Any:
        """The answer to a command. Raises Unavailable."""
        with self._used("read"):
            return self._redis.execute_command(*command)

    def ask(self, *command: Any) -> Any:
        """The answer to a command that a Redis may refuse; None if it does. Raises Unavailable."""
        with self._used("read"):
            try:
                return self._redis.execute_command(*command)
            except redis.ResponseError:
                return None

    def together(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answers to commands that go in one round trip, each done for itself. Raises Unavailable if one of them fails."""
        with self._used("write"), self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(pipeline.execute())

    def script(self, text: str, verb: str = "write") -> Script:
        """A function that runs a Lua script on keys and arguments, as one step that nothing interrupts. It raises
        Unavailable."""
        script = self._redis.register_script(text)

        def run(keys: Sequence[str], args: Sequence[Any]) -> Any:
            with self._used(verb):
                return script(keys=keys, args=args)

        return run

    def timed_script(self, text: str) -> Script:
        """The same for a script that reads `now`: seconds since 1970 by the clock of Redis, the same for all who use it."""
        script = self.script(f"{NOW}{text}")
        return lambda keys, args: script(keys, [*args, -1 if self.epoch is None else self.epoch()])

    def messages(self, channel: str) -> Iterator[str]:
        """What is published to a channel from now on, over a connection of its own, until a few seconds after `close`; and an
        empty text whenever Redis says that it listens, first of all. Raises Unavailable, also where Redis does not answer when
        it is asked after a silence, and Refused where it may not listen."""
        listener: Any = redis.client.PubSub(self._listening)
        try:
            with self._translated("listen to"):
                listener.subscribe(channel)
            is_asked = False
            while not self._is_closed:
                with self._translated("listen to"):
                    message = listener.get_message(timeout=SILENCE_S)
                    if message is None and is_asked:
                        raise redis.TimeoutError("it does not answer any more")
                    if message is None:
                        listener.ping()
                is_asked = message is None
                if message is not None:
                    yield message["data"] if message["type"] == "message" else ""
        finally:
            listener.close()
            self._listening.close()

    def connections(self) -> int:
        """How many connections to Redis are open now: CONNECTIONS and one at most."""
        pools: tuple[Any, ...] = (self._pool, self._listening)
        return sum(connection.is_connected for pool in pools for connection in pool._connections)

    def close(self) -> None:
        """Connections of messages are left to who reads those: closing them here would not wake him under gevent."""
        self._is_closed = True
        self._pool.close()

    @contextmanager
    def _used(self, verb: str) -> Iterator[None]:
        with self._translated(verb), self._stages("redis", operation=verb):
            yield

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as exc:
            if isinstance(exc, redis.ReadOnlyError):
                self._pool.disconnect()  # its address may lead to another server by now
            kind = Refused if isinstance(exc, redis.exceptions.NoPermissionError) else Unavailable
            raise kind(f"the server cannot {verb} its Redis", part="store", detail=f"redis: {_reason(exc)}") from exc


def certificate_advice(failure: str | None) -> str | None:
    """What to do about a failure (`Unavailable.detail`) that is about the certificate of Redis, without its host; else None."""
    _, found, rest = (failure or "").partition(CERTIFICATE)
    return f"{found}{rest}" or None


def _reason(exc: BaseException) -> str:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"{CERTIFICATE}{cause.verify_message.partition(',')[0]}; {CERTIFICATE_ADVICE}"
        cause = cause.__cause__ or cause.__context__
    return REDIRECT if isinstance(exc, redis.exceptions.AskError) else str(exc)
