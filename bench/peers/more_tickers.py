"""Makes this server know TICKERS tickers in place of three: SPY, QQQ and IWM, and synthetic ones that are treated like SPY.

Only for `python -m bench.tickers`: the supported tickers are a constant of the product, with models of their own. It must be
called before anything else of the server is imported. BOUNDS=1 also raises what is bounded for three tickers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from string import ascii_uppercase
from typing import Final

REAL: Final = ("SPY", "QQQ", "IWM")
PER_TICKER: Final = 4
"""Series that a ticker has on a running day, and a few more."""


def names(count: int) -> tuple[str, ...]:
    """SPY, QQQ, IWM, and then ZAA, ZAB, ..."""
    made = [f"Z{one}{two}" for one, two in product(ascii_uppercase, repeat=2)]
    return (*REAL, *made)[:count]


def support() -> tuple[str, ...]:
    """The tickers, which the policy and the demo's prices know from now on."""
    from app.market import demo, inception
    from app.signals import policy

    tickers = names(int(os.environ["TICKERS"]))
    policy.SUPPORTED = tickers  # type: ignore[assignment]
    for known in (policy.EXIT_DISTANCES, demo.TICKERS, inception.INCEPTION):
        known.update({ticker: known["SPY"] for ticker in tickers if ticker not in known})  # type: ignore[attr-defined]
    if os.environ.get("BOUNDS") == "1":
        _raise_bounds(len(tickers))
    return tickers


def _raise_bounds(count: int) -> None:
    from app.market import series_memory, shared_day, single_flight

    series_memory.KEPT_SERIES = max(series_memory.KEPT_SERIES, PER_TICKER * count)  # type: ignore[misc]
    single_flight.MAX_WAITING = max(single_flight.MAX_WAITING, PER_TICKER * count)
    wider = (PER_TICKER * count, PER_TICKER * count, count)
    shared_day.DayBounds.__init__.__defaults__ = tuple(
        map(max, shared_day.DayBounds.__init__.__defaults__ or (), wider)
    )


def models_in(folder: Path, tickers: Sequence[str], shipped: Path) -> None:
    """Artefacts of all tickers: those of SPY by other names."""
    from app.clock import wall_clock
    from app.model.registry import Registry

    known, registry = Registry(shipped), Registry(folder)
    arrays, metadata, _ = known.files(known.promotions().promoted).member("SPY")
    written = registry.write({ticker: (arrays, {**metadata, "ticker": ticker}) for ticker in tickers})
    registry.promote(written.name, wall_clock)
