"""v2 and its streams, in one server on its core: v2's kept answer beside v1's, stages beside the plain answer, a hot GET beside
a client that replays a whole day of three tickers, and the first byte of a replay whose bars take a second a call.

`python -m bench.streams` prints the table alone. Ratios are made within a round.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests

from bench import door
from bench.serving import machine

ROUNDS, SECONDS, ASKED = 5, 4, 40
TICKERS = ("SPY", "QQQ", "IWM")
DAY = "from=2024-06-11T09:30:00-04:00&to=2024-06-11T16:00:00-04:00&step=1"
UNLIMITED = {"STREAMS_PER_CLIENT": "1000"}
ROW = door.Row("v2", "this server", "app", environment=UNLIMITED)


class Row(NamedTuple):
    """A line of the table: two figures of each round, the second beside the first. unit: of both."""

    name: str
    unit: str
    pairs: list[tuple[float, float]]


def main() -> None:
    """Run the rounds and print the table."""
    if door.can_pin():
        os.sched_setaffinity(0, {door.LOAD_CORE})
    with tempfile.TemporaryDirectory() as folder, door.collector() as collector:
        place = door.Place(Path(folder), door.imported(Path(folder)), None, None, collector)
        with door.running(ROW, place) as (server, url):
            base = url.removesuffix(door.QUERY)
            measures = (_kept(server, base), _stages(base), _first_byte(base), _turns(server, base))
            rows = [Row(name, unit, [measure() for _ in range(ROUNDS)]) for name, unit, measure in measures]
    print(f"{machine()}; market: {'recorded' if place.recorded else 'demo'}; {ROUNDS} rounds; median (min .. max)")
    print(f"{'one beside the other':72} {'one':>9} {'other':>9} {'':4} {'ratio':>22}")
    for row in rows:
        ones, others = zip(*row.pairs, strict=True)
        ratio = door.spread([other / one for one, other in row.pairs], ".2f")
        print(f"{row.name:72} {statistics.median(ones):9.2f} {statistics.median(others):9.2f} {row.unit:4} {ratio:>22}")


Measure = tuple[str, str, Callable[[], tuple[float, float]]]


def _kept(server: subprocess.Popen[bytes], base: str) -> Measure:
    def measure() -> tuple[float, float]:
        one, other = (door.load(server, base + path, SECONDS) for path in (door.QUERY, "/v2/trading-directions/SPY"))
        return one.rate, other.rate

    return "kept answers: v1's one-ticker answer, v2's signal", "/s", measure


def _stages(base: str) -> Measure:
    def measure() -> tuple[float, float]:
        return _median_ms(base, _moments("/v2/replay/SPY?at=")), _median_ms(
            base, ["/v2/trading-directions/SPY/stream"] * ASKED
        )

    return "a computed answer (replay of a moment), the stream to its last byte", "ms", measure


def _first_byte(base: str) -> Measure:
    def measure() -> tuple[float, float]:
        paths = ["/v2/trading-directions/SPY/stream"] * ASKED
        return _median_ms(base, paths), _median_ms(base, paths, whole=False)

    return "the stream: to its last byte, to its first line", "ms", measure


def _turns(server: subprocess.Popen[bytes], base: str) -> Measure:
    def measure() -> tuple[float, float]:
        url = f"{base}/v2/trading-directions/SPY"
        alone = door.load(server, url, SECONDS)
        with _replaying(base):
            beside = door.load(server, url, SECONDS)
        return alone.p99_ms, beside.p99_ms

    return "99th percentile of kept GETs: alone, beside day replays of three tickers", "ms", measure


@contextmanager
def _replaying(base: str) -> Iterator[None]:
    """One client streams the whole day of three tickers at a time, over and over, in a process of its own."""
    command = door.pinned(door.LOAD_CORE, [sys.executable, "-m", "bench.streams", "replay", base])
    client = subprocess.Popen(command)
    try:
        time.sleep(0.5)
        yield
    finally:
        client.kill()
        client.wait()


def replay(base: str) -> None:
    """Streams the day of three tickers at a time until the process is killed."""

    def stream(ticker: str) -> None:
        with requests.Session() as session:
            while True:
                with session.get(f"{base}/v2/replay/{ticker}?{DAY}", stream=True, timeout=60) as answer:
                    for _ in answer.iter_content(1 << 16):
                        pass

    for ticker in TICKERS:
        threading.Thread(target=stream, args=(ticker,)).start()


def _moments(path: str) -> list[str]:
    """Moments of a day that is over, each another one."""
    return [f"{path}2024-06-11T{10 + n // 12}:{n % 12 * 5:02}:00-04:00" for n in range(ASKED)]


def _median_ms(base: str, paths: Sequence[str], *, whole: bool = True) -> float:
    """How long an answer takes, to its last byte, or to its first."""
    found = []
    with requests.Session() as session:
        for path in paths:
            began = time.perf_counter()
            with session.get(base + path, stream=True, timeout=60) as answer:
                answer.raise_for_status()
                received = answer.iter_content(1 << 16)
                next(received)
                took = time.perf_counter() - began
                for _ in received:
                    pass
            found.append(time.perf_counter() - began if whole else took)
    return statistics.median(found) * 1000


if __name__ == "__main__":
    if sys.argv[1:2] == ["replay"]:
        replay(sys.argv[2])
    else:
        main()
