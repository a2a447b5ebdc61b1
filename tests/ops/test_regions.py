"""Regions on one machine (ops/regions), of which one is lost, cut off or left without its Redis, behind a balancer that is
loaded anew and restarted: its clients go on at the next region, with the same signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPResponse
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from app.config.settings import load
from ops.regions.balancer import OUT_WITHIN_S, SILENT_OUT_WITHIN_S
from ops.regions.regions import NAMES, Region, nearest_first
from ops.regions.trial import Trial, agree, table
from tests.haproxy import PATIENT_CHECKS, skip_without_haproxy
from tests.redis_server import skip_without_redis_server
from tests.serving.test_following import NO_LIMITS
from tests.serving.test_gunicorn import ROOT, environment, free_port
from tests.serving.test_sequences import SocketFollower, head
from tests.serving.test_socket_clients import WEBSOCKET
from tests.waiting import PATIENCE_S, wait_for

EAST, WEST, EUROPE = NAMES
PATH = "/trading-directions?ticker=SPY"
SETTINGS = {**NO_LIMITS, "RATE_LIMIT_DIRECTIONS": 1_000_000, "LOG_LEVEL": "WARNING"}
Signal = tuple[Any, ...]


def trial_of(folder: Path, names: Sequence[str], balancer_settings: Sequence[str] = ()) -> Trial:
    skip_without_haproxy()
    skip_without_redis_server()
    settings = {name: str(value) for name, value in SETTINGS.items()}
    return Trial(folder, [free_port() for _ in range(3 * len(names))], settings, names, balancer_settings, PATIENCE_S)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ops.regions.trial.ASK_S", PATIENCE_S)
        with trial_of(tmp_path_factory.mktemp("regions"), (EAST, WEST), PATIENT_CHECKS) as running:
            yield running


@pytest.fixture
def trial(shared: Trial) -> Trial:
    """Two regions that are whole, whatever the test before did to them."""
    wait_whole(shared)
    return shared


def wait_whole(trial: Trial) -> None:
    """Start what does not run, and wait until the balancer knows."""
    for name, region in trial.regions.items():
        region.start()
        trial.wait_ready(name)
        wait_for(lambda name=name: balancer_says(trial, name, up=True))  # type: ignore[misc]


@dataclass(frozen=True)
class Asked:
    """One request: when it began and ended, its status (None without an answer), which region answered, and the signal."""

    began: float
    ended: float
    status: int | None = None
    region: str = ""
    hour: str | None = None
    signal: Signal = ()

    @property
    def is_good(self) -> bool:
        return self.status == 200


def signal_of(entry: dict[str, Any]) -> Signal:
    """What both versions say of it in the same words."""
    return tuple(entry[name] for name in ("direction", "probability", "probability_a"))


class Kept:
    """A client's connection, which it keeps. Like a browser it asks once more where a connection that was kept ends before an
    answer comes: that may cross with the request (RFC 9112, 9.3.1)."""

    def __init__(self, address: str) -> None:
        self._connection = HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_S)

    def get(self, path: str) -> HTTPResponse:
        is_kept = self._connection.sock is not None
        try:
            self._connection.request("GET", path)
            return self._connection.getresponse()
        except (ConnectionError, HTTPException):
            self.close()
            if not is_kept:
                raise
        return self.get(path)

    def close(self) -> None:
        self._connection.close()


class Clients:
    """Clients of one region that ask version 1 on and on, each on a connection that it keeps."""

    def __init__(self, address: str, count: int = 2, every_s: float = 0.05) -> None:
        self._address, self._every_s = address, every_s
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        self.asked: list[Asked] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _run(self) -> None:
        with closing(Kept(self._address)) as connection:
            while not self._is_over.wait(self._every_s):
                self.asked.append(self._ask(connection))

    def _ask(self, connection: Kept) -> Asked:
        began = time.monotonic()
        try:
            response = connection.get(PATH)
            body = response.read()
        except (OSError, HTTPException):
            connection.close()
            return Asked(began, time.monotonic())
        asked = Asked(began, time.monotonic(), response.status, response.headers.get("X-Served-By", ""))
        if not asked.is_good:
            return asked
        entry = json.loads(body)["tickers"]["SPY"]
        return Asked(began, asked.ended, 200, asked.region, entry["locked_at"], signal_of(entry))

    def wait_served_by(self, region: str, since: float | None = None) -> float:
        """Wait until a client that asks from a moment on (now, if none is given) is answered by this region; when that was."""
        since = time.monotonic() if since is None else since

        def answered() -> float:
            return next((one.ended for one in list(self.asked) if one.began > since and one.region == region), 0.0)

        wait_for(answered, f"no client is served by {region}")
        return answered()

    @property
    def failed(self) -> list[Asked]:
        return [one for one in self.asked if not one.is_good]

    def signals(self) -> set[tuple[str, Signal]]:
        return {(one.hour, one.signal) for one in self.asked if one.hour is not None}


@contextmanager
def follower(trial: Trial, region: str) -> Iterator[SocketFollower]:
    """A client of Socket.IO in a region, that has its first events."""
    address = trial.balancer.address(region)
    found = SocketFollower(region, address, head(address), dict(WEBSOCKET))
    try:
        found.wait_connected(1)
        found.wait_event(PATIENCE_S)
        yield found
    finally:
        found.close()


def back_with_a_snapshot(found: SocketFollower, region: Region) -> bool:
    """Whether it goes on with the sequence of this region, which began for it with a snapshot."""
    epoch = head(f"http://127.0.0.1:{region.port}").split("-")[0]
    return any(event["kind"] == "snapshot" and event["epoch"] == epoch for event in found.told.all)


def followed_signals(found: SocketFollower) -> set[tuple[str, Signal]]:
    told = [event["signal"] for event in found.told.all if event["kind"] in ("snapshot", "signal")]
    return {(one["lock"]["locked_at"], signal_of(one)) for one in told if one["lock"]["locked_at"] is not None}


def one_each_hour(*signals: set[tuple[str, Signal]]) -> bool:
    """Whether nobody was told two signals of one hour."""
    counts = Counter(hour for hour, _ in set().union(*signals))
    return max(counts.values(), default=1) == 1


def balancer_says(trial: Trial, region: str, *, up: bool) -> bool:
    """Whether the balancer has the region up, or out, for all clients."""
    return all(trial.balancer.servers(clients)[region].is_up == up for clients in trial.names)


def test_clients_are_served_by_their_own_region_and_all_signals_agree(trial: Trial) -> None:
    states = trial.state()
    assert [state.clients_get for state in states] == [state.name for state in states] == [EAST, WEST]
    assert {(state.server, state.redis) for state in states} == {("ready", "up")}
    assert agree(states)
    assert table(states).endswith("the signals agree")


def test_the_nearest_region_comes_first() -> None:
    assert nearest_first(WEST) == [WEST, EAST, EUROPE]
    assert nearest_first(EUROPE) == [EUROPE, EAST, WEST]


def test_a_region_has_its_own_redis_whatever_the_shell_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URLS", f"{WEST}=redis://elsewhere:6379")
    monkeypatch.setenv("HOME_REGION", WEST)
    region = Region(WEST, tmp_path, port=1, redis_port=2, clients=(), settings={})
    for name in os.environ.keys() - region.server.environment.keys():
        monkeypatch.delenv(name)
    for name, value in region.server.environment.items():
        monkeypatch.setenv(name, value)
    assert load().redis_url == SecretStr("redis://127.0.0.1:2/0")


def test_a_region_without_its_redis_serves_its_clients_on(trial: Trial) -> None:
    with Clients(trial.balancer.address(WEST)) as clients:
        clients.wait_served_by(WEST)
        trial.regions[WEST].redis.kill()
        clients.wait_served_by(WEST)
        assert {state.name: state.redis for state in trial.state()} == {EAST: "up", WEST: "down"}
    assert clients.failed == []
    assert one_each_hour(clients.signals())


def test_a_balancer_that_is_loaded_anew_drops_nobody_and_one_that_is_restarted_costs_no_event(trial: Trial) -> None:
    with follower(trial, EAST) as following:
        with Clients(trial.balancer.address(EAST)) as clients:
            clients.wait_served_by(EAST)
            trial.balancer.reload()
            clients.wait_served_by(EAST)
        assert clients.failed == []
        assert following.hellos == 1
        trial.balancer.restart()
        following.wait_connected(2)
        following.wait_event(PATIENCE_S)
    following.told.check()
    assert len(epochs(following)) == 1, "the same sequence, without a snapshot"


def test_a_region_that_is_lost_fails_no_get_and_its_clients_are_told_the_same_signals_by_the_next(
    trial: Trial,
) -> None:
    with Clients(trial.balancer.address(WEST)) as clients, follower(trial, WEST) as following:
        clients.wait_served_by(WEST)
        trial.regions[WEST].kill()
        clients.wait_served_by(EAST)
        wait_for(lambda: balancer_says(trial, WEST, up=False))
        wait_for(lambda: back_with_a_snapshot(following, trial.regions[EAST]))
        assert {state.name: state.clients_get for state in trial.state()} == {EAST: EAST, WEST: EAST}
    assert clients.failed == []
    assert one_each_hour(clients.signals(), followed_signals(following))


# --- what a fault costs, in numbers ---


@dataclass(frozen=True)
class Fault:
    """What is done to a region or the balancer, how it is undone, and which region serves in between. drops: whether clients of
    Socket.IO are cut; sequences: how many sequences of events such a client follows from before the fault until all is well."""

    do: Callable[[Trial], object]
    undo: Callable[[Trial], object] = lambda trial: None
    then: str = WEST
    drops: bool = True
    sequences: int = 1


def of_west(do: Callable[[Region], object], undo: Callable[[Region], object], then: str, sequences: int) -> Fault:
    return Fault(
        lambda trial: do(trial.regions[WEST]), lambda trial: undo(trial.regions[WEST]), then, then != WEST, sequences
    )


FAULTS = {
    "region killed": of_west(Region.kill, Region.start, EAST, 2),
    "region cut off": of_west(Region.cut, Region.mend, EAST, 2),
    "server stopped": of_west(lambda west: west.server.terminate(), Region.start, EAST, 2),
    "Redis killed, and back": of_west(lambda west: west.redis.kill(), Region.start, WEST, 3),
    "balancer reloaded": Fault(lambda trial: trial.balancer.reload(), drops=False),
    "balancer restarted": Fault(lambda trial: trial.balancer.restart()),
}
ROUNDS, CLIENTS, EVERY_S = 3, 4, 0.02
COLUMNS = ("fault", "GETs", "failed", "served again", "longest GET", "events again", "prices skipped", "signals missed")


@dataclass(frozen=True)
class Cost:
    """Of one fault. served_s, events_s: seconds from the fault until a request that began after it was answered, and until the
    client of Socket.IO had its next event; longest_s: of one request; skipped: minutes whose price that client was never told;
    missed: hours whose signal it was not told."""

    gets: int
    failed: int
    served_s: float
    longest_s: float
    events_s: float
    skipped: int
    missed: int


def cost_of(trial: Trial, fault: Fault) -> Cost:
    with Clients(trial.balancer.address(WEST), CLIENTS, EVERY_S) as clients, follower(trial, WEST) as following:
        clients.wait_served_by(WEST)
        hellos, began = following.hellos, time.monotonic()
        fault.do(trial)
        served = clients.wait_served_by(fault.then, began)
        count = len(following.told.all)
        wait_for(lambda: following.hellos > hellos or not fault.drops, every_s=0.005)
        wait_for(lambda: len(following.told.all) > count, every_s=0.005)
        events = time.monotonic()
        time.sleep(3.0)  # clients ask on: what the fault leaves behind would show
        fault.undo(trial)
        clients.wait_served_by(WEST)
        wait_for(lambda: len(epochs(following)) == fault.sequences)
        assert one_each_hour(clients.signals(), followed_signals(following))
    hours = sorted({one.hour for one in clients.asked if one.hour is not None and one.began > began})
    missed = set(hours[1:]) - {hour for hour, _ in followed_signals(following)}
    longest = max(one.ended - one.began for one in clients.asked)
    seconds = (served - began, longest, events - began)
    return Cost(len(clients.asked), len(clients.failed), *seconds, skipped_minutes(following), len(missed))


def epochs(found: SocketFollower) -> set[str]:
    return {event["epoch"] for event in found.told.all}


def skipped_minutes(found: SocketFollower) -> int:
    """How many minutes of a session lie between events without a price of their own."""
    times = [datetime.fromisoformat(event["as_of"]) for event in found.told.all]
    return sum(
        max(0, int((after - before).total_seconds() / 60) - 1)
        for before, after in pairwise(times)
        if before.date() == after.date()
    )


def worst(costs: Sequence[Cost]) -> Cost:
    """Of several rounds the sum of requests and of failed ones, and the worst of everything else."""
    columns = list(zip(*(astuple(cost) for cost in costs), strict=True))
    return Cost(sum(columns[0]), sum(columns[1]), *(max(column) for column in columns[2:]))


def row(name: str, cost: Cost) -> str:
    seconds = (f"{value:.2f} s" for value in (cost.served_s, cost.longest_s, cost.events_s))
    return " | ".join((name, str(cost.gets), str(cost.failed), *seconds, str(cost.skipped), str(cost.missed)))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_each_fault_of_a_region_and_of_the_balancer_costs(tmp_path: Path) -> None:
    costs: dict[str, Cost] = {}
    with trial_of(tmp_path, NAMES) as trial:
        for name, fault in FAULTS.items():
            rounds = []
            for _ in range(ROUNDS):
                wait_whole(trial)
                rounds.append(cost_of(trial, fault))
            costs[name] = worst(rounds)
    print(f"\nof {ROUNDS} rounds: {' | '.join(COLUMNS)}", *(row(*one) for one in costs.items()), sep="\n")
    assert [name for name, cost in costs.items() if cost.failed] == ["balancer restarted"]
    assert costs["region killed"].served_s < OUT_WITHIN_S + 1
    assert costs["region cut off"].served_s < SILENT_OUT_WITHIN_S + 1
    assert [name for name, cost in costs.items() if cost.missed] == []
    assert costs["balancer reloaded"].skipped == costs["balancer restarted"].skipped == 0


# --- the command ---


def command(*words: str, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.regions", *words],
        cwd=ROOT,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_commands_without_regions_and_a_port_that_is_taken_are_said_in_a_sentence(tmp_path: Path) -> None:
    skip_without_haproxy()
    skip_without_redis_server()
    assert command("state", DATA_DIR=tmp_path).stderr == "Error: no regions run here; to start them: make regions\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = command(DATA_DIR=tmp_path, PORT=port).stderr
    assert said == f"Error: port {port} is taken; PORT names the first of others\n"


@contextmanager
def started(**settings: object) -> Iterator[subprocess.Popen[str]]:
    """The regions as `make regions` starts them, once they run."""
    running = subprocess.Popen(
        [sys.executable, "-m", "ops.regions"],
        **{"cwd": ROOT, "env": environment(**settings), "stdout": subprocess.PIPE, "text": True},
    )
    assert running.stdout is not None
    try:
        said = [running.stdout.readline() for _ in range(len(NAMES) + 2)]
        assert said[-1].startswith("Ctrl-C stops all")
        yield running
    finally:
        running.terminate()
        running.wait(PATIENCE_S)
        running.stdout.close()


def processes_of(folder: str) -> list[str]:
    return subprocess.run(["pgrep", "-f", folder], capture_output=True, text=True).stdout.split()


@pytest.mark.soak
def test_the_command_starts_regions_shows_them_and_leaves_nothing_behind() -> None:
    skip_without_haproxy()
    skip_without_redis_server()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the path of a socket must be short
        settings = {"DATA_DIR": folder, "PORT": free_port()}
        with started(**settings) as running:
            assert command("cut", WEST, **settings).stdout == "done\n"
            wait_for(lambda: re.search(rf"{WEST} +ready, cut off +DOWN", command("state", **settings).stdout))
            assert processes_of(folder)
            running.send_signal(signal.SIGINT)
            assert running.wait(PATIENCE_S) == 0
        assert processes_of(folder) == []
        assert not (Path(folder) / "regions" / "control").exists()
