"""What the notifier sees of the market: the signals of the running hour, and states that have lasted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.core import Core
from app.factory import build
from app.market.polygon import Reply
from app.notify.message import Condition, Kind, Message, Wanted
from app.notify.steadiness import LASTS_S
from app.notify.watch import MarketParts, Watch
from app.signals.policy import SUPPORTED
from app.signals.store import RecordStore
from blueprints.v2.notifications import NotificationBodies
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings

DAY = date(2025, 3, 11)
EVERY = Wanted(SUPPORTED, ("LONG", "SHORT", "NO_TRADE"), 0.0, states=True)


class Seen:
    """A server on a scripted market, and what a watch of it says."""

    def __init__(self, folder: Path, clock: FakeClock, market: ScriptedMarket, wanted: Wanted = EVERY) -> None:
        self.clock, self.market, self.timer = clock, market, FakeTimer()
        values = settings(market="polygon", polygon_api_key="k-secret", data_dir=folder)
        self.core: Core = build(values, clock=clock, transport=market)
        clock.fetches.append(self.core.pipeline.fetches)
        core = self.core
        bodies = NotificationBodies(core.pipeline)
        self.is_key_refused = False
        about = (clock, self.timer.timer.now, bodies, lambda: self.is_key_refused)
        parts = MarketParts(core.pipeline, core.calendar, *about)
        self.watch = Watch(parts, wanted)

    def look(self) -> list[Message]:
        return list(self.watch.look())

    def signals(self) -> list[str]:
        return [message.id for message in self.look() if message.kind is Kind.SIGNAL]

    def states(self, seconds: float = LASTS_S) -> list[tuple[str, str]]:
        """The states that have lasted for so long, and are looked at before and after."""
        self.look()
        self.timer.forward(seconds)
        return [(message.subject, str(message.condition)) for message in self.look() if message.condition is not None]


@pytest.fixture
def seen(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Iterator[Seen]:
    found = Seen(tmp_path, clock, market)
    yield found
    found.core.close()


def test_the_locked_signals_of_the_running_hour_are_told_of(seen: Seen) -> None:
    assert seen.signals() == [f"signal-polygon-{ticker}-2025-03-11T11" for ticker in SUPPORTED]
    seen.clock.set("2025-03-11 12:01")
    assert seen.signals() == [f"signal-polygon-{ticker}-2025-03-11T12" for ticker in SUPPORTED]


@pytest.mark.parametrize("moment", ["2025-03-11 09:45", "2025-03-11 16:00", "2025-03-11 20:00", "2025-03-08 12:00"])
def test_nothing_is_told_before_the_first_hour_nor_while_the_market_is_closed(seen: Seen, moment: str) -> None:
    seen.signals()
    seen.clock.set(moment)
    assert seen.signals() == []


def test_the_signal_of_the_hour_before_is_not_told_of_while_this_hours_is_awaited(seen: Seen) -> None:
    seen.signals()
    seen.market.delay = timedelta(minutes=2)
    seen.clock.set("2025-03-11 12:00:20")
    assert seen.signals() == []


def test_a_signal_whose_data_are_stale_is_not_told_of(seen: Seen) -> None:
    assert len(seen.signals()) == 3
    seen.clock.set("2025-03-11 11:36")
    seen.market.fault = lambda path: Reply(500, {}, None)
    assert seen.signals() == []
    assert all(seen.watch.is_stale(ticker) for ticker in SUPPORTED)


def test_stale_data_are_told_of_once_they_have_been_so_for_two_minutes_and_so_is_their_return(seen: Seen) -> None:
    assert [condition for _, condition in seen.states()] == ["recovered"] * 3 + ["accepted"]
    seen.clock.set("2025-03-11 11:36")
    seen.market.fault = lambda path: Reply(500, {}, None)
    assert seen.states(LASTS_S - 1) == []
    assert seen.states() == [(ticker, "stale") for ticker in SUPPORTED]


def test_data_have_not_recovered_and_no_key_is_accepted_before_the_days_first_bar_is_here(seen: Seen) -> None:
    """What was stale at the close of the day before would be said to be current while nothing is known of today."""
    seen.clock.set("2025-03-11 09:30:30")
    assert seen.states() == []
    assert all(seen.watch.is_stale(ticker) for ticker in SUPPORTED)


def test_a_signal_that_the_record_does_not_have_yet_is_not_told_of(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have locked another one, which then is the record's."""
    with monkeypatch.context() as patch:
        patch.setattr(seen.core.store, "degraded", lambda: "the disk is full")
        assert seen.signals() == []
    assert len(seen.signals()) == 3


def test_a_signal_in_whose_place_the_record_turns_out_to_have_another_one_is_not_told_of(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record can be written again just when the watch asks for that: what another process locked is shown from then on."""
    ours, other = f"signal-polygon-SPY-{DAY}T11", f"signal-polygon-QQQ-{DAY}T11"

    def caught_up(store: RecordStore) -> str | None:
        shown = store.get("SPY", DAY, 11)
        assert shown is not None
        store._signals.kept.put(("SPY", DAY, 11), replace(shown, p_a=shown.p_a / 2))
        return None

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "degraded", caught_up)
        told = seen.signals()
    assert (ours in told, other in told) == (False, True)
    assert ours in seen.signals()


def test_what_was_seen_before_another_process_looked_says_nothing_about_now(seen: Seen) -> None:
    seen.look()
    seen.timer.forward(LASTS_S)
    seen.watch.forget()
    assert all(seen.watch.is_stale(ticker) for ticker in SUPPORTED)
    assert [message for message in seen.look() if message.condition is not None] == []


def test_no_states_are_told_of_where_they_are_not_wanted(
    tmp_path: Path, clock: FakeClock, market: ScriptedMarket
) -> None:
    found = Seen(tmp_path, clock, market, Wanted(("SPY",), ("LONG", "SHORT", "NO_TRADE"), 0.0, states=False))
    assert found.states() == []
    assert found.signals() == ["signal-polygon-SPY-2025-03-11T11"]
    found.core.close()


def test_a_refused_key_is_told_of(seen: Seen) -> None:
    seen.is_key_refused = True
    assert seen.states()[-1] == ("provider", "refused")


def test_tickers_that_are_looked_at_are_in_use(seen: Seen) -> None:
    seen.look()
    assert set(seen.core.pipeline.interest.last_uses(seen.clock())) == {*SUPPORTED}


def test_a_webhook_gets_the_signal_as_version_2_has_it(seen: Seen) -> None:
    [spy, *_] = (message for message in seen.look() if message.kind is Kind.SIGNAL)
    body = json.loads(spy.body)
    locked = seen.core.store.get("SPY", seen.clock().date(), 11)
    assert locked is not None
    assert (body["type"], body["data"]["ticker"], body["data"]["source"]) == ("signal.locked", "SPY", "polygon")
    signal = body["data"]["signal"]
    assert (signal["decision_hour"], signal["model"]["model_id"]) == (11, locked.model_id)
    assert "outcome" not in signal


def test_a_webhook_gets_a_state_with_its_reason(seen: Seen) -> None:
    body = json.loads(NotificationBodies(seen.core.pipeline).state("SPY", Condition.STALE, seen.clock()))
    assert (body["type"], body["data"]["subject"], body["data"]["state"]) == ("state.changed", "SPY", "stale")
    assert "stale" in body["data"]["reason"]
