"""Start-up, memory, first and warm answers of the real server: gunicorn as its own process, asked over loopback.

Recorded bars where MARKET_DATA has them (13:30 of 2024-06-12), else the demo market. Every round is a new server on a
new DATA_DIR, with nothing in the cache and nothing in the record; what its follower has done before the first request
comes is part of what a client sees.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

ROUNDS = 7
WARM = 300
MARKET_DATA = Path(os.environ.get("MARKET_DATA", "../shared/market"))
SERIES = [f"{ticker}_{span}.parquet" for ticker in ("SPY", "QQQ", "IWM") for span in ("5min", "1day", "1min")]


def main() -> None:
    """Run the rounds and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        recorded = imported(Path(folder))
        rounds = [_round(Path(folder) / str(n), recorded) for n in range(ROUNDS)]
    print(f"{machine()}; market: {'recorded' if recorded else 'demo'}; {ROUNDS} rounds; median (min .. max)")
    for name, unit in rounds[0]:
        values = [found[name, unit] for found in rounds]
        print(f"{name:52} {statistics.median(values):9.1f} {unit:3} ({min(values):.1f} .. {max(values):.1f})")


def imported(folder: Path) -> Path | None:
    files = [MARKET_DATA / name for name in SERIES]
    if not all(file.exists() for file in files):
        print(f"no recorded bars in {MARKET_DATA}: the demo market is measured instead")
        return None
    done = subprocess.run(
        [sys.executable, "-m", "app", "import", *map(str, files)],
        env={**os.environ, "DATA_DIR": str(folder)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"the recorded bars could not be imported: {done.stderr.strip().rpartition(chr(10))[2]}")
    return folder / "recorded.sqlite3"


def _round(data_dir: Path, recorded: Path | None) -> dict[tuple[str, str], float]:
    data_dir.mkdir()
    environment = {**os.environ, "DATA_DIR": str(data_dir), "PORT": str(free_port()), "MARKET": "demo"}
    if recorded is not None:
        shutil.copy(recorded, data_dir / "recorded.sqlite3")
        environment |= {"MARKET": "recorded", "CLOCK": "2024-06-12T13:30"}
    began = time.perf_counter()
    server = subprocess.Popen([sys.executable, "-m", "app", "serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        return _measure(server, began, f"http://127.0.0.1:{environment['PORT']}")
    finally:
        server.terminate()
        server.wait(30)


def _measure(server: subprocess.Popen[bytes], began: float, base: str) -> dict[tuple[str, str], float]:
    session = requests.Session()
    _wait(session, base)
    started = time.perf_counter() - began
    worker = child_of(server.pid)
    idle = _resident_mib(worker)
    one = _timed(session, f"{base}/trading-directions?ticker=SPY")
    rest = _timed(session, f"{base}/trading-directions")
    warm = [_timed(session, f"{base}/trading-directions") for _ in range(WARM)]
    return {
        ("start to ready", "s"): started,
        ("resident memory of the worker, idle", "MiB"): idle,
        ("first answer after the start, one ticker", "ms"): one * 1000,
        ("second answer, all tickers", "ms"): rest * 1000,
        ("warm answer, three tickers, median", "ms"): statistics.median(warm) * 1000,
        ("resident memory of the worker, after", "MiB"): _resident_mib(worker),
    }


def _wait(session: requests.Session, base: str) -> None:
    for _ in range(600):
        try:
            if session.get(f"{base}/readyz", timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.02)
    raise SystemExit("the server did not start")


def _timed(session: requests.Session, url: str) -> float:
    began = time.perf_counter()
    response = session.get(url, timeout=60)
    took = time.perf_counter() - began
    response.raise_for_status()
    return took


def child_of(pid: int) -> int:
    """The first child of a process. Raises StopIteration without one."""
    return next(iter(children_of(pid)))


def children_of(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in found.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


def machine_s() -> float | None:
    """Seconds of processor time that all work on the machine has had, where /proc tells."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _resident_mib(pid: int) -> float:
    found = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(found.stdout) / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def machine() -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    cores = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{cores}; commit {commit.stdout.strip() or 'unknown'}"
