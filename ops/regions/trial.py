"""Three regions on one machine, with a balancer for the clients of each, and what can be seen of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Final, Self

import requests

from ops.regions.balancer import STARTS_WITHIN_S, Balancer, Listener
from ops.regions.regions import NAMES, Region, nearest_first

ASK_S: Final = 5.0
HEADINGS: Final = (
    "region",
    "server",
    "balancer",
    "requests",
    "sessions",
    "its clients get",
    "Redis",
    "hour",
    "signal of SPY",
)


class Trial:
    """The regions and the balancer; from enter to exit they run. ports: for the clients of each region, for the servers, and
    for each Redis, in the order of the names. settings: of the servers, besides those that a region has of its own.
    balancer_settings: further lines of each listener's."""

    def __init__(
        self,
        folder: Path,
        ports: Sequence[int],
        settings: Mapping[str, str],
        names: Sequence[str] = NAMES,
        balancer_settings: Sequence[str] = (),
        patience_s: float = STARTS_WITHIN_S,
    ) -> None:
        count = len(names)
        self._folder, self._patience_s, self.names = folder, patience_s, names
        self._balancer_settings = balancer_settings
        self._client_ports = dict(zip(names, ports[:count], strict=True))
        own = zip(names, ports[count : 2 * count], ports[2 * count :], strict=True)
        self.regions = {name: Region(name, folder / name, port, redis, names, settings) for name, port, redis in own}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for region in self.regions.values():
                stack.enter_context(region)
            for name in self.names:
                self.wait_ready(name)
            self.balancer = Balancer(self._folder, self._listeners(), patience_s=self._patience_s)
            stack.enter_context(self.balancer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for region in self.regions.values():
            region.server.terminate()
        self._stack.close()

    def _listeners(self) -> list[Listener]:
        """For the clients of each region: the ways to all servers, the nearest first."""
        return [
            Listener(
                name,
                port,
                {to: self.regions[to].ways[name].port for to in nearest_first(name, self.names)},
                more=self._balancer_settings,
            )
            for name, port in self._client_ports.items()
        ]

    def wait_ready(self, name: str) -> None:
        """Raises RuntimeError if a server does not get ready."""
        region, ends = self.regions[name], time.monotonic() + self._patience_s
        while not is_ready(region):
            if time.monotonic() > ends or not region.server.is_running:
                raise RuntimeError(f"the server of {name} does not get ready; see {region.server.log}")
            time.sleep(0.1)

    def state(self) -> list[RegionState]:
        """What can be seen of each region now."""
        seen = {client: self.balancer.servers(client) for client in self.names}
        return [
            RegionState(
                name,
                server_words(region),
                seen[name][name].status,
                sum(servers[name].requests for servers in seen.values()),
                sum(servers[name].sessions for servers in seen.values()),
                served_by(self.balancer.address(name)),
                "up" if redis_answers(region.redis_port) else "down",
                *hour_and_signal(region),
            )
            for name, region in self.regions.items()
        ]


@dataclass(frozen=True)
class RegionState:
    """A row of the table: the region; whether its server is ready; what the balancer of its own clients says of it; how many
    requests and open sessions of all clients it has; which region answers its clients; its Redis; its signal and the hour of
    that."""

    name: str
    server: str
    balancer: str
    requests: int
    sessions: int
    clients_get: str
    redis: str
    hour: str
    signal: str


def table(states: Sequence[RegionState]) -> str:
    """The states in columns, and whether all signals of one hour are the same."""
    rows = [HEADINGS, *(tuple(map(str, astuple(state))) for state in states)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "the signals agree" if agree(states) else "THE SIGNALS DIFFER"])


def agree(states: Sequence[RegionState]) -> bool:
    signals = {(state.hour, state.signal) for state in states}
    return len(signals) == len({hour for hour, _ in signals})


def answer(url: str) -> requests.Response | None:
    """None without an answer in ASK_S."""
    try:
        return requests.get(url, timeout=ASK_S)
    except requests.RequestException:
        return None


def is_ready(region: Region) -> bool:
    response = answer(f"http://127.0.0.1:{region.port}/readyz")
    return response is not None and response.ok


def server_words(region: Region) -> str:
    if not region.server.is_running:
        return "down"
    return ("ready" if is_ready(region) else "not ready") + (", cut off" if region.is_cut_off else "")


def served_by(address: str) -> str:
    """The region that answers at an address of the balancer, as the answer says."""
    response = answer(f"{address}/livez")
    return "nobody" if response is None else response.headers.get("X-Served-By", "nobody").partition("/")[0]


def redis_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ASK_S) as asking:
            asking.sendall(b"PING\r\n")
            return asking.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


def hour_and_signal(region: Region) -> tuple[str, str]:
    """What the region's own server answers; `-` without an answer."""
    response = answer(f"http://127.0.0.1:{region.port}/v2/trading-directions/SPY")
    if response is None or not response.ok:
        return "-", "-"
    body: Mapping[str, Any] = response.json()
    hour = "closed" if body["decision_hour"] is None else f"{body['session_date']} {body['decision_hour']}:00"
    return hour, f"{body['action']} {body['probability']}"
