"""Two workers beside one: requests a second of a hot GET, with Redis for everything.

`python -m bench.workers` prints the table alone. Nothing is pinned: workers, wrk and Redis share the processors, as they do on
one machine. Rounds go through both servers in turn, and ratios are made within a round. Beside the rate stands the processor
time of a request, that of the workers and that of wrk and Redis: where two workers fill two processors, what wrk and Redis
take is missing to the workers. Rounds in which other work took more than OTHERS of the processors are counted and left out.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import redis

from bench import door
from bench.serving import machine, machine_s

ROUNDS: Final = int(os.environ.get("ROUNDS", "6"))
SECONDS: Final = 2
COUNTS: Final = (1, 2)
AIM: Final = 1.7
OTHERS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Round:
    """What one round found. wrk_us, redis_us: their processor time for a request; largest: the share of the busiest worker;
    others: the share of the processors that other work had."""

    load: door.Load
    wrk_us: float
    redis_us: float
    largest: float
    others: float


def main() -> None:
    """Run the rounds and print the table."""
    rows = [_row(count) for count in COUNTS]
    with door.prepared(rows) as place, ExitStack() as stack:
        if place is None or place.redis is None:
            print("two workers need Redis and wrk: not measured")
            return
        served = [(row, *stack.enter_context(door.running(row, place))) for row in rows]
        asked: Any = redis.Redis.from_url(place.redis)
        for _, server, url in served:
            door.load(server, url, SECONDS, alone=False)
        found: dict[str, list[Round]] = {row.key: [] for row in rows}
        for _ in range(ROUNDS):
            for row, server, url in served:
                found[row.key].append(_round(server, url, asked))
    print(f"{machine()}; {ROUNDS} rounds of {SECONDS} s, wrk with {door.CONNECTIONS} connections; nothing is pinned")
    pairs = [pair for pair in zip(*found.values(), strict=True) if max(each.others for each in pair) <= OTHERS]
    print(f"rounds that other work disturbed, and that are left out: {ROUNDS - len(pairs)}")
    if pairs:
        _print(pairs, [row.label for row in rows])


def _row(count: int) -> door.Row:
    label = f"{count} worker{'s' if count > 1 else ''}"
    return door.Row(str(count), label, "app", redis=True, environment={"WEB_CONCURRENCY": str(count)}, alone=False)


def _round(server: subprocess.Popen[bytes], url: str, asked: Any) -> Round:
    workers = door.workers_of(server)
    before = [door.processor_s([pid]) or 0.0 for pid in workers]
    wrk, in_redis, began, whole = _ended_s(), _redis_s(asked), time.perf_counter(), machine_s()
    load = door.load(server, url, SECONDS, alone=False)
    wrk, in_redis, answered = _ended_s() - wrk, _redis_s(asked) - in_redis, load.rate * SECONDS
    spent = [(door.processor_s([pid]) or 0.0) - earlier for pid, earlier in zip(workers, before, strict=True)]
    took, whole = time.perf_counter() - began, (machine_s() or 0.0) - (whole or 0.0)
    others = max(whole - wrk - in_redis - sum(spent), 0.0) / (took * (os.cpu_count() or 1))
    return Round(load, 1e6 * wrk / answered, 1e6 * in_redis / answered, max(spent) / max(sum(spent), 1e-9), others)


def _redis_s(asked: Any) -> float:
    """Seconds of processor time that Redis has had."""
    told = asked.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


def _ended_s() -> float:
    """Seconds of processor time of processes that have ended: of wrk."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def _print(pairs: Sequence[tuple[Round, ...]], labels: Sequence[str]) -> None:
    head = f"{'us':>6} {'wrk us':>7} {'Redis us':>9} {'busiest':>8} {'p99 ms':>7} {'others':>7}"
    print(f"{'hot GET, Redis for everything':32} {'requests/s':>22} {head}")
    for label, rounds in zip(labels, zip(*pairs, strict=True), strict=True):
        rate = door.spread([each.load.rate for each in rounds], ".0f")
        columns = ((r.load.us, r.wrk_us, r.redis_us, r.largest, r.load.p99_ms, r.others) for r in rounds)
        us, wrk, in_redis, largest, p99, others = map(statistics.median, zip(*columns, strict=True))
        mark = "  WRONG" if any(each.load.trouble for each in rounds) else ""
        print(
            f"{label:32} {rate:>22} {us:6.0f} {wrk:7.0f} {in_redis:9.0f} {largest:8.2f} {p99:7.1f} {others:7.2f}{mark}"
        )
    ratios = [more.load.rate / less.load.rate for less, more in pairs]
    own = statistics.median(2 * less.load.us / more.load.us for less, more in pairs)
    verdict = "met" if statistics.median(ratios) >= AIM else "NOT met"
    print(f"two workers beside one: {door.spread(ratios, '.2f')}; at least {AIM}: {verdict}; by us alone {own:.2f}")


if __name__ == "__main__":
    main()
