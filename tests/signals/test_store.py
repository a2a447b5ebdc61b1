"""The record keeps the first word. This suite runs over every kind of store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from app.clock import REAL_TIME, Timer
from app.errors import Unavailable
from app.market.opens import OfficialOpen
from app.model.ranges import PriceRange
from app.signals import sqlite_record
from app.signals.policy import Decision
from app.signals.sqlite_record import SqliteRecord
from app.signals.store import RecordStore, SignalStore
from app.sqlite import REOPEN_AFTER_S
from tests.racing import raced
from tests.signals.stores import database_of, redis_store, sqlite_store, unheard
from tests.signals.test_policy import decision

DAY = date(2025, 3, 11)
Heard = list[str]


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.integration)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path, heard: Heard) -> Callable[[], SignalStore]:
    """Opens the same store anew, as another process would."""
    emit = lambda event, **fields: heard.append(event)  # noqa: E731
    if request.param == "sqlite":
        return lambda: sqlite_store(tmp_path / "record.sqlite3", emit)
    url = request.getfixturevalue("redis_url")
    return lambda: redis_store(url, "record", emit)


@pytest.fixture
def open_file(tmp_path: Path, heard: Heard) -> Callable[[], SignalStore]:
    """Opens the same SQLite file anew, as another process would."""
    return lambda: sqlite_store(tmp_path / "record.sqlite3", lambda event, **fields: heard.append(event))


def test_what_was_locked_comes_back_bit_for_bit(open_store: Callable[[], SignalStore]) -> None:
    ranges = (PriceRange(0.5, 122.1, 124.3), PriceRange(0.8, 121.0 + 1 / 3, 125.0))
    said = replace(decision(1 / 3, 0.9), price=123.456789012345678, ranges=ranges)
    open_store().put(said)
    assert open_store().get("SPY", DAY, 13) == said


def test_the_first_writer_wins(open_store: Callable[[], SignalStore]) -> None:
    one, other = open_store(), open_store()
    first, second = decision(0.6, 0.9), decision(0.4, 0.1)
    assert one.put(first) == first
    assert other.put(second) == first
    assert other.get("SPY", DAY, 13) == first


def test_hours_days_and_tickers_are_apart(open_store: Callable[[], SignalStore]) -> None:
    store = open_store()
    store.put(decision(0.6, 0.9))
    assert store.get("SPY", DAY, 14) is None
    assert store.get("QQQ", DAY, 13) is None
    assert store.get("SPY", date(2025, 3, 12), 13) is None


def test_the_first_open_stays(open_store: Callable[[], SignalStore]) -> None:
    one, other = open_store(), open_store()
    assert one.put_open("SPY", DAY, OfficialOpen(500.1, "minute")) == OfficialOpen(500.1, "minute")
    assert other.put_open("SPY", DAY, OfficialOpen(500.2, "daily")) == OfficialOpen(500.1, "minute")
    assert open_store().get_open("SPY", DAY) == OfficialOpen(500.1, "minute")


def test_the_first_eleven_oclock_price_stays(open_store: Callable[[], SignalStore]) -> None:
    one, other = open_store(), open_store()
    assert one.get_eleven("SPY", DAY) is None
    assert one.put_eleven("SPY", DAY, 500.1) == 500.1
    assert other.put_eleven("SPY", DAY, 500.2) == 500.1
    assert open_store().get_eleven("SPY", DAY) == 500.1
    assert open_store().get_eleven("QQQ", DAY) is None


def test_the_prices_before_a_split_are_forgotten_and_the_signals_stay(open_store: Callable[[], SignalStore]) -> None:
    one, other = open_store(), open_store()
    said, split = decision(0.6, 0.9), date(2025, 3, 12)
    for store in (one, other):
        store.put(said)
        for day in (DAY, split):
            store.put_eleven("SPY", day, 500.1)
            store.put_open("SPY", day, OfficialOpen(500.1, "daily"))
        store.put_eleven("QQQ", DAY, 400.1)
    one.forget_prices("SPY", split)
    other.read_prices_again("SPY", split)
    for store in (one, other, open_store()):
        assert (store.get_eleven("SPY", DAY), store.get_open("SPY", DAY)) == (None, None)
        assert (store.get_eleven("SPY", split), store.get_eleven("QQQ", DAY)) == (500.1, 400.1)
        assert store.get_open("SPY", split) == OfficialOpen(500.1, "daily")
        assert store.get("SPY", DAY, 13) == said


RACE = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.signals.stores import sqlite_store
from tests.signals.test_policy import decision

def race(number):
    store = sqlite_store(Path(sys.argv[1]))
    for hour in range(100):
        store.put(replace(decision(0.6, (0.9, 0.8, 0.2, 0.1)[number]), hour=hour))
"""


@pytest.mark.integration
def test_processes_that_race_agree_on_every_signal(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite3"
    raced(RACE, 4, path)
    store = sqlite_store(path)
    kept = [store.get("SPY", DAY, hour) for hour in range(100)]
    assert all(found is not None for found in kept)
    again = [store.put(replace(decision(0.6, 0.5), hour=hour)) for hour in range(100)]
    assert again == kept


def unwritable(folder: Path, timer: Timer = REAL_TIME) -> RecordStore:
    """A store whose folder cannot be made: a file stands where it should be."""
    folder.write_text("in the way")
    return sqlite_store(folder / "record.sqlite3", timer=timer)


def test_a_store_that_cannot_be_written_still_holds_its_word(tmp_path: Path) -> None:
    store = unwritable(tmp_path / "data")
    first = store.put(decision(0.6, 0.9))
    assert store.put(decision(0.4, 0.1)) == first
    assert store.get("SPY", DAY, 13) == first
    assert store.put_open("SPY", DAY, OfficialOpen(1.0, "daily")).price == 1.0
    assert store.put_open("SPY", DAY, OfficialOpen(2.0, "daily")).price == 1.0
    assert "cannot open" in str(store.degraded())


def test_it_writes_later_what_it_could_not_write(tmp_path: Path) -> None:
    now = [1000.0]
    folder = tmp_path / "data"
    store = unwritable(folder, Timer(now=lambda: now[0]))
    said = store.put(decision(0.6, 0.9))
    store.put_open("SPY", DAY, OfficialOpen(1.0, "daily"))
    folder.unlink()
    assert store.degraded() is not None
    now[0] += REOPEN_AFTER_S
    assert store.get("SPY", DAY, 14) is None
    assert store.degraded() is None
    other = sqlite_store(folder / "record.sqlite3")
    assert other.get("SPY", DAY, 13) == said
    assert other.get_open("SPY", DAY) == OfficialOpen(1.0, "daily")


def test_what_is_said_while_it_catches_up_is_written_too(tmp_path: Path) -> None:
    """Another thread locks a signal while the record is being written."""
    now, said = [1000.0], [replace(decision(0.6, 0.9), hour=hour) for hour in (11, 13)]

    class Busy(SqliteRecord):
        def lock(self, decision: Decision) -> Decision:
            if len(said) > 1:
                store.put(said.pop())
            return super().lock(decision)

    folder = tmp_path / "data"
    folder.write_text("in the way")
    store = RecordStore(lambda: Busy(folder / "record.sqlite3"), unheard, Timer(now=lambda: now[0]))
    store.put(said[0])
    folder.unlink()
    now[0] += REOPEN_AFTER_S
    assert store.degraded() is None
    hours = [signal.hour for signal in sqlite_store(folder / "record.sqlite3").listing("SPY", (DAY, 0), DAY, 9)]
    assert hours == [11, 13]


def while_reading(store: RecordStore, do: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something once, in another thread's place, when the store next looks whether its record has a value."""
    read, left = store._read, [do]

    def meanwhile(work: Callable[[Any], Any]) -> Any:
        while left:
            left.pop()()
        return read(work)

    monkeypatch.setattr(store, "_read", meanwhile)


def test_of_two_threads_that_speak_while_the_store_fails_the_first_word_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, first, second = unwritable(tmp_path / "data"), decision(0.6, 0.9), decision(0.4, 0.1)
    while_reading(store, lambda: store.put(first), monkeypatch)
    assert store.put(second) == first
    assert store.get("SPY", DAY, 13) == first


def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no record answers."""

    def fail(*args: object) -> None:
        raise Unavailable("no answer", part="store", detail="no answer")

    monkeypatch.setattr(SqliteRecord, "lock", fail)
    monkeypatch.setattr(SqliteRecord, "signal", fail)


def test_what_was_shown_from_the_record_stays_when_another_thread_finds_that_no_longer_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads compute one hour; the record stops to answer between their words."""
    store, first = sqlite_store(tmp_path / "record.sqlite3"), decision(0.6, 0.9)
    assert store.put(first) == first
    silent(monkeypatch)
    assert store.put(decision(0.4, 0.1)) == first
    assert store.get("SPY", DAY, 13) == first


def test_the_store_is_degraded_by_the_time_that_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is made just then is kept as one of the state after the event."""
    found: list[str | None] = []

    def hear(event: str, **fields: object) -> None:
        found.append(store.degraded())

    store = sqlite_store(tmp_path / "record.sqlite3", hear)
    silent(monkeypatch)
    store.put(decision(0.6, 0.9))
    assert found == ["no answer"]


def test_what_is_said_while_another_thread_ends_the_failure_is_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, folder, said = [1000.0], tmp_path / "data", decision(0.6, 0.9)
    store = unwritable(folder, Timer(now=lambda: now[0]))

    def recover() -> None:
        folder.unlink()
        now[0] += REOPEN_AFTER_S
        assert store.degraded() is None

    while_reading(store, recover, monkeypatch)
    assert store.put(said) == said
    assert sqlite_store(folder / "record.sqlite3").get("SPY", DAY, 13) == said


def test_a_record_that_does_not_answer_is_not_asked_by_every_request(tmp_path: Path) -> None:
    now, asked = [1000.0], []

    class Silent(SqliteRecord):
        def signal(self, ticker: str, day: date, hour: int) -> Decision | None:
            asked.append(hour)
            raise Unavailable("no answer", part="store")

    store = RecordStore(lambda: Silent(tmp_path / "record.sqlite3"), unheard, Timer(now=lambda: now[0]))
    assert [store.get("SPY", DAY, hour) for hour in range(10, 16)] == [None] * 6
    assert asked == [10]
    now[0] += REOPEN_AFTER_S
    assert store.get("SPY", DAY, 14) is None
    assert asked == [10, 14]


def test_it_forgets_later_what_it_could_not_forget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, split = [1000.0], date(2025, 3, 12)
    store = sqlite_store(tmp_path / "record.sqlite3", timer=Timer(now=lambda: now[0]))
    store.put_eleven("SPY", DAY, 500.1)

    def refuse(*args: object) -> int:
        raise Unavailable("the disk is full", part="store")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_record.Database, "write", refuse)
        store.forget_prices("SPY", split)
        store.put_eleven("SPY", split, 250.2)
        assert store.degraded() is not None
    now[0] += REOPEN_AFTER_S
    assert store.degraded() is None
    other = sqlite_store(tmp_path / "record.sqlite3")
    for found in (store, other):
        assert (found.get_eleven("SPY", DAY), found.get_eleven("SPY", split)) == (None, 250.2)


def test_asking_how_it_is_tries_the_file_again_and_believes_no_file_that_cannot_be_read(
    tmp_path: Path, heard: Heard
) -> None:
    now = [1000.0]
    timer = Timer(now=lambda: now[0])
    store = sqlite_store(tmp_path / "record.sqlite3", lambda event, **fields: heard.append(event), timer=timer)
    database_of(store).write("ALTER TABLE signals RENAME TO lost")
    assert store.get("SPY", DAY, 13) is None
    for _ in range(3):
        now[0] += REOPEN_AFTER_S
        assert store.degraded() is not None
    assert heard == ["store_degraded"], "no back and forth"
    database_of(store).write("ALTER TABLE lost RENAME TO signals")
    assert store.degraded() is not None, "not yet: it was tried a moment ago"
    now[0] += REOPEN_AFTER_S
    assert store.degraded() is None
    assert heard == ["store_degraded", "store_recovered"]


def test_a_full_disk_degrades_and_says_so_once(open_file: Callable[[], SignalStore], heard: Heard) -> None:
    store = open_file()
    pages = database_of(store).rows("PRAGMA page_count")[0][0]
    database_of(store).rows(f"PRAGMA max_page_count = {pages}")
    said: list[Decision] = [store.put(replace(decision(0.6, 0.9), hour=hour)) for hour in range(50)]
    assert "full" in str(store.degraded())
    assert heard == ["store_degraded"]
    assert [store.get("SPY", DAY, hour) for hour in range(50)] == said


def test_a_disk_turned_read_only_degrades(open_file: Callable[[], SignalStore], heard: Heard) -> None:
    store = open_file()
    before = store.put(decision(0.6, 0.9))
    database_of(store).rows("PRAGMA query_only = 1")
    after = store.put(replace(decision(0.6, 0.9), hour=14))
    assert "readonly" in str(store.degraded())
    assert heard == ["store_degraded"]
    assert (store.get("SPY", DAY, 13), store.get("SPY", DAY, 14)) == (before, after)


def test_while_writes_fail_what_is_recorded_is_still_read(
    open_file: Callable[[], SignalStore], heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process holds the write lock: a locked signal is not made anew."""
    monkeypatch.setattr(sqlite_record, "WRITE_PATIENCE_S", 0.1)
    said = open_file().put(decision(0.6, 0.9))
    blocker = open_file()
    with database_of(blocker).transaction():
        other = open_file()
        assert other.get("SPY", DAY, 13) == said
        assert other.put(decision(0.4, 0.1)) == said
        other.put(replace(decision(0.6, 0.9), hour=14))
        assert other.degraded() is not None
        fresh = open_file()
        assert fresh.get("SPY", DAY, 13) == said


def test_a_record_that_cannot_be_read_is_a_gap_and_no_fault(open_file: Callable[[], SignalStore]) -> None:
    store = open_file()
    store.put(decision(0.6, 0.9))
    database_of(store).write("UPDATE signals SET record = ?", ('{"ticker": "SPY"}',))
    other = open_file()
    assert other.get("SPY", DAY, 13) is None
    assert other.put(decision(0.4, 0.1)) == decision(0.4, 0.1)
    assert other.degraded() is None


def test_signals_are_listed_in_their_order_within_bounds(open_store: Callable[[], SignalStore]) -> None:
    store, days = open_store(), [date(2025, 3, day) for day in (12, 10, 11)]
    for day in days:
        for hour in (15, 10, 13):
            store.put(replace(decision(0.6, 0.9), day=day, hour=hour))
            store.put(replace(decision(0.6, 0.9), day=day, hour=hour, ticker="QQQ"))
    every = [(day, hour) for day in sorted(days) for hour in (10, 13, 15)]

    def listed(after: tuple[date, int], last: date, limit: int) -> list[tuple[date, int]]:
        found = open_store().listing("SPY", after, last, limit)
        assert {signal.ticker for signal in found} <= {"SPY"}
        return [(signal.day, signal.hour) for signal in found]

    assert listed((date.min, 0), date(2100, 1, 1), 100) == every
    assert listed((date(2025, 3, 10), 13), date(2025, 3, 11), 100) == every[2:6]
    assert listed((date(2025, 3, 10), 13), date(2100, 1, 1), 2) == every[2:4]
    assert listed(every[-1], date(2100, 1, 1), 2) == []


def test_what_could_not_be_written_is_listed_too(open_file: Callable[[], SignalStore]) -> None:
    store = open_file()
    store.put(decision(0.6, 0.9))
    database_of(store).rows("PRAGMA query_only = 1")
    store.put(replace(decision(0.6, 0.9), hour=11))
    assert [signal.hour for signal in store.listing("SPY", (DAY, 0), DAY, 9)] == [11, 13]
    assert [signal.hour for signal in store.listing("SPY", (DAY, 0), DAY, 1)] == [11]


def test_a_record_that_cannot_be_read_does_not_end_the_list(open_file: Callable[[], SignalStore]) -> None:
    store = open_file()
    for hour in (10, 11, 12, 13, 14):
        store.put(replace(decision(0.6, 0.9), hour=hour))
    database_of(store).write("UPDATE signals SET record = '{}' WHERE hour IN (10, 12)")
    assert [signal.hour for signal in open_file().listing("SPY", (DAY, 0), DAY, 2)] == [11, 13]


def test_a_record_that_is_not_seen_is_no_gap(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read now"):
        unwritable(tmp_path / "data").listing("SPY", (DAY, 0), DAY, 9)
