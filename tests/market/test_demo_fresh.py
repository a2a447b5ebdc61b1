"""The demo runs 75 market seconds a second, so what takes a moment takes minutes of its market. Its prices are never stale."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.factory import build
from app.market.bars import Span, to_ms
from app.market.cache import BarCache
from app.market.calendar import Session
from app.market.demo import MARGIN, SPEED
from app.market.feed_transport import FeedTransport
from app.market.market_data import MarketData
from app.market.plan import Market, Plan
from app.market.polygon import Polygon, Reply
from app.pipeline import State, TickerSignal
from tests.market.test_single_flight import EndsWhenJoined
from tests.signals.stores import sqlite_store
from tests.support import CALENDAR, FakeTimer, demo_feed, new_york, settings
from tests.waiting import PATIENCE_S

TICKERS = ("SPY", "QQQ", "IWM")
STEP_PAUSES_S = (0.05, 0.3, 0.5, 1.0, 5.0, 20.0)
"""Real seconds from one request to the next; the follower counts as dead only after thirty without a step."""

FETCHES_TAKE_S = (0.0, 0.01, 0.2, 2.0)


class DemoClock:
    """The demo's clock and the real one beside it, moved by hand from any thread."""

    def __init__(self, at: datetime) -> None:
        self._lock = threading.Lock()
        self.at = at
        self.real = FakeTimer(hasty=True)

    def __call__(self) -> datetime:
        return self.at

    def pass_s(self, seconds: float) -> None:
        """So many real seconds pass."""
        with self._lock:
            self.at += timedelta(seconds=seconds * SPEED)
            self.real.forward(seconds)


class BusyMachine:
    """The demo market's provider on a busy machine: a fetch may take two seconds of real time."""

    def __init__(self, clock: DemoClock, delays: random.Random) -> None:
        self._clock, self._delays = clock, delays
        self._transport = FeedTransport(demo_feed(), CALENDAR, clock)

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        reply = self._transport(path, params)
        self._clock.pass_s(self._delays.choice(FETCHES_TAKE_S))
        return reply


def session_of(day: str) -> Session:
    session = CALENDAR.session_at(new_york(f"{day} 12:00"))
    assert session is not None
    return session


def signals(folder: Path, session: Session, seed: int) -> Iterator[tuple[datetime, TickerSignal | State]]:
    """What is shown over a whole session and the minutes around it, the follower's steps as late as `seed` makes them."""
    delays = random.Random(seed)
    clock = DemoClock(session.open - MARGIN)
    values = settings(market="demo", data_dir=folder)
    core = build(values, clock=clock, transport=BusyMachine(clock, delays), timer=clock.real.timer)
    while clock() < session.close + MARGIN:
        if delays.random() < 0.5:
            core.follower.step()
        clock.pass_s(delays.choice(STEP_PAUSES_S))
        at, ticker = clock(), delays.choice(TICKERS)
        if delays.random() < 0.5:
            yield from ((at, signal) for signal in core.pipeline.board(TICKERS, at).tickers.values())
        else:
            yield at, core.pipeline.state(ticker, at)
    core.close()


@pytest.mark.parametrize(("day", "seed"), [("2025-03-11", 1), ("2025-03-12", 2), ("2024-11-29", 3), ("2025-03-13", 4)])
def test_no_price_of_the_demo_is_stale_however_late_its_follower_and_its_fetches_are(
    tmp_path: Path, day: str, seed: int
) -> None:
    session = session_of(day)
    shown = list(signals(tmp_path, session, seed))
    stale = [(at, signal.ticker, signal.as_of) for at, signal in shown if signal.stale]
    assert stale == []
    after_open = session.open + timedelta(minutes=1)
    said = [(at, shown_at.signal if isinstance(shown_at, State) else shown_at) for at, shown_at in shown]
    prices = [signal.quote.price for at, signal in said if after_open <= at < session.close]
    assert len(prices) > 20
    assert None not in prices


def test_who_joins_a_fetch_that_began_minutes_ago_gets_the_bars_of_his_own_moment(tmp_path: Path) -> None:
    clock = DemoClock(new_york("2025-03-11 11:30:20"))
    transport, began, go_on = FeedTransport(demo_feed(), CALENDAR, clock), threading.Event(), threading.Event()
    plan = Plan(Market.DEMO, Span.MINUTE)

    def slow(path: str, params: Mapping[str, str]) -> Reply:
        reply = transport(path, params)
        if "/minute/" in path and not began.is_set():
            began.set()
            assert go_on.wait(PATIENCE_S)
        return reply

    store, cache = sqlite_store(tmp_path / "record.sqlite3", _unheard), BarCache(tmp_path / "bars.sqlite3", _unheard)
    about = (store, CALENDAR, clock, plan, _unheard)
    source = MarketData(Polygon(slow, CALENDAR), cache, *about, stages=EndsWhenJoined(go_on))
    source.refresh("SPY", clock())
    assert began.wait(PATIENCE_S)
    clock.pass_s(5)
    at = clock()
    found = source.intraday("SPY", at)
    assert found.bars.end[-1] == to_ms(at.replace(second=0))
    assert not found.stale
    source.close()


def _unheard(event: str, **fields: object) -> None:
    """Nobody listens."""
