"""The bars of a chart: those of one day in a span, or the daily ones of several days, as far as they had ended at a moment."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

import numpy as np

from app.errors import NotFound, PredictError
from app.live.interest import Interest
from app.market.bars import Bars, Bools, Span, from_ms, no_bars, to_ms
from app.market.calendar import NY, ONE_DAY, Calendar, Session, day_of_ms, midnight_ms, ny, ny_day
from app.market.expectations import BarsAsOf
from app.market.freshness import is_behind, newest_end
from app.market.inception import has_begun
from app.market.market_data import MarketData
from app.market.opens import OfficialOpen
from app.market.single_flight import deadline
from app.pipeline.prefetch import FIRST_HOUR, Prefetch

MINUTE = timedelta(minutes=1)
FIRST_BAR, LAST_BAR_ENDS, DAY_ENDS = time(FIRST_HOUR), time(20), time(23, 59, 59)

RECENT = timedelta(days=365)
"""How far back daily bars are taken from the newest series, which reaches back two years."""


class ChartSpan(StrEnum):
    """How long a bar of a chart lasts. All but the daily ones begin on full multiples of their length, so that each lies within
    the regular session or outside it."""

    MINUTE = "1m"
    FIVE_MINUTES = "5m"
    QUARTER_HOUR = "15m"
    HALF_HOUR = "30m"
    DAY = "1d"

    @property
    def length(self) -> timedelta:
        """Of a day, the calendar day's."""
        return _LENGTHS[self]


_LENGTHS = {
    ChartSpan.MINUTE: MINUTE,
    ChartSpan.FIVE_MINUTES: 5 * MINUTE,
    ChartSpan.QUARTER_HOUR: 15 * MINUTE,
    ChartSpan.HALF_HOUR: 30 * MINUTE,
    ChartSpan.DAY: ONE_DAY,
}


class NoMarketData(NotFound):
    """There are no bars of a ticker for a day. session: that of the day, None on a day without trading."""

    code = "NO_MARKET_DATA"

    def __init__(self, ticker: str, day: date, session: Session | None) -> None:
        super().__init__(f"there are no market data of {ticker} for {day}")
        self.ticker = ticker
        self.day = day
        self.session = session


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars that had ended, and what belongs to them.

    first, last: the days that they are of; regular: which of them lie within the regular session; session, official_open: those
    of the day, None of daily bars; stale: newer bars should be known; missing: how many bars the session lacks; only_longer:
    there are no one-minute bars, but longer ones.
    """

    first: date
    last: date
    bars: Bars
    regular: Bools
    session: Session | None = None
    official_open: OfficialOpen | None = None
    stale: bool = False
    missing: int = 0
    only_longer: bool = False

    @property
    def as_of(self) -> datetime | None:
        """The end of the newest bar, New York; None without bars."""
        return newest_end(self.bars)


class Charts:
    """Reads the bars of charts. Methods raise what MarketData raises."""

    def __init__(self, source: MarketData, prefetch: Prefetch, calendar: Calendar, interest: Interest) -> None:
        self._source = source
        self._prefetch = prefetch
        self._calendar = calendar
        self._interest = interest

    def shown_day(self, at: datetime) -> date:
        """The day that a chart is of unless another one is asked for: today, else the last trading day."""
        today = ny_day(at)
        return today if self._calendar.session(today) is not None else self._calendar.previous_trading_day(today)

    def of_day(self, ticker: str, day: date, span: ChartSpan, at: datetime, *, extended: bool) -> Chart:
        """The bars of `day` that had ended at `at`; `extended`: those outside the regular session too. There are none before
        the first bar of a running day, and of one minute where a day has longer ones alone. Raises NoMarketData for a day
        without trading or without bars."""
        session, moment = self._calendar.session(day), min(at, ny(day, DAY_ENDS))
        if session is None or not has_begun(ticker, day):
            raise NoMarketData(ticker, day, session)
        if moment.astimezone(NY).hour < FIRST_HOUR:
            return Chart(day, day, no_bars(), np.zeros(0, dtype=np.bool_), session)
        if day == ny_day(at):
            self._interest.request([ticker], at)
        base = Span.MINUTE if span is ChartSpan.MINUTE else self._source.plan.signal_span
        with deadline(self._prefetch.start([(ticker, [base], day)])):
            known = self._known(ticker, base, moment)
            official = self._official_open(ticker, session, moment)
        is_missing = not len(known.bars) and (known.expired or day < ny_day(at))
        if is_missing and not (span is ChartSpan.MINUTE and self._has_longer_bars(ticker, day, moment)):
            raise NoMarketData(ticker, day, session)
        bars = known.bars if span is ChartSpan.MINUTE else self._resampled(known, session, span, moment)
        regular = (bars.t >= to_ms(session.open)) & (bars.end <= to_ms(session.close))
        shown = np.ones(len(bars), dtype=np.bool_) if extended else regular
        return Chart(
            day, day, bars.where(shown), regular[shown], session, official, known.stale, known.missing, is_missing
        )

    def of_days(self, ticker: str, last: date, count: int, at: datetime) -> Chart:
        """The daily bars of the `count` trading days up to `last` that are complete at `at`."""
        bars = self.completed_days(ticker, last, at)
        if not len(bars):
            raise NoMarketData(ticker, last, self._calendar.session(last))
        behind = last >= ny_day(at) and is_behind(bars, ny_day(at), at, self._calendar)
        bars = bars[max(0, len(bars) - count) :]
        first, newest = (day_of_ms(int(bars.t[place])) for place in (0, -1))
        return Chart(first, newest, bars, np.ones(len(bars), dtype=np.bool_), stale=behind)

    def completed_days(self, ticker: str, last: date, at: datetime) -> Bars:
        """The daily bars up to the one of `last` that are complete at `at`, those of a year at least."""
        newest = self._prefetch.day_after_completed(at)
        before = newest if last >= newest - RECENT else last + ONE_DAY
        with deadline(self._prefetch.start([(ticker, [Span.DAY], before)])):
            daily = self._source.daily(ticker, before).until(at)
        return daily[: int(np.searchsorted(daily.t, midnight_ms(last), side="right"))]

    def _known(self, ticker: str, span: Span, at: datetime) -> BarsAsOf:
        return self._source.minutes(ticker, at) if span is Span.MINUTE else self._source.intraday(ticker, at)

    def _has_longer_bars(self, ticker: str, day: date, at: datetime) -> bool:
        with deadline(self._prefetch.start([(ticker, [self._source.plan.signal_span], day)])):
            return len(self._source.intraday(ticker, at).bars) > 0

    def _official_open(self, ticker: str, session: Session, at: datetime) -> OfficialOpen | None:
        if at >= session.open:
            with suppress(PredictError):
                return self._source.open_of(ticker, at)
        return None

    def _resampled(self, known: BarsAsOf, session: Session, span: ChartSpan, at: datetime) -> Bars:
        """Longer bars that had ended at `at`, without a last one of which a part may still come."""
        first, end = (to_ms(ny(session.day, at)) for at in (FIRST_BAR, LAST_BAR_ENDS))
        bars = known.bars.resample(np.arange(first, end + 1, span.length // timedelta(milliseconds=1))).until(at)
        if len(bars) and not self._source.expectations.has_arrived(known, from_ms(int(bars.end[-1]))):
            return bars[: len(bars) - 1]
        return bars
