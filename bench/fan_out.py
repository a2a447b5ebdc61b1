"""How fast one event reaches all who follow, beside peers: `python -m bench.fan_out [CLIENTS...]`; `make bench` prints it too.

Every server is alone on one core while it is measured, with all its clients, which one thread on the other core plays; they
check every byte (bench/crowd.py). An event of 600 bytes is started by a byte on a connection of its own, the same way in every
server. Where the rate is measured there are always PIPELINE events under way, so that the server never waits; latencies are
measured with an event every EVENT_EVERY_S. Rounds go through the servers in turn, and ratios are made within a round. Memory
is that of clients that offer compression, as browsers do; in the rounds none is offered, so that no row pays for it.

`python -m bench.fan_out profile [ROW...]` prints where the time of a row goes.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import door, events
from bench.crowd import Broken, Crowd, percentiles
from bench.fan_out_servers import ROWS, NotMeasured, Row, Server, Starter
from bench.serving import machine

COUNTS = (500, 1000, 2000)
ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = 1.5
PIPELINE = 4
EVENTS, EVENT_EVERY_S = 4, 0.25
FEW, MEMORY_EVENTS = 20, 20
PAUSE_S = 0.001
"""Between two looks of the clients at full rate, so that they read from many at a time."""

LOAD_BOUND = 0.8
PROFILED = 1000
"""Clients of a profile."""


@dataclass(frozen=True, slots=True)
class Musts:
    """The bounds: one row's figures beside another's. rate: deliveries a second at least, in the other's; us: processor time
    of a delivery at most; kb: of a connection at most."""

    one: str
    other: str
    rate: Mapping[int, float]
    us: Mapping[int, float]
    kb: float


MUSTS = (
    Musts("a", "d", {500: 0.95, 1000: 1.0, 2000: 0.95}, {1000: 1.0}, 55.0),
    Musts("f", "g", dict.fromkeys(COUNTS, 2.5), {}, 25.0),
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found. us: the server's processor time for a delivery; load: the clients' share of their core."""

    rate: float
    us: float
    p50_ms: float
    p99_ms: float
    load: float


Found = dict[str, list[Round]]


@dataclass(slots=True)
class Table:
    """The figures of one number of clients. kb: of a connection, by row; wrong: a sentence for each row that failed."""

    clients: int
    rounds: Found = field(default_factory=dict)
    kb: dict[str, float] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)


def main(counts: Sequence[int] = COUNTS, keys: Sequence[str] = tuple(ROWS)) -> None:
    """Run all rows that can be run here and print a table for each number of clients."""
    if not Path("/proc/self/statm").exists():
        print("the fan-out is measured on Linux alone")
        return
    _prepare()
    with tempfile.TemporaryDirectory() as folder:
        starter = Starter(Path(folder))
        rows = starter.possible([ROWS[key] for key in keys])
        tables = [_measured(rows, starter, count) for count in counts]
    print(f"{machine()}; Node {starter.node_version or 'missing'}; events of {events.BYTES} bytes")
    print(
        f"{ROUNDS} rounds of {SECONDS} s at full rate with {PIPELINE} events under way, and of {EVENTS} events, one each "
        f"{EVENT_EVERY_S} s; {_pinning()}; median (min .. max)"
    )
    for table in tables:
        _print(table, rows)
    if any(table.wrong for table in tables):
        raise SystemExit(1)


def _prepare() -> None:
    """The core of the load, and as many open files as the system allows."""
    if door.can_pin():
        os.sched_setaffinity(0, {door.LOAD_CORE})
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _pinning() -> str:
    return "server on a core, clients on another" if door.can_pin() else "servers and clients share the cores"


def _measured(rows: Sequence[Row], starter: Starter, count: int) -> Table:
    """Memory of each row, and then the rounds."""
    table = Table(count)
    for row in rows:
        with _noted(table, row), starter.running(row) as server:
            table.kb[row.key] = _kb_each(server, count)
    with ExitStack() as stack:
        crowds: dict[str, tuple[Server, Crowd]] = {}
        for row in rows:
            with _noted(table, row):
                server = stack.enter_context(starter.running(row))
                crowds[row.key] = server, server.crowd(count)
            _tend(crowds, table)
        for _ in range(ROUNDS):
            for row in rows:
                if row.key not in table.wrong:
                    with _noted(table, row):
                        found = _round(*crowds[row.key])
                        table.rounds.setdefault(row.key, []).append(found)
                    _tend(crowds, table)
        for _, crowd in crowds.values():
            crowd.close()
    return table


@contextmanager
def _noted(table: Table, row: Row) -> Iterator[None]:
    try:
        yield
    except (Broken, NotMeasured, OSError) as exc:
        table.wrong.setdefault(row.key, f"({row.key}) {row.label}, {table.clients} clients: {exc}")


def _tend(crowds: Mapping[str, tuple[Server, Crowd]], table: Table) -> None:
    """The clients of servers that are not measured answer their pings."""
    for key, (_, crowd) in crowds.items():
        if key not in table.wrong:
            with _noted(table, ROWS[key]):
                crowd.pump(0)


def _kb_each(server: Server, count: int) -> float:
    """Resident memory that a connection adds, once it has had events."""
    few = server.crowd(FEW, compression=True)
    before = server.resident_kb()
    crowd = server.crowd(count - FEW, compression=True)
    for _ in range(MEMORY_EVENTS):
        few.triggered()
        server.trigger(crowd)
        crowd.wait()
    after = server.resident_kb()
    for each in (few, crowd):
        each.close()
    return (after - before) / (count - FEW)


def _round(server: Server, crowd: Crowd) -> Round:
    rate, us, load = saturated(server, crowd, SECONDS)
    p50, p99 = percentiles(latencies_ms(server, crowd))
    return Round(rate, us, p50, p99, load)


def saturated(server: Server, crowd: Crowd, seconds: float) -> tuple[float, float, float]:
    """Deliveries a second, the server's processor time for each in microseconds, and the clients' share of their core."""
    began, used, own, delivered = time.perf_counter(), _processor_s(server.pid), time.process_time(), crowd.delivered
    while time.perf_counter() - began < seconds:
        while crowd.under_way < PIPELINE:
            server.trigger(crowd)
        if crowd.pump(0.05) < FEW:
            time.sleep(PAUSE_S)
    took, used = time.perf_counter() - began, _processor_s(server.pid) - used
    own, delivered = time.process_time() - own, crowd.delivered - delivered
    crowd.wait()
    return delivered / took, 1e6 * used / max(delivered, 1), own / took


def latencies_ms(server: Server, crowd: Crowd, count: int = EVENTS) -> list[float]:
    """From the start of an event to each client."""
    found: list[float] = []
    for _ in range(count):
        crowd.pump_for(EVENT_EVERY_S)
        crowd.stamps.clear()
        began = time.perf_counter()
        server.trigger(crowd)
        crowd.wait()
        found += [1000 * (stamp - began) for stamp in crowd.stamps]
    crowd.stamps.clear()
    return found


def _processor_s(pid: int) -> float:
    """Seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _print(table: Table, rows: Sequence[Row]) -> None:
    print(f"{table.clients} clients")
    head = f"{'deliveries/s':>24} {'us each':>8} {'p50 ms':>7} {'p99 ms':>7} {'KB each':>8} {'load':>5}"
    print(f"{'row':54} {head} {'ratio of rates':>24}")
    for row in rows:
        rounds = table.rounds.get(row.key)
        if rounds is None or row.key in table.wrong:
            print(table.wrong.get(row.key, f"({row.key}) {row.label}: not measured"))
            continue
        rate = door.spread([each.rate for each in rounds], ".0f")
        us, p50, p99 = (_median(rounds, name) for name in ("us", "p50_ms", "p99_ms"))
        load = max(each.load for each in rounds)
        other = "g" if row.key in ("f", "g") else "d"
        ratio = door.spread(_ratios(table.rounds, row.key, other), ".2f") if other in table.rounds else "-"
        mark = "" if load <= LOAD_BOUND else "  the clients' core is full: a lower bound"
        figures = f"{rate:>24} {us:8.1f} {p50:7.1f} {p99:7.1f} {table.kb[row.key]:8.1f} {load:5.2f}"
        print(f"{f'({row.key}) {row.label}':54} {figures} {f'({other}) {ratio}':>24}{mark}")
    for musts in MUSTS:
        _print_verdict(table, musts)


def _print_verdict(table: Table, musts: Musts) -> None:
    one, other, clients = musts.one, musts.other, table.clients
    if not {one, other} <= set(table.rounds) or {one, other} & set(table.wrong):
        return
    ratio = statistics.median(_ratios(table.rounds, one, other))
    words = [_verdict("rate", ratio, ratio >= musts.rate.get(clients, 0.0), f"at least {musts.rate.get(clients, 0.0)}")]
    pairs = zip(table.rounds[one], table.rounds[other], strict=True)
    us = statistics.median(mine.us / theirs.us for mine, theirs in pairs)
    most = musts.us.get(clients)
    words.append(
        f"time of a delivery {us:.2f}"
        if most is None
        else _verdict("time of a delivery", us, us <= most, f"at most {most}")
    )
    kb = table.kb[one]
    words.append(_verdict("KB a connection", kb, kb <= musts.kb, f"at most {musts.kb:.0f}"))
    print(f"({one}) beside ({other}): {'; '.join(words)}")


def _verdict(name: str, value: float, is_met: bool, bound: str) -> str:
    return f"{name} {value:.2f}, {bound}: {'met' if is_met else 'NOT met'}"


def _median(rounds: Sequence[Round], name: str) -> float:
    return statistics.median(getattr(each, name) for each in rounds)


def _ratios(found: Found, one: str, other: str) -> list[float]:
    """Of the rates, within each round."""
    return [mine.rate / theirs.rate for mine, theirs in zip(found[one], found[other], strict=False)]


def profile(keys: Sequence[str]) -> None:
    """Where the time of each row goes at full rate."""
    _prepare()
    with tempfile.TemporaryDirectory() as folder:
        starter = Starter(Path(folder))
        for row in starter.possible([ROWS[key] for key in keys]):
            with starter.running(row) as server:
                stacks = _sampled_at_full_rate(server, Path(folder) / f"{row.key}.raw")
            door.print_profile(f"({row.key}) {row.label}", stacks)


def _sampled_at_full_rate(server: Server, raw: Path) -> Counter[tuple[str, ...]]:
    if door.peers_python() is None:
        raise SystemExit("py-spy is missing: no profile")
    found: list[Counter[tuple[str, ...]]] = []
    sampling = threading.Thread(
        target=lambda: found.append(door.sampled(door.PEERS / "bin" / "py-spy", server.pid, raw))
    )
    crowd = server.crowd(PROFILED)
    sampling.start()
    saturated(server, crowd, door.PROFILE_SECONDS + 1)
    sampling.join()
    crowd.close()
    return found[0]


MODES: Mapping[str, Callable[[Sequence[str]], None]] = {"profile": lambda keys: profile(keys or ("a", "f"))}

if __name__ == "__main__":
    first, *rest = sys.argv[1:] or [""]
    if first in MODES:
        MODES[first](rest)
    else:
        numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
        main(numbers or COUNTS, [word for word in sys.argv[1:] if word in ROWS] or tuple(ROWS))
