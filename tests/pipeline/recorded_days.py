"""A record of many days with the daily bars of them, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from app.market.bars import Bars, Span
from app.market.cache import BarCache
from app.market.calendar import ONE_DAY, midnight_ms
from app.model.features import DECISION_HOURS
from app.signals.lock import validity
from app.signals.policy import SUPPORTED, Decision
from app.signals.sqlite_record import SqliteRecord
from tests.signals.stores import unheard
from tests.signals.test_policy import decision
from tests.support import CALENDAR, new_york

FIRST = date(2027, 3, 1)
"""A day that no model was trained on."""

STATED = 0.8
ABOVE, BELOW = 100.0, 97.0
"""Closes beyond both the open of 98 and the 11:00 price of 99 that `decision` is made of."""


def trading_days(count: int, first: date = FIRST) -> list[date]:
    return list(CALENDAR.trading_days(first, first + 2 * count * ONE_DAY))[:count]


def at_nine(day: date) -> datetime:
    return new_york(f"{day} 09:00")


def signals_of(ticker: str, day: date, model_id: str, *, in_sample: bool = False) -> list[Decision]:
    """A signal for every decision hour, which states 0.8 of its active target."""
    session = CALENDAR.session(day)
    assert session is not None
    signals = []
    for hour in DECISION_HOURS:
        locked_at, expires_at = validity(session, hour)
        moments = {"day": day, "locked_at": locked_at, "expires_at": expires_at}
        signals.append(replace(stating(ticker, hour), model_id=model_id, in_sample=in_sample, **moments))
    return signals


@lru_cache(maxsize=32)
def stating(ticker: str, hour: int) -> Decision:
    return decision(STATED, STATED if hour > 10 else 0.5, hour, ticker=ticker)


def lock_days(
    path: Path,
    days: Sequence[date],
    models: dict[str, str],
    *,
    in_sample: bool = False,
    tickers: Sequence[str] = SUPPORTED,
) -> None:
    """Add the signals of these days to the record in a file. models: the id of each ticker's model."""
    record = SqliteRecord(path)
    with record.db.transaction():
        for day in days:
            for ticker in tickers:
                for signal in signals_of(ticker, day, models[ticker], in_sample=in_sample):
                    record.lock(signal)
    record.close()


def keep_closes(
    path: Path, days: Sequence[date], came_true: Sequence[bool], tickers: Sequence[str] = SUPPORTED
) -> None:
    """Keep daily bars on disk that close above or below."""
    t = np.array([midnight_ms(day) for day in days])
    opens, closes = np.full(len(days), 98.0), np.where(came_true, ABOVE, BELOW)
    bars = Bars(t, t + Span.DAY.ms, opens, np.full(len(days), 101.0), np.full(len(days), 96.0), closes, opens)
    cache = BarCache(path, unheard)
    for ticker in tickers:
        cache.put(ticker, Span.DAY, days[0], days[-1], bars, at_nine(days[-1] + ONE_DAY))
    cache.close()


def coming_true(count: int, share: float, seed: int = 1) -> list[bool]:
    """Which of so many days come true, of which `share` do."""
    return [bool(up) for up in np.random.default_rng(seed).random(count) < share]
