"""What a request costs by route: processor time of the worker, without Redis and with Redis for everything.

`python -m bench.costs` prints the table alone. Each route is asked for by wrk for SECONDS, the two servers in turn, in ROUNDS;
the figures are medians. A route whose answer is kept costs about the same whatever it holds. docs/scaling.md reckons
with such figures.
"""

from __future__ import annotations

import os
import statistics
from contextlib import ExitStack
from dataclasses import replace
from typing import Final, NamedTuple

import requests

from bench import door
from bench.serving import machine

ROUNDS: Final = int(os.environ.get("ROUNDS", "3"))
SECONDS: Final = 2
ROWS: Final = tuple(replace(door.ROWS[key], environment={"STREAMS_PER_CLIENT": "1000"}) for key in ("e1", "e2"))


class Route(NamedTuple):
    """A line of the table."""

    name: str
    path: str


ROUTES: Final = (
    Route("v1's signal of one ticker", door.QUERY),
    Route("v1's signals of all tickers", "/trading-directions"),
    Route("v2's signal of one ticker", "/v2/trading-directions/SPY"),
    Route("v2's structure", "/v2/structure/SPY"),
    Route("a day's bars", "/v2/bars/SPY"),
    Route("the track record of the last days", "/v2/signals/SPY"),
    Route("a stream of stages, to its end", "/v2/trading-directions/SPY/stream"),
    Route("a probe", "/readyz"),
    Route("/health", "/health"),
)


def main() -> None:
    """Measure every route and print the table."""
    found: dict[tuple[str, str], list[float]] = {}
    sizes: dict[str, int] = {}
    wrong: set[str] = set()
    with door.prepared(ROWS) as place, ExitStack() as stack:
        if place is None or place.redis is None:
            print("costs are measured with wrk and Redis: not measured")
            return
        servers = [(row, *stack.enter_context(door.running(row, place))) for row in ROWS]
        for number in range(ROUNDS):
            for route in ROUTES:
                for row, server, query in servers:
                    url = query.removesuffix(door.QUERY) + route.path
                    if number == 0:
                        sizes[route.name] = len(requests.get(url, timeout=60).content)
                    load = door.load(server, url, SECONDS)
                    found.setdefault((route.name, row.key), []).append(load.us)
                    wrong |= {f"{route.name}: {load.trouble}"} if load.trouble else set()
    print(
        f"{machine()}; {ROUNDS} rounds of {SECONDS} s; processor time of the worker for a request, us; median (min .. max)"
    )
    print(f"{'route':36} {'without Redis':>22} {'Redis for everything':>22} {'bytes':>7}")
    for route in ROUTES:
        each = [door.spread(found[route.name, row.key], ".0f") for row in ROWS]
        print(f"{route.name:36} {each[0]:>22} {each[1]:>22} {sizes[route.name]:7}")
    more = statistics.median(
        with_redis - without
        for route in ROUTES[:4]
        for without, with_redis in zip(*(found[route.name, row.key] for row in ROWS), strict=True)
    )
    print(f"what Redis costs a request: {more:.0f} us")
    if wrong:
        raise SystemExit("\n".join(sorted(wrong)))


if __name__ == "__main__":
    main()
