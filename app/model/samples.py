"""Training samples out of recorded bars: one row per ticker, day and decision hour, with what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from app.errors import BrokenData, Unavailable
from app.market.bars import Bars, Bools, Floats, Ints, to_ms
from app.market.calendar import Calendar, Session, day_of_ms, midnight_ms
from app.model.features import LATE_FROM, MIN_DAYS, decision_hours, decision_moment, v6_features
from app.model.v6 import SLOT_HOURS, TARGETS, SlotName
from app.model.variances import LEAST_VARIANCE, five_minute_closes

HALF_HOUR_MS = 1_800_000


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples, ascending in ticker, day and hour; all columns have length n.

    ticker (position in the tickers of the study), day (ordinal), hour; x (n, len(INPUTS)); labels a: C0 > O0, b: C0 > P11
    (before 11:00: False, unused), now: C0 > P; tie_a, tie_b: C0 equals the reference; price P, open O0, eleven P11 (P before
    11:00), close C0, USD; sigma; remaining: share of the day's squared 30-minute returns that came after H; variance: sum of
    squared five-minute log returns after H, up to the official close; high, low: how far the price went above and below P after
    H, as logarithms (low is negative or 0).
    """

    ticker: Ints
    day: Ints
    hour: Ints
    x: Floats
    a: Bools
    b: Bools
    now: Bools
    tie_a: Bools
    tie_b: Bools
    price: Floats
    open: Floats
    eleven: Floats
    close: Floats
    sigma: Floats
    remaining: Floats
    variance: Floats
    high: Floats
    low: Floats

    def __len__(self) -> int:
        return len(self.day)

    def where(self, mask: Bools) -> Rows:
        """The rows for which `mask` holds."""
        return Rows(*(getattr(self, field.name)[mask] for field in fields(self)))

    def labels(self, slot: SlotName) -> Bools:
        """Whether the target of a slot came true, (n,)."""
        return self.b if TARGETS[slot] == "B" else self.a

    def reference(self, slot: SlotName) -> Floats:
        """The price that the close is compared with, USD, (n,)."""
        return self.eleven if TARGETS[slot] == "B" else self.open


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one after the other."""
    return Rows(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Rows)))


def slot_rows(rows: Rows, slot: SlotName) -> Rows:
    """The rows at the hours of a slot."""
    return rows.where(np.isin(rows.hour, SLOT_HOURS[slot]))


def build_rows(intraday: Bars, daily: Bars, calendar: Calendar, ticker: int = 0) -> tuple[Rows, dict[str, Any]]:
    """Samples of all days that both series have, and what was left out: {reason: [days]}. ticker: its position in the study.

    Uses the daily bar of a day for its open and its labels only.
    """
    collected: list[tuple[Any, ...]] = []
    excluded: dict[str, list[str]] = {}
    for session, o0, c0 in _sessions(intraday, daily, calendar):
        before = calendar.days_before(session.day, MIN_DAYS)
        today = _day_bars(intraday, session)
        halves = _half_hour_moves(today, session, o0)
        for hour in decision_hours(session):
            try:
                collected.append((ticker, *_sample(session, hour, today, halves, daily, (o0, c0), before)))
            except Unavailable as exc:
                excluded.setdefault(exc.message, []).append(f"{session.day} {hour}:00")
    if not collected:
        raise BrokenData("the bars give no training row")
    columns = [np.array(column) for column in zip(*collected, strict=True)]
    return Rows(*columns), excluded


def _sessions(intraday: Bars, daily: Bars, calendar: Calendar) -> Iterator[tuple[Session, float, float]]:
    """Sessions with intraday bars and a daily bar: (session, O0, C0)."""
    days = sorted({day_of_ms(ms) for ms in np.unique(intraday.t // HALF_HOUR_MS * HALF_HOUR_MS).tolist()})
    at = dict(zip(daily.t.tolist(), range(len(daily)), strict=True))
    for day in days:
        session, i = calendar.session(day), at.get(midnight_ms(day))
        if session is not None and i is not None:
            yield session, float(daily.o[i]), float(daily.c[i])


def _sample(
    session: Session,
    hour: int,
    today: Bars,
    halves: HalfHours,
    daily: Bars,
    prices: tuple[float, float],
    before: Sequence[date],
) -> tuple[Any, ...]:
    o0, c0 = prices
    features = v6_features(session, hour, today, daily, o0, before)
    p = features.price
    p11 = p if features.price_11am is None else features.price_11am
    remaining = _remaining_share(halves, session, hour)
    labels = (c0 > o0, c0 > p11 and hour >= LATE_FROM, c0 > p, c0 == o0, c0 == p11)
    what_came = (remaining, *_what_came(today, session, hour, p, c0))
    return (session.day.toordinal(), hour, features.inputs, *labels, p, o0, p11, c0, features.sigma, *what_came)


def _day_bars(intraday: Bars, session: Session) -> Bars:
    lo, hi = np.searchsorted(intraday.t, [to_ms(session.open), to_ms(session.close)])
    return intraday[int(lo) : int(hi)]


def _what_came(today: Bars, session: Session, hour: int, price: float, close: float) -> tuple[float, float, float]:
    """Variance, high and low after the decision, up to the official close. Labels' facts, never inputs."""
    at = decision_moment(session, hour)
    after = today.since(at)
    closes = five_minute_closes(after, session, session.close).c
    moves = np.diff(np.log(np.concatenate(([price], closes, [close]))))
    high, low = after.h.max(initial=max(price, close)), after.l.min(initial=min(price, close))
    variance = max(float((moves**2).sum()), LEAST_VARIANCE)
    return variance, float(np.log(high / price)), float(np.log(low / price))


class HalfHours(NamedTuple):
    """The half hours of a session that hold any bar: their starts, ms, and squared log returns, both (n,)."""

    t: Ints
    squared: Floats


def _half_hour_moves(today: Bars, session: Session, o0: float) -> HalfHours:
    edges = np.arange(to_ms(session.open), to_ms(session.close) + 1, HALF_HOUR_MS)
    halves = today.resample(edges)
    return HalfHours(halves.t, np.diff(np.log(halves.c), prepend=np.log(o0)) ** 2)


def _remaining_share(halves: HalfHours, session: Session, hour: int) -> float:
    """Share of the day's squared 30-minute log returns after H: one day's part of v_H (v6.md 7, B2). A label's fact,
    never an input."""
    later = halves.t >= to_ms(decision_moment(session, hour))
    return float(halves.squared[later].sum() / max(float(halves.squared.sum()), 1e-12))
