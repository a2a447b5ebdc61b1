"""What was said is compared with the record: a change behind the server's back is told once, and changes no answer."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from app.clock import Timer
from app.factory import Core, build
from app.live.events import Events
from app.model.drift import Drift
from app.signals.policy import Decision
from app.sqlite import REOPEN_AFTER_S
from app.telemetry.core_metrics import core_metrics
from tests.signals.stores import database_of, sqlite_store
from tests.signals.test_policy import decision
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings, wait_until_none_is_under_way
from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
CHANGES = {
    "changed": 'UPDATE signals SET record = replace(record, \'"action":"LONG"\', \'"action":"SHORT"\') WHERE hour = 13',
    "another ticker's": "UPDATE signals SET record = replace(record, '\"SPY\"', '\"QQQ\"') WHERE hour = 13",
    "deleted": "DELETE FROM signals WHERE hour = 13",
    "cut off": "UPDATE signals SET record = substr(record, 1, 40) WHERE hour = 13",
    "no longer JSON": "UPDATE signals SET record = 'nonsense' WHERE hour = 13",
    "empty": "UPDATE signals SET record = '' WHERE hour = 13",
    "under another hour": "UPDATE signals SET hour = 12 WHERE hour = 13",
}


class Heard:
    """A store, its file, what it told, and the seconds by which it tries its file again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events = Events()
        self.now = 1000.0
        self.store = sqlite_store(path, self.events, timer=Timer(now=lambda: self.now))

    def put(self, *hours: int) -> list[Decision]:
        return [self.store.put(replace(decision(0.6, 0.9), hour=hour)) for hour in hours]

    def behind_its_back(self, sql: str) -> int:
        with closing(sqlite3.connect(self.path, timeout=PATIENCE_S)) as other, other:
            return other.execute(sql).rowcount

    def told(self) -> int:
        return self.events.counts["record_changed",]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    found = Heard(tmp_path / "data" / "record.sqlite3")
    yield found
    found.store.close()


@pytest.mark.parametrize("how", CHANGES)
def test_a_signal_that_is_not_what_was_said_is_told_once(
    heard: Heard, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    said = heard.put(13, 14)
    assert heard.behind_its_back(CHANGES[how]) == 1
    for _ in range(3):
        heard.store.verify(DAY)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ["record_changed ticker=SPY day=2025-03-11 hour=13"]
    assert heard.told() == heard.store.changes() == 1
    assert [heard.store.get("SPY", DAY, hour) for hour in (13, 14)] == said, "it goes on saying what it said"
    assert heard.store.degraded() is None


def test_each_signal_is_told_by_itself(heard: Heard) -> None:
    heard.put(10, 11, 12)
    heard.behind_its_back("DELETE FROM signals WHERE hour = 10")
    heard.store.verify(DAY)
    heard.behind_its_back("DELETE FROM signals WHERE hour = 12")
    heard.store.verify(DAY)
    assert heard.told() == heard.store.changes() == 2


def test_a_signal_that_was_read_and_not_made_is_watched_too(heard: Heard) -> None:
    heard.put(13)
    other = Heard(heard.path)
    assert other.store.get("SPY", DAY, 13) is not None
    heard.behind_its_back("DELETE FROM signals")
    other.store.verify(DAY)
    assert other.told() == 1
    other.store.close()


def test_what_is_as_it_was_said_tells_nothing(heard: Heard) -> None:
    heard.put(*range(10, 16))
    heard.behind_its_back("INSERT INTO signals SELECT ticker, day, hour + 50, record FROM signals")
    heard.behind_its_back("VACUUM")
    for _ in range(3):
        heard.store.verify(DAY)
    assert heard.told() == heard.store.changes() == 0


def test_other_days_are_left_alone(heard: Heard) -> None:
    heard.put(13)
    heard.behind_its_back("DELETE FROM signals")
    heard.store.verify(date(2025, 3, 12))
    assert heard.told() == 0


def test_another_process_that_was_first_changed_nothing(heard: Heard) -> None:
    other = Heard(heard.path)
    first = other.store.put(decision(0.6, 0.9))
    assert heard.store.put(decision(0.4, 0.1)) == first
    heard.store.verify(DAY)
    assert heard.told() == 0
    other.store.close()


# --- a store in trouble ---


def test_a_store_that_cannot_be_read_tells_of_no_change(heard: Heard) -> None:
    said = heard.put(13)
    heard.behind_its_back("DROP TABLE signals")
    heard.store.verify(DAY)
    assert heard.events.counts["store_degraded",] == 1
    assert heard.told() == heard.store.changes() == 0
    assert heard.store.get("SPY", DAY, 13) == said[0]


def test_a_store_that_cannot_be_written_tells_of_no_change(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    found = Heard(tmp_path / "data" / "record.sqlite3")
    found.put(13, 14)
    found.store.verify(DAY)
    assert found.store.degraded() is not None
    assert found.told() == found.store.changes() == 0


def test_a_signal_that_is_not_written_yet_is_no_change(heard: Heard) -> None:
    heard.put(13)
    database_of(heard.store).rows("PRAGMA query_only = 1")
    heard.put(14)
    assert heard.store.degraded() is not None
    heard.store.verify(DAY)
    assert heard.told() == 0


def test_what_was_written_late_is_watched_from_then_on(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way")
    found = Heard(tmp_path / "data" / "record.sqlite3")
    found.put(13)
    (tmp_path / "data").unlink()
    found.now += REOPEN_AFTER_S
    assert found.store.get("SPY", DAY, 14) is None
    found.store.verify(DAY)
    assert (found.store.degraded(), found.told()) == (None, 0)
    found.behind_its_back("DELETE FROM signals")
    found.store.verify(DAY)
    assert found.told() == 1
    found.store.close()


def test_when_another_was_first_meanwhile_its_word_is_taken_and_no_change_told(heard: Heard) -> None:
    """The store comes back while it compares: signals of before are compared, one that was not written is not."""
    heard.put(12)
    database_of(heard.store).rows("PRAGMA query_only = 1")
    ours = heard.store.put(decision(0.4, 0.1))
    other = Heard(heard.path)
    theirs = other.store.put(decision(0.6, 0.9))
    assert ours != theirs
    database_of(heard.store).rows("PRAGMA query_only = 0")
    heard.now += REOPEN_AFTER_S
    heard.store.verify(DAY)
    assert heard.store.degraded() is None
    assert heard.store.get("SPY", DAY, 13) == theirs
    assert heard.told() == 0
    other.store.close()


# --- who compares ---


@pytest.fixture
def core(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Iterator[Core]:
    """A server without doors at 11:30, whose follower a test steps."""
    values = {"market": "polygon", "polygon_api_key": "k", "data_dir": tmp_path}
    timer = FakeTimer(hasty=True)
    found = build(settings(**values), clock=clock, transport=market, timer=timer.timer)
    clock.fetches.append(found.pipeline.fetches)
    yield found
    found.close()


def step(core: Core) -> None:
    core.follower.step()
    wait_until_none_is_under_way(core.follower.waiting, core.source.fetches.waiting)


def changes_metric(core: Core) -> float:
    [found] = [metric for metric in core_metrics(core, Drift({}), {}) if metric.name == "predict_record_changes_total"]
    return found.read()[()]


def test_the_follower_compares_once_a_market_minute(core: Core, clock: FakeClock) -> None:
    core.pipeline.signal("SPY", clock())
    core.pipeline.signal("QQQ", clock())
    step(core)
    assert core.events.counts["signal_locked",] >= 2
    record = core.settings.data_dir / core.market.namespace / "record.sqlite3"
    for n, ticker in enumerate(("SPY", "QQQ"), 1):
        with closing(sqlite3.connect(record, timeout=PATIENCE_S)) as other, other:
            assert other.execute("DELETE FROM signals WHERE ticker = ?", (ticker,)).rowcount == 1
        clock.forward(seconds=59)
        step(core)
        assert changes_metric(core) == n - 1, "a minute is not over"
        clock.forward(seconds=1)
        step(core)
        assert changes_metric(core) == n
    assert core.events.counts["record_changed",] == 2


def test_on_a_day_without_trading_there_is_nothing_to_compare(
    core: Core, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[date] = []
    monkeypatch.setattr(core.store, "verify", compared.append)
    step(core)
    assert compared == [DAY]
    clock.set("2025-03-15 11:30")
    step(core)
    assert compared == [DAY]
