"""Real Sentinels of the tests' own that watch over a master and its replica: kill the master, and they make the replica one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from redis import Redis

from tests.redis_server import RedisServer
from tests.waiting import wait_for

SERVICE = "predict"
NO_DELAY = {"repl-diskless-sync-delay": "0"}


class RedisSentinel(RedisServer):
    """A Sentinel that takes the master at a port for lost once `quorum` Sentinels have not heard of it for half a second."""

    def __init__(self, master: int, quorum: int) -> None:
        super().__init__()
        self._words = f"""
            sentinel monitor {SERVICE} 127.0.0.1 {master} {quorum}
            sentinel down-after-milliseconds {SERVICE} 500
            sentinel failover-timeout {SERVICE} 3000
        """

    def _command(self) -> list[str]:
        file = Path(self._folder.name) / "sentinel.conf"
        file.write_text(f"{self._words}\nport {self.port}\nbind 127.0.0.1\ndir {self._folder.name}\n")
        return [*super()._command()[:1], str(file), "--sentinel"]


class WatchedRedis:
    """A master, its replica and so many Sentinels; a context manager. `server` is the master of the beginning."""

    def __init__(self, sentinels: int = 1) -> None:
        self.server = RedisServer(options=NO_DELAY)
        self.replica = RedisServer(options={**NO_DELAY, "replicaof": f"127.0.0.1 {self.server.port}"})
        self.sentinels = [RedisSentinel(self.server.port, sentinels // 2 + 1) for _ in range(sentinels)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{one.port}" for one in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in (self.server, self.replica):
                stack.enter_context(server)
            wait_for(lambda: self._replica_info()["master_link_status"] == "up", "the replica has the master's data")
            for one in self.sentinels:
                stack.enter_context(one)
            wait_for(self._are_ready, "the Sentinels know the replica and each other")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_for_replication(self) -> None:
        """Until the replica has all that the master was told."""
        with self.server.client() as client:
            wait_for(lambda: client.wait(1, 1000) == 1, "the replica has it")

    def wait_for_failover(self) -> None:
        """Until every Sentinel names the replica, which is a master by then."""
        wait_for(lambda: all(self._master(one) == self.replica.port for one in self.sentinels), "a failover")
        wait_for(lambda: self._replica_info()["role"] == "master", "the replica is the master")

    def lose_first_sentinel(self) -> None:
        """Kills the one that a client asks first."""
        self.sentinels.pop(0).kill()

    def is_old_master_a_replica(self) -> bool:
        with self.server.client() as client:
            return bool(client.info("replication")["role"] == "slave")

    def _replica_info(self) -> dict[str, object]:
        with self.replica.client() as client:
            info: dict[str, object] = client.info("replication")
            return info

    def _are_ready(self) -> bool:
        return all(self._is_ready(one) for one in self.sentinels)

    def _is_ready(self, sentinel: RedisSentinel) -> bool:
        with sentinel.client() as client:
            state = client.sentinel_master(SERVICE)
            return state["num-slaves"] == 1 and state["num-other-sentinels"] == len(self.sentinels) - 1

    def _master(self, sentinel: RedisSentinel) -> int:
        with sentinel.client() as client:
            return _port_of(client)


def _port_of(client: Redis) -> int:
    _, port = client.sentinel_get_master_addr_by_name(SERVICE)
    return int(port)
