"""The demo market: a deterministic synthetic market and its own fast clock. Price = f(seed, ticker, minute).

It looks like a market (gaps, more volume at open and close, volatility by hour, little trading before the open) and means
nothing; every answer that rests on it says DEMO. Pure: the clock is a function of the wall time that is handed in (ruling M3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.market.bars import Bars, Floats, Ints, Span, no_bars, to_ms
from app.market.calendar import ONE_DAY, Calendar, Session, day_of_ms, midnight_ms

SEED = 20260103
HISTORY_FROM = date(2023, 1, 3)
LAP = (date(2024, 7, 1), date(2025, 6, 30))
"""The first and the last of the days that the demo clock runs through, over and over."""

SLOT_S = 320.0
"""Real seconds per session, with five market minutes before the open and after the close: a market minute lasts 1.5 s at
most."""

MARGIN = timedelta(minutes=5)
SPEED = 400 * 60 / SLOT_S
"""Market seconds per real second in a full session; less in a short one."""

MINUTE_MS = Span.MINUTE.ms
PRE_MARKET_MINUTES = 330
AFTER_HOURS_MINUTES = 240


@dataclass(frozen=True, slots=True)
class TickerProfile:
    """How a ticker moves: first price (USD), daily volatility, weight of the common factor, shares per minute."""

    price: float
    volatility: float
    beta: float
    volume: float


TICKERS: Mapping[str, TickerProfile] = {
    "SPY": TickerProfile(470.0, 0.009, 0.95, 150_000.0),
    "QQQ": TickerProfile(400.0, 0.012, 0.90, 110_000.0),
    "IWM": TickerProfile(200.0, 0.013, 0.80, 80_000.0),
}


@dataclass(frozen=True, slots=True)
class DayPath:
    """The course of one day. `open`, `close` and `before` (the close of the day before): USD; `volatility`: daily, of log
    returns."""

    open: float
    close: float
    before: float
    volatility: float


class Course(NamedTuple):
    """Prices of the minutes of a span before they are rounded, USD, and the shares that are traded in each."""

    opens: Floats
    closes: Floats
    tops: Floats
    bottoms: Floats
    shares: Floats


class Columns(NamedTuple):
    """The columns of bars that nobody has checked."""

    t: Ints
    end: Ints
    o: Floats
    h: Floats
    l: Floats  # noqa: E741 - the field's own name
    c: Floats
    v: Floats


class DemoFeed:
    """Bars of the synthetic market, any day from HISTORY_FROM on; the feed of the demo market. `give_way` is called after each
    of the hundreds of days that a daily series is made of: a server lets others work meanwhile."""

    def __init__(self, calendar: Calendar, seed: int = SEED, give_way: Callable[[], object] = lambda: None) -> None:
        self._calendar = calendar
        self._give_way = give_way
        self._seed = seed
        self._paths: dict[str, dict[date, DayPath]] = {}
        self._day = lru_cache(maxsize=64)(self._make_day)
        self._daily = lru_cache(maxsize=8)(self._make_daily)

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        """Returns minute and daily bars of known tickers; none for other spans."""
        if ticker not in TICKERS or span not in (Span.MINUTE, Span.DAY):
            return no_bars()
        if span is Span.DAY:
            return _window(self._daily(ticker), first_ms, end_ms)
        day, parts = day_of_ms(first_ms), []
        while midnight_ms(day) < end_ms:
            if self._calendar.session(day) and day in self._day_paths(ticker):
                parts.append(_window(self._day(ticker, day), first_ms, end_ms))
            day += ONE_DAY
        return _joined(parts)

    def official_open(self, ticker: str, day: date) -> float | None:
        """Returns the opening price of a day, USD; None for an unknown ticker or day."""
        path = self._day_paths(ticker).get(day) if ticker in TICKERS else None
        return None if path is None else round(path.open, 2)

    def _day_paths(self, ticker: str) -> dict[date, DayPath]:
        """Returns the paths of all days of a ticker, which are made once."""
        if ticker not in self._paths:
            self._paths[ticker] = self._make_day_paths(ticker)
        return self._paths[ticker]

    def _make_day_paths(self, ticker: str) -> dict[date, DayPath]:
        """Makes a mean-reverting path of gaps and day moves with slowly changing volatility; part of it is shared by all
        tickers."""
        days = self._calendar.trading_days(HISTORY_FROM, LAP[1])
        profile = TICKERS[ticker]
        common = np.random.default_rng([self._seed, 0]).standard_normal((len(days), 3))
        own = np.random.default_rng([self._seed, 1, *ticker.encode()]).standard_normal((len(days), 3))
        own_weight = float(np.sqrt(1 - profile.beta**2))
        draws = profile.beta * common + own_weight * own
        paths, level, log_volatility = {}, 0.0, 0.0
        for day, (gap, move, shock) in zip(days, draws.tolist(), strict=True):
            log_volatility = 0.97 * log_volatility + 0.08 * shock
            sigma = profile.volatility * float(np.exp(log_volatility))
            before, opening = level, level + 0.45 * sigma * gap
            level = opening + 0.9 * sigma * move - 0.01 * level
            first, last, previous = (profile.price * float(np.exp(x)) for x in (opening, level, before))
            paths[day] = DayPath(first, last, previous, sigma)
        return paths

    def _make_day(self, ticker: str, day: date) -> Bars:
        """Makes all minute bars of one day: before the open, of the session, and after the close."""
        session = self._session(day)
        path = self._day_paths(ticker)[day]
        rng = self._generator(ticker, day)
        opened, closed = to_ms(session.open), to_ms(session.close)
        pre = _extended_hours(
            _extended_hours_draws(rng, PRE_MARKET_MINUTES),
            (path.before, path.open),
            opened - PRE_MARKET_MINUTES * MINUTE_MS,
        )
        regular = Bars(*_columns(_regular(rng, path, session, TICKERS[ticker].volume), opened))
        post = _extended_hours(_extended_hours_draws(rng, AFTER_HOURS_MINUTES), (path.close, path.close), closed)
        return _joined([pre, regular, _window(post, closed, midnight_ms(day) + 20 * Span.HOUR.ms)])

    def _make_daily(self, ticker: str) -> Bars:
        """Makes the bars of all days, each from the minutes of its session alone. The highest of the rounded prices is the
        highest price, rounded, and likewise the lowest."""
        rows = []
        for day, path in self._day_paths(ticker).items():
            session = self._session(day)
            rng = self._generator(ticker, day)
            _extended_hours_draws(rng, PRE_MARKET_MINUTES)  # so that the draws of the session are those of `_make_day`
            minutes = _regular(rng, path, session, TICKERS[ticker].volume)
            o, c = round(path.open, 2), round(path.close, 2)
            high, low = max(o, c, float(minutes.tops.max().round(2))), min(o, c, float(minutes.bottoms.min().round(2)))
            rows.append((midnight_ms(day), to_ms(session.close), o, high, low, c, float(minutes.shares.sum())))
            self._give_way()
        return Bars(*(np.array(column) for column in zip(*rows, strict=True)))

    def _session(self, day: date) -> Session:
        session = self._calendar.session(day)
        assert session is not None
        return session

    def _generator(self, ticker: str, day: date) -> np.random.Generator:
        """Returns the source of the draws of one day, in their order: before the open, of the session, after the close."""
        return np.random.default_rng([self._seed, 2, day.toordinal(), *ticker.encode()])


def demo_clock(calendar: Calendar, epoch: Callable[[], float]) -> Callable[[], datetime]:
    """The demo market's clock. epoch: wall time, seconds since the epoch."""
    return lambda: demo_moment(calendar, epoch())


def demo_moment(calendar: Calendar, wall_s: float) -> datetime:
    """Returns the market time of a wall time (seconds since the epoch): sessions only, one after the other (ruling M3)."""
    sessions = _lap(calendar)
    lap_s = SLOT_S * len(sessions)
    number, within = divmod(wall_s % lap_s, SLOT_S)
    session = sessions[min(int(number), len(sessions) - 1)]
    first = session.open - MARGIN
    length = session.close + MARGIN - first
    return first + length * (within / SLOT_S)


def demo_moment_before(calendar: Calendar, then_s: float, now_s: float) -> datetime | None:
    """The market time of an earlier wall time, or of one some seconds ahead; None if it was on an earlier day of the market,
    which may come again."""
    now, then = demo_moment(calendar, now_s), demo_moment(calendar, then_s)
    if then_s > now_s:
        return max(then, now)
    return then if now_s - then_s < SLOT_S and then <= now else None


@lru_cache(maxsize=4)
def _lap(calendar: Calendar) -> tuple[Session, ...]:
    sessions = (calendar.session(day) for day in calendar.trading_days(*LAP))
    return tuple(session for session in sessions if session is not None)


class Activity(NamedTuple):
    """The relative activity by minute of a session (high at both ends, low at noon, mean 1), the share of all of it that is
    over with each minute, and the volatility of each minute as a part of the day's."""

    of_minute: Floats
    so_far: Floats
    volatility: Floats


@lru_cache(maxsize=4)
def _activity(minutes: int) -> Activity:
    x = np.linspace(0.0, 1.0, minutes)
    shape = 0.55 + 1.6 * np.exp(-x / 0.08) + 0.9 * np.exp(-(1 - x) / 0.06) + 0.6 * (2 * x - 1) ** 2
    activity = np.asarray(shape / shape.mean())
    return Activity(activity, np.cumsum(activity) / activity.sum(), np.sqrt(activity / minutes))


def _regular(rng: np.random.Generator, path: DayPath, session: Session, volume: float) -> Course:
    """Makes the session's course: a Brownian bridge from open to close whose variance follows the activity."""
    n = int((session.close - session.open) / timedelta(minutes=1))
    activity, share, root = _activity(n)
    walk = np.cumsum(rng.standard_normal(n) * path.volatility * root)
    bridge = walk - share * walk[-1] + share * np.log(path.close / path.open)
    closes = path.open * np.exp(bridge)
    closes[-1] *= 1 + 0.00002 * rng.standard_normal()
    noise_scale = path.volatility * root
    shares = np.floor(volume * activity * np.exp(0.45 * rng.standard_normal(n)))
    return _course(rng.standard_normal((2, n)), (path.open, closes), noise_scale, shares)


class ExtendedHoursDraws(NamedTuple):
    """The random numbers of the bars of extended hours, one for each minute; `ranges` has two rows."""

    moves: Floats
    shares: Floats
    ranges: Floats
    trades: Floats


def _extended_hours_draws(rng: np.random.Generator, minutes: int) -> ExtendedHoursDraws:
    return ExtendedHoursDraws(
        rng.standard_normal(minutes), rng.random(minutes), rng.standard_normal((2, minutes)), rng.random(minutes)
    )


def _extended_hours(draws: ExtendedHoursDraws, ends: tuple[float, float], first_ms: int) -> Bars:
    """Makes bars of extended hours, from one price to another: one minute in three has trades, with small moves and little
    volume."""
    minutes = len(draws.moves)
    x = np.arange(1, minutes + 1) / minutes
    noise = np.cumsum(draws.moves) * 0.00008
    noise -= x * noise[-1]
    closes = np.exp(np.log(ends[0]) + x * np.log(ends[1] / ends[0]) + noise)
    shares = np.floor(40.0 + 900.0 * draws.shares)
    columns = _columns(_course(draws.ranges, (ends[0], closes), np.full(minutes, 0.00005), shares), first_ms)
    kept = np.flatnonzero(draws.trades < 0.35)
    return Bars(**{name: column[kept] for name, column in columns._asdict().items()})


def _course(draws: Floats, prices: tuple[float, Floats], noise_scale: Floats, shares: Floats) -> Course:
    """draws: how far each minute reaches above and below, two rows of random numbers."""
    first, closes = prices
    opens = np.concatenate([[first], closes[:-1]])
    above, below = np.abs(draws) * noise_scale * 0.6
    tops, bottoms = np.maximum(opens, closes) * (1 + above), np.minimum(opens, closes) * (1 - below)
    return Course(opens, closes, tops, bottoms, shares)


def _columns(course: Course, first_ms: int) -> Columns:
    """Makes the bars of a course, from its first minute on."""
    t = first_ms + MINUTE_MS * np.arange(len(course.opens))
    o, c = course.opens.round(2), course.closes.round(2)
    high = np.maximum(np.maximum(o, c), course.tops.round(2))
    low = np.minimum(np.minimum(o, c), course.bottoms.round(2))
    return Columns(t=t, end=t + MINUTE_MS, o=o, h=high, l=low, c=c, v=course.shares)


def _window(bars: Bars, first_ms: int, end_ms: int) -> Bars:
    lo, hi = np.searchsorted(bars.t, [first_ms, end_ms], side="left")
    return bars[int(lo) : int(hi)]


def _joined(parts: list[Bars]) -> Bars:
    if not parts:
        return no_bars()
    return Bars(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("t", "end", "o", "h", "l", "c", "v")))
