"""What `import --kept` reads: the bars that the server has kept of the provider's, as files of series like any other.

Five-minute bars are made of the one-minute bars of regular sessions. A day whose minutes are not all there is left out;
nothing is filled in.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from app.config.settings import Settings
from app.errors import BrokenData
from app.factory.markets import namespace_of
from app.market.bars import Bars, Span, to_ms
from app.market.cache import BarCache
from app.market.calendar import Calendar, Session, day_of_ms
from app.places import COMMAND

COLUMNS = ("t", "o", "h", "l", "c", "v")


@dataclass(frozen=True, slots=True)
class KeptDays:
    """The days of a ticker whose minutes are kept, and those that are left out because they are incomplete."""

    whole: Sequence[Session]
    incomplete: Sequence[date]

    def in_words(self, ticker: str) -> str:
        between = f", {self.whole[0].day} to {self.whole[-1].day}" if self.whole else ""
        left_out = f"; {len(self.incomplete)} left out, whose minutes are incomplete" if self.incomplete else ""
        return f"{ticker}: {len(self.whole)} days kept of the provider's{between}{left_out}"


def kept_cache(settings: Settings) -> BarCache:
    """The bars of the provider that the settings name. Raises BrokenData if none are kept."""
    path = settings.data_dir / namespace_of(settings.polygon_base_url) / "bars.sqlite3"
    if not path.exists():
        raise BrokenData(f"no bars of the provider are kept yet: `{COMMAND} backfill --days N` brings them in")
    return BarCache(path, lambda event, **fields: None)


def write_series(cache: BarCache, ticker: str, calendar: Calendar, folder: Path) -> tuple[list[Path], KeptDays]:
    """Write the five-minute and the daily series of a ticker to `folder`, named as an import wants them. Returns the files,
    none if nothing is kept of the ticker, and what they are made of."""
    daily = cache.peek(ticker, Span.DAY)
    days = _kept_days(cache, ticker, calendar, daily)
    if not days.whole:
        return [], days
    five = folder / f"{ticker}_5min.csv"
    _write(five, (_five_minutes(cache, ticker, session) for session in days.whole))
    _write(folder / f"{ticker}_1day.csv", [daily])
    return [five, folder / f"{ticker}_1day.csv"], days


def _kept_days(cache: BarCache, ticker: str, calendar: Calendar, daily: Bars) -> KeptDays:
    """Of the days that have a daily bar."""
    sessions = [calendar.session(day_of_ms(t)) for t in daily.t.tolist()]
    kept = [s for s in sessions if s is not None and cache.covers(ticker, Span.MINUTE, s.day, s.day)]
    tried = cache.tries(ticker, Span.MINUTE, [s.day for s in kept]) if kept else {}
    return KeptDays([s for s in kept if s.day not in tried], [s.day for s in kept if s.day in tried])


def _five_minutes(cache: BarCache, ticker: str, session: Session) -> Bars:
    minutes = cache.get(ticker, Span.MINUTE, session.day, session.day)
    edges = np.arange(to_ms(session.open), to_ms(session.close) + 1, Span.FIVE_MINUTES.ms)
    assert minutes is not None
    return minutes.resample(edges)


def _write(path: Path, parts: Iterator[Bars] | Sequence[Bars]) -> None:
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(COLUMNS)
        for bars in parts:
            out.writerows(zip(*(getattr(bars, name).tolist() for name in COLUMNS), strict=True))
