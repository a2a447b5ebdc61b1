"""Replicas of the server as it is deployed, several workers each, on one Redis and one simulated provider, with requests and
sockets in processes of their own (`load_requests.py`, `load_sockets.py`), and what is to be true of what those were told."""

from __future__ import annotations

import json
import re
import signal
import statistics
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import requests

from app.market.budget import PAID_PLAN
from tests.serving.test_gunicorn import ROOT, Server, environment
from tests.serving.test_processes import Market, is_whole
from tests.waiting import PATIENCE_S, wait_for

TICKERS: Final = ("SPY", "QQQ", "IWM")
DIRECTIONS: Final = (
    *("/trading_directions", "/trading-directions?ticker=SPY"),
    *("/v2/trading-directions", "/v2/trading-directions/QQQ", "/v2/trading-directions/IWM"),
)
ANALYSES: Final = (
    *("/mtf?ticker=QQQ", "/rpe?ticker=IWM", "/swing?ticker=SPY", "/northstar?ticker=SPY", "/daily_signals"),
    *("/price_ranges?ticker=SPY", "/v2/structure/SPY", "/v2/swing/QQQ", "/v2/bars/SPY?span=5m", "/v2/status"),
)
PAST: Final = (
    "/replay?date=2025-03-10&time=13:05",
    "/v2/replay/QQQ?at=2025-03-10T13:05:00-04:00",
    "/v2/signals/SPY?limit=5",
)
PATHS: Final = (*DIRECTIONS * 6, *ANALYSES * 2, *PAST)
"""What a load asks for, by how often: answers of both versions about now, and of the past."""

OF_THE_MOMENT: Final = frozenset({"generated_at", "current_time_et", "age_s", "age_seconds"})
"""Members of an answer that say when it was made."""

TRACK_RECORD: Final = "/v2/signals/"
SLOW_S: Final = 1.0
Say = Callable[[str], None]
Told = dict[str, Any]


def port_of(server: Server) -> int:
    return int(server.base.rpartition(":")[2])


def replica(found: Market, workers: int, name: str, **variables: object) -> Server:
    """One more replica, which says its name in `X-Served-By`."""
    values: dict[str, object] = {"WEB_CONCURRENCY": workers, "RAILWAY_REPLICA_ID": name, "TRUST_PROXY": "true"}
    return found.start(**{**values, **variables})


def wait_whole(servers: Sequence[Server], workers: int = 1) -> None:
    """Until each server has the signals of all tickers, and so many workers that share the provider's calls of the plan."""
    for server in servers:
        wait_for(lambda server=server: has_signals(server), every_s=0.1)
        wait_for(lambda server=server: limits_of_calls(server) == [PAID_PLAN.calls] * workers, every_s=0.1)


def limits_of_calls(server: Server) -> list[float]:
    """By worker: a worker that could not read Redis at its start does not know the plan yet, and takes the smallest one."""
    return [
        float(n) for n in re.findall(r"^predict_budget_limit_calls(?:{.*})? (\S+)", server.get("/metrics").text, re.M)
    ]


def has_signals(server: Server) -> bool:
    assert server.process.poll() is None, server.log.read_text()
    with suppress(requests.ConnectionError, requests.Timeout, KeyError):
        return is_whole(server)
    return False


@contextmanager
def process(module: str, config: dict[str, object], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of the load; it is told to stop at the end, and has then written what it found."""
    command = [sys.executable, "-m", f"tests.serving.{module}", json.dumps(config, default=str)]
    with log.open("w") as errors:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        yield running
        if running.poll() is None:
            running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE_S) == 0, log.read_text()
    finally:
        running.kill()
        running.wait(PATIENCE_S)
        assert running.stdout is not None
        running.stdout.close()


class Requests:
    """A load of requests. all: what came of each, once the load is over."""

    def __init__(self, folder: Path, ports: Sequence[int], rate: float, **config: object) -> None:
        self._out, self._log = folder / "requests", folder / "requests.log"
        self._config: dict[str, object] = {"ports": ports, "rate": rate, "paths": PATHS, "count": None, "clients": 600}
        self._config |= {**config, "out": self._out}
        self.all: list[Told] = []

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        with process("load_requests", self._config, self._log) as running:
            yield running
        self.all = [json.loads(line) for line in self._out.read_text().splitlines()]

    def failed(self) -> list[Told]:
        """Requests without an answer, and with one that says that the server cannot; without those of `unread`."""
        unread = self.unread()
        return [one for one in self.all if (one["status"] == 0 or one["status"] >= 500) and one not in unread]

    def unread(self) -> list[Told]:
        """Requests for the track record that were refused because it is in a Redis that cannot be read: what is not seen is
        no gap."""
        return [one for one in self.all if one["status"] == 503 and one["path"].startswith(TRACK_RECORD)]

    def reasons(self) -> str:
        """Why requests failed, and which server said so."""
        reasons = Counter((one.get("by"), one.get("error") or one["body"][:160]) for one in self.failed())
        return f", failed: {reasons}" if reasons else ""

    def slowest(self) -> float:
        return max((one["took"] for one in self.all), default=0.0)

    def troubled_until(self) -> float:
        """When the last request ended that failed or was slow; 0 where none did."""
        ends = [one["at"] + one["took"] for one in (*self.failed(), *self.unread())]
        ends += [one["at"] + one["took"] for one in self.all if one["took"] > SLOW_S]
        return max(ends, default=0.0)

    def numbers(self) -> str:
        took = sorted(one["took"] for one in self.all)
        seconds = max(one["at"] for one in self.all) - min(one["at"] for one in self.all)
        median, p99 = statistics.median(took), took[int(len(took) * 0.99)]
        statuses = dict(Counter(one["status"] for one in self.all))
        return (
            f"{len(took)} requests, {len(took) / max(seconds, 0.001):.0f} a second, {statuses}, "
            f"median {1000 * median:.0f} ms, p99 {1000 * p99:.0f} ms, slowest {self.slowest():.1f} s, "
            f"{sum(one['again'] for one in self.all)} sent again, {len(self.unread())} without a track record{self.reasons()}"
        )


class Sockets:
    """Clients of Socket.IO. all: what each was told, once they are gone."""

    def __init__(self, folder: Path, ports: Sequence[int], count: int) -> None:
        self._out, self._log = folder / "sockets", folder / "sockets.log"
        self._config = {"ports": ports, "count": count, "tickers": TICKERS, "out": self._out}
        self.all: list[Told] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        with process("load_sockets", self._config, self._log) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "ready\n", self._log.read_text()
            yield
        self.all = json.loads(self._out.read_text())

    def sequences(self, ticker: str) -> list[list[list[Any]]]:
        return [one["events"][ticker] for one in self.all]

    def lost(self) -> int:
        """Events that a client was not told though it was told of a later one of the same sequence."""
        rows = [rows for one in self.all for rows in one["events"].values()]
        return sum(lost_between(before, after) for told in rows for before, after in pairwise(told))

    def repeated(self) -> int:
        """Numbered events that a client was told twice."""
        rows = [rows for one in self.all for rows in one["events"].values()]
        return sum(sum(n - 1 for n in Counter(map(place, filter(is_numbered, told))).values()) for told in rows)

    def snapshots(self) -> Counter[str]:
        """Snapshots after the first one, by what they say was missed."""
        rows = [rows[1:] for one in self.all for rows in one["events"].values()]
        return Counter(str(row[3]) for told in rows for row in told if row[0] == "snapshot")

    def away_s(self) -> float:
        """The longest time between the end of a connection and the beginning of its next one."""
        return max((back - gone for one in self.all for gone, back in one["breaks"]), default=0.0)

    def reconnects(self) -> int:
        return sum(len(one["breaks"]) for one in self.all)

    def check_same(self) -> Counter[str]:
        """At each place of a sequence everyone was told the same bytes, and nobody missed one up to where it came to. Returns
        how many events there were, by kind."""
        kinds: Counter[str] = Counter()
        for ticker in TICKERS:
            told: dict[tuple[str, int], set[str]] = defaultdict(set)
            for rows in self.sequences(ticker):
                for row in filter(is_numbered, rows):
                    told[place(row)].add(row[4])
            assert all(len(digests) == 1 for digests in told.values()), ticker
            kinds.update(
                {place(row): row[0] for rows in self.sequences(ticker) for row in filter(is_numbered, rows)}.values()
            )
        assert self.repeated() == 0
        return kinds


def is_numbered(row: Sequence[Any]) -> bool:
    return row[0] != "snapshot"


def place(row: Sequence[Any]) -> tuple[str, int]:
    return row[1], row[2]


def lost_between(before: Sequence[Any], after: Sequence[Any]) -> int:
    """How many events are missing between two that a client was told. A snapshot of another sequence says why; one of the same
    sequence stands for what was skipped, which is lost all the same."""
    if before[1] != after[1]:
        return 0
    return int(after[2] - before[2] - is_numbered(after))


def without(members: Collection[str], value: Any) -> Any:
    """A body without some members, wherever they stand in it."""
    if isinstance(value, dict):
        return {name: without(members, part) for name, part in value.items() if name not in members}
    return [without(members, part) for part in value] if isinstance(value, list) else value


def lock_of(body: Told) -> str:
    """The signals of an answer: which hours they are of, and all that is locked with them."""
    if "tickers" in body:
        return json.dumps({name: entry.get("locked_at") for name, entry in body["tickers"].items()})
    signals = body.get("signals", [body])
    return json.dumps({one["ticker"]: one["lock"]["locked_at"] for one in signals})


def bars_of(body: Told) -> str:
    """Which bars an answer rests on: the end of the newest one, and the price of each ticker, since they come one by one."""
    if "tickers" in body:
        prices = {name: entry["current_price"] for name, entry in body["tickers"].items()}
        return json.dumps([body["data_status"]["as_of"], prices])
    signals = body.get("signals", [body])
    return json.dumps([(one["as_of"], one["prices"]["now"]) for one in signals])


def variants(answers: Sequence[Told]) -> dict[tuple[str, ...], Counter[str]]:
    """The bodies of trading directions without what says when they were made, by path, hour, newest bars
    and locked hours. At the turn of an hour the signal of the hour before stands until the next is there."""
    found: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for one in answers:
        if one["path"] in DIRECTIONS and one["status"] == 200:
            body = json.loads(one["body"])
            key = one["path"], body["generated_at"][:13], bars_of(body), lock_of(body)
            found[key][json.dumps(without(OF_THE_MOMENT, body))] += 1
    return found


def decided(answers: Sequence[Told]) -> dict[tuple[str, str], set[str]]:
    """What was locked, by ticker and moment of the lock, as all answers of both versions say it."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for one in answers:
        if one["path"] in DIRECTIONS and one["status"] == 200:
            for ticker, locked_at, signal_ in signals_of(json.loads(one["body"])):
                if locked_at is not None:
                    found[ticker, locked_at].add(json.dumps(signal_))
    return found


def signals_of(body: Told) -> Iterator[tuple[str, str | None, tuple[float, float]]]:
    """Ticker, moment of the lock, and two probabilities, which both versions round alike."""
    if "tickers" in body:
        for ticker, entry in body["tickers"].items():
            yield ticker, entry["locked_at"], (entry["probability_a"], entry["probability"])
    else:
        for one in body.get("signals", [body]):
            yield one["ticker"], one["lock"]["locked_at"], (one["probability_a"], one["probability"])
