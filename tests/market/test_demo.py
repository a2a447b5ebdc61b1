"""The demo market looks like a market, is the same everywhere, and moves at once."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest

from app.market.bars import Span, to_ms
from app.market.calendar import NY, day_of_ms, midnight_ms
from app.market.demo import LAP, SLOT_S, TICKERS, DemoFeed, demo_moment, demo_moment_before
from tests.support import CALENDAR, demo_feed, new_york

DAY = date(2025, 3, 11)


def day_bars(ticker: str, day: date, feed: DemoFeed | None = None):  # type: ignore[no-untyped-def]
    return (feed or demo_feed()).bars(ticker, Span.MINUTE, midnight_ms(day), midnight_ms(day) + 86_400_000)


def test_two_markets_of_one_seed_are_the_same_bit_for_bit() -> None:
    other = DemoFeed(CALENDAR)
    assert day_bars("QQQ", DAY, other).equals(day_bars("QQQ", DAY))
    assert not day_bars("QQQ", DAY, DemoFeed(CALENDAR, seed=1)).equals(day_bars("QQQ", DAY))


def test_a_day_has_pre_market_session_and_after_hours() -> None:
    bars = day_bars("SPY", DAY)
    opened, closed = to_ms(new_york("2025-03-11 09:30")), to_ms(new_york("2025-03-11 16:00"))
    assert 60 < (bars.t < opened).sum() < 200
    assert ((bars.t >= opened) & (bars.t < closed)).sum() == 390
    assert (bars.t >= closed).sum() > 20


def test_a_short_day_ends_at_one() -> None:
    bars = day_bars("SPY", date(2024, 11, 29))
    session = CALENDAR.session(date(2024, 11, 29))
    assert session is not None
    assert ((bars.t >= to_ms(session.open)) & (bars.t < to_ms(session.close))).sum() == 210


def test_volume_smiles_and_the_open_moves_more_than_noon() -> None:
    volume, moves = np.zeros(390), np.zeros(390)
    for day in [
        d for d in CALENDAR.trading_days(date(2025, 1, 6), date(2025, 2, 14)) if not CALENDAR.session(d).is_short
    ]:  # type: ignore[union-attr]
        bars = day_bars("SPY", day).since(CALENDAR.session(day).open)[:390]  # type: ignore[union-attr]
        volume += bars.v
        moves += np.abs(np.log(bars.c / bars.o))
    assert volume[:10].mean() > 2 * volume[180:210].mean()
    assert volume[-10:].mean() > 1.3 * volume[180:210].mean()
    assert moves[:30].mean() > 1.3 * moves[180:210].mean()


def test_there_are_gaps_both_ways_and_daily_moves_of_a_plausible_size() -> None:
    daily = demo_feed().bars("IWM", Span.DAY, 0, 2**60)
    gaps, moves = daily.o[1:] / daily.c[:-1] - 1, np.log(daily.c[1:] / daily.c[:-1])
    assert (gaps > 0.002).mean() > 0.1
    assert (gaps < -0.002).mean() > 0.1
    assert 0.006 < moves.std() < 0.03


def test_daily_bars_agree_with_their_minutes() -> None:
    daily = demo_feed().bars("SPY", Span.DAY, midnight_ms(DAY), midnight_ms(DAY) + 1)
    session = CALENDAR.session(DAY)
    assert session is not None
    minutes = day_bars("SPY", DAY).since(session.open).until(session.close)
    assert daily.o[0] == minutes.o[0]
    assert daily.h[0] >= minutes.h.max()
    assert daily.l[0] <= minutes.l.min()


@pytest.mark.parametrize("ticker", TICKERS)
def test_a_daily_bar_is_the_range_and_the_volume_of_its_session_exactly(ticker: str) -> None:
    """Daily bars are made without the minutes of extended hours, whose random numbers come first."""
    daily = demo_feed().bars(ticker, Span.DAY, 0, midnight_ms(LAP[1]) + 1)
    for n in range(0, len(daily), 23):
        session = CALENDAR.session(day_of_ms(int(daily.t[n])))
        assert session is not None
        minutes = day_bars(ticker, session.day).since(session.open).until(session.close)
        assert daily.h[n] == max(minutes.h.max(), daily.o[n], daily.c[n])
        assert daily.l[n] == min(minutes.l.min(), daily.o[n], daily.c[n])
        assert daily.v[n] == minutes.v.sum()


def test_the_clock_is_a_function_of_wall_time_alone_and_never_stops() -> None:
    moments = [demo_moment(CALENDAR, 1_800_000_000 + s * 0.5) for s in range(int(4 * SLOT_S))]
    assert moments == sorted(moments) or min(moments).date() == LAP[0]
    assert demo_moment(CALENDAR, 1_800_000_000.25) == demo_moment(CALENDAR, 1_800_000_000.25)
    assert all(CALENDAR.session_at(moment) for moment in moments)


def test_nights_weekends_and_holidays_are_skipped_and_days_follow_each_other() -> None:
    days = list(dict.fromkeys(demo_moment(CALENDAR, n * SLOT_S + 10).astimezone(NY).date() for n in range(260)))
    sessions = CALENDAR.trading_days(*LAP)
    start = sessions.index(days[0])
    assert days == (sessions[start:] + sessions[:start])[: len(days)]


def lap_days() -> list[int]:
    return list(range(len(CALENDAR.trading_days(*LAP))))


@pytest.mark.parametrize("slot", lap_days()[:: len(lap_days()) // 12])
def test_a_market_minute_lasts_at_most_five_seconds(slot: int) -> None:
    a, b = demo_moment(CALENDAR, slot * SLOT_S + 100), demo_moment(CALENDAR, slot * SLOT_S + 105)
    assert b - a >= timedelta(minutes=1)


def test_what_comes_in_some_seconds_is_of_now_or_later_and_what_was_on_an_earlier_day_is_no_time_of_the_market() -> (
    None
):
    for now_s in range(0, int(SLOT_S), 7):
        coming = demo_moment_before(CALENDAR, now_s + 4.0, now_s)
        assert coming is not None
        assert coming >= demo_moment(CALENDAR, now_s)
        assert demo_moment_before(CALENDAR, now_s - SLOT_S, now_s) is None


def test_from_any_moment_the_first_signal_is_less_than_a_minute_away() -> None:
    """A signal stands from 10:00 to the close of every session; worst over one whole lap at steps of a second."""

    def has_signal(at: datetime) -> bool:
        return CALENDAR.is_open(at) and at.astimezone(NY).hour >= 10

    waits, waiting = [0], 0
    for second in range(int(SLOT_S * len(lap_days()))):
        waiting = 0 if has_signal(demo_moment(CALENDAR, float(second))) else waiting + 1
        waits.append(waiting)
    assert max(waits) < 58


def test_a_daily_series_gives_way_after_each_day_that_it_is_made_of() -> None:
    """Making it takes seconds, in which a server has others to answer."""
    turns: list[None] = []
    feed = DemoFeed(CALENDAR, give_way=lambda: turns.append(None))
    days = feed.bars("SPY", Span.DAY, 0, to_ms(new_york("2026-01-01 00:00")))
    assert len(turns) >= len(days) > 200
