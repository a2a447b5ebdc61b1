"""What a ticker costs: this server with 3, 30 and 100 tickers in one process, each followed by one client.

`python -m bench.tickers [COUNT...]` starts a Redis, the simulated provider, and the real server with that many tickers
(synthetic prices, SPY's model) on a market clock that begins at START. It listens to all tickers for MINUTES, which are minutes
of real time; a decision hour is the second of them. The product has three tickers, and its bounds are made for three: they are
raised in the process that is measured, unless BOUNDS=0.

Told after: seconds from the end of a minute until the last ticker was told of it. Processor time is that of the server alone.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import redis
import requests

from bench import door
from bench.peers.more_tickers import names
from bench.serving import child_of, free_port, machine

COUNTS: Final = (3, 30, 100)
START: Final = datetime.fromisoformat(os.environ.get("START", "2025-03-11T10:57:00-04:00"))
WARM_S: Final = float(os.environ.get("WARM_S", "90"))
MINUTES: Final = int(os.environ.get("MINUTES", "5"))
MARK: Final = 30
"""The second of a minute at which what was spent is looked at: all have been told of the minute by then."""

RAISED: Final = os.environ.get("BOUNDS", "1") == "1"
CONNECTIONS: Final = 64
"""To Redis, where the bounds are raised: all broadcasters ask at the same moment."""

OURS: Final[Mapping[str, str]] = {
    "MARKET": "polygon",
    "POLYGON_API_KEY": "simulated",
    "LOG_LEVEL": "WARNING",
    "HOST": "127.0.0.1",
    "STREAMS_PER_CLIENT": "1000",
    "MAX_CONNECTIONS_PER_ADDRESS": "1000",
    **{f"RATE_LIMIT_{group}": "100000000" for group in ("DIRECTIONS", "ANALYSIS", "REPLAY", "STREAMS", "OTHER")},
}


@dataclass(slots=True)
class Told:
    """at: by the end of each minute, the moments (market time) at which each ticker was told of it first."""

    at: dict[datetime, dict[str, datetime]] = field(default_factory=dict)
    events: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """Totals at a moment: the server's processor time, and what Redis counted."""

    processor_s: float
    commands: int
    redis_in: int
    redis_out: int


@dataclass(frozen=True, slots=True)
class Table:
    """What one number of tickers costs. minutes: what each minute took; told_s: how long after its end its last ticker was told
    of it; untold: tickers that were told nothing of a minute; calls: to the provider, by kind."""

    count: int
    minutes: Sequence[Spent]
    told_s: Sequence[float]
    untold: int
    calls: Mapping[str, float]
    mib: float
    waits_s: Sequence[float]
    events: int
    received: int


def main(counts: Sequence[int] = COUNTS) -> None:
    """Measure each number of tickers and print a line for it."""
    if not Path("/proc/self/stat").exists():
        print("what a ticker costs is measured on Linux alone")
        return
    with tempfile.TemporaryDirectory() as folder, door.redis_server(Path(folder)) as address:
        if address is None:
            return
        tables = [_measured(count, Path(folder) / str(count), address) for count in counts]
    print(
        f"{machine()}; bounds {'raised' if RAISED else 'as shipped'}; {MINUTES} minutes of the market at its own speed"
    )
    _print(tables)


def _measured(count: int, folder: Path, address: str) -> Table:
    folder.mkdir()
    redis.Redis.from_url(address).flushall()
    with _served(count, folder, address) as (pid, port, began):
        crowd = Listeners(names(count), port, began)
        crowd.listen_until(START + timedelta(seconds=WARM_S))
        minute = crowd.now().replace(second=0, microsecond=0)
        crowd.listen_until(minute + timedelta(seconds=MARK))
        before, marks, ends = _calls(port), [_spent(pid, address)], []
        with _asking(port) as waits:
            while len(ends) < MINUTES:
                ends.append(minute := minute + timedelta(minutes=1))
                crowd.listen_until(minute + timedelta(seconds=MARK))
                marks.append(_spent(pid, address))
        calls = {kind: total - before.get(kind, 0.0) for kind, total in _calls(port).items()}
        mib = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
        crowd.close()
    told = crowd.told
    return Table(
        count,
        [_between(one, other) for one, other in pairwise(marks)],
        [_last_s(told, end) for end in ends],
        sum(count - len(told.at.get(end, {})) for end in ends),
        calls,
        mib,
        waits,
        told.events,
        told.received,
    )


def _last_s(told: Told, end: datetime) -> float:
    """Seconds from the end of a minute until its last ticker was told of it."""
    return max(((at - end).total_seconds() for at in told.at.get(end, {}).values()), default=float("nan"))


def _between(one: Spent, other: Spent) -> Spent:
    return Spent(
        other.processor_s - one.processor_s,
        other.commands - one.commands,
        other.redis_in - one.redis_in,
        other.redis_out - one.redis_out,
    )


@contextmanager
def _served(count: int, folder: Path, address: str) -> Iterator[tuple[int, int, float]]:
    """The worker's id, its port, and when the clock began; with a provider of its own."""
    began, port, provider = time.time(), free_port(), free_port()
    around = {name: value for name, value in os.environ.items() if name not in door.OURS} | OURS
    around |= {"TICKERS": str(count), "START": START.isoformat(), "BEGAN": str(began), "BOUNDS": str(int(RAISED))}
    connections = f"?max_connections={CONNECTIONS}" if RAISED else ""
    around |= {"REDIS_URL": f"{address}{connections}", "DATA_DIR": str(folder), "PORT": str(port)}
    around |= {"POLYGON_BASE_URL": f"http://127.0.0.1:{provider}"}
    answering = [sys.executable, "-m", "bench.peers.many_tickers_provider", str(provider)]
    serving = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "bench.peers.many_tickers:app"]
    with (folder / "log").open("wb") as log:
        started = [
            subprocess.Popen(command, env=around, cwd=door.ROOT, stdout=log, stderr=log)
            for command in (door.pinned(door.LOAD_CORE, answering), door.pinned(door.SERVER_CORE, serving))
        ]
    try:
        _wait(port, folder / "log")
        yield child_of(started[1].pid), port, began
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)


def _wait(port: int, log: Path) -> None:
    for _ in range(600):
        try:
            if requests.get(f"http://127.0.0.1:{port}/livez", timeout=60).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise SystemExit(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


def _spent(pid: int, address: str) -> Spent:
    told: Any = redis.Redis.from_url(address).info("stats")
    totals = (told[f"total_{name}"] for name in ("commands_processed", "net_input_bytes", "net_output_bytes"))
    return Spent(door.processor_s([pid]) or 0.0, *totals)


def _calls(port: int) -> Counter[str]:
    """Calls to the provider so far, by kind."""
    found: Counter[str] = Counter()
    for line in requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text.splitlines():
        if line.startswith("predict_polygon_call_seconds_count{"):
            found[line.partition('kind="')[2].partition('"')[0]] += int(float(line.rpartition(" ")[2]))
    return found


@contextmanager
def _asking(port: int) -> Iterator[list[float]]:
    """Seconds that each of two hot GETs a second waits for its answer."""
    waits: list[float] = []
    is_over = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not is_over.wait(0.5):
                began = time.perf_counter()
                session.get(f"http://127.0.0.1:{port}{door.QUERY}", timeout=60)
                waits.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield waits
    finally:
        is_over.set()
        asking.join()


class Listeners:
    """One client for each ticker, which follows it. `told` is what they heard."""

    def __init__(self, tickers: Sequence[str], port: int, began: float) -> None:
        self.told = Told()
        self._began = began
        self._selector = selectors.DefaultSelector()
        for ticker in tickers:
            sock = socket.create_connection(("127.0.0.1", port), 60)
            path = f"/v2/trading-directions/{ticker}/stream?follow=true"
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, [ticker, b""])

    def now(self) -> datetime:
        """The market's time."""
        return START + timedelta(seconds=time.time() - self._began)

    def listen_until(self, end: datetime) -> None:
        while (left := (end - self.now()).total_seconds()) > 0:
            for key, _ in self._selector.select(left):
                self._read(key.fileobj, key.data)

    def _read(self, sock: Any, state: list[Any]) -> None:
        data = sock.recv(1 << 20)
        if not data:
            raise SystemExit(f"the stream of {state[0]} ended: {state[1][-300:]!r}")
        self.told.received += len(data)
        *lines, state[1] = (state[1] + data).split(b"\n")
        for line in lines:
            if line.startswith(b'{"kind":'):
                self._note(state[0], json.loads(line))

    def _note(self, ticker: str, event: Mapping[str, Any]) -> None:
        self.told.events += 1
        if event.get("as_of"):
            self.told.at.setdefault(datetime.fromisoformat(event["as_of"]), {}).setdefault(ticker, self.now())

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


def _print(tables: Sequence[Table]) -> None:
    head = f"{'CPU s a minute':>21} {'told after s':>20} {'untold':>7} {'calls':>6}"
    print(f"{'tickers':>7} {head} {'commands':>9} {'KB to Redis':>12} {'KB from it':>11} {'MiB':>6} {'GET p99 ms':>11}")
    for each in tables:
        _print_row(each)
    if len(tables) > 1:
        few, many = tables[0], tables[-1]
        cpu, mib, more = _median(many)[0] - _median(few)[0], many.mib - few.mib, many.count - few.count
        print(f"each further ticker: {1000 * cpu / more:.1f} ms of processor time a minute, {mib / more:.2f} MiB")


def _print_row(each: Table) -> None:
    _, commands, sent, got = _median(each)
    calls = sum(each.calls.values()) / MINUTES
    p99 = 1000 * statistics.quantiles(each.waits_s, n=100)[98]
    cpu = door.spread([minute.processor_s for minute in each.minutes], ".2f")
    told = f"{door.spread(each.told_s, '.1f'):>20} {each.untold:7} {calls:6.1f}"
    through = f"{commands:9.0f} {sent / 1e3:12.0f} {got / 1e3:11.0f}"
    print(f"{each.count:7} {cpu:>21} {told} {through} {each.mib:6.0f} {p99:11.1f}")
    print(f"{'':7} all calls: {dict(each.calls)}; {each.events} events, {each.received / 1e6:.1f} MB to the clients")


def _median(table: Table) -> Sequence[float]:
    """Of a minute: processor time, commands, bytes to Redis and from it."""
    columns = ((each.processor_s, each.commands, each.redis_in, each.redis_out) for each in table.minutes)
    return [statistics.median(column) for column in zip(*columns, strict=True)]


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or COUNTS)
