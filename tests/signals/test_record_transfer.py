"""A record moves between stores whole, and nothing that a store holds is overwritten. Runs over each pair of stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.errors import BrokenData
from app.market.opens import OfficialOpen
from app.redis_database import RedisDatabase
from app.signals.policy import Decision
from app.signals.record import Record, text_of
from app.signals.record_entries import PAGE, entries
from app.signals.record_entry import ElevenEntry, Entry, OpenEntry, SignalEntry
from app.signals.record_transfer import BATCH, add_all, paired
from app.signals.redis_record import RedisRecord
from app.signals.sqlite_record import SqliteRecord
from tests.signals.test_policy import decision
from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
NEXT = DAY + timedelta(days=1)
SAID = decision(0.6, 0.9)
Opener = Callable[[str], Record]


@pytest.fixture
def opened() -> Iterator[list[Record]]:
    records: list[Record] = []
    yield records
    for record in records:
        record.close()


@pytest.fixture
def open_sqlite(tmp_path: Path, opened: list[Record]) -> Opener:
    def open_record(name: str) -> Record:
        opened.append(SqliteRecord(tmp_path / f"{name}.sqlite3"))
        return opened[-1]

    return open_record


@pytest.fixture
def open_redis(redis_url: str, opened: list[Record]) -> Opener:
    def open_record(name: str) -> Record:
        opened.append(RedisRecord(RedisDatabase(redis_url, PATIENCE_S), name))
        return opened[-1]

    return open_record


KINDS = ["sqlite", pytest.param("redis", marks=pytest.mark.integration)]


@pytest.fixture(params=KINDS)
def source(request: pytest.FixtureRequest) -> Record:
    found: Record = request.getfixturevalue(f"open_{request.param}")("source")
    return found


@pytest.fixture(params=KINDS)
def target(request: pytest.FixtureRequest) -> Record:
    found: Record = request.getfixturevalue(f"open_{request.param}")("target")
    return found


def signal(ticker: str = "SPY", day: date = DAY, hour: int = 13, **values: object) -> Decision:
    return replace(SAID, ticker=ticker, day=day, hour=hour, **values)  # type: ignore[arg-type]


def fill(record: Record) -> None:
    """Signals, opens and 11:00 prices of two tickers and two days, in no order."""
    for ticker in ("SPY", "IWM"):
        for day in (NEXT, DAY):
            for hour in (15, 10):
                record.lock(signal(ticker, day, hour))
            record.add_open(ticker, day, OfficialOpen(500.1, "daily"))
            record.add_eleven(ticker, day, 1 / 3)


def added(record: Record, found: list[Entry]) -> tuple[dict[str, int], list[str]]:
    different: list[str] = []
    counts = add_all(record, found, lambda entry: different.append(str(entry)))
    return dict(counts), different


def test_all_that_a_record_holds_comes_in_one_order_whichever_store_it_is(source: Record) -> None:
    fill(source)
    assert [str(entry) for entry in entries(source)] == [
        *(
            f"signal of {ticker} {day} {hour}:00"
            for day in (DAY, NEXT)
            for hour in (10, 15)
            for ticker in ("IWM", "SPY")
        ),
        *(f"official open of {ticker} {day}" for day in (DAY, NEXT) for ticker in ("IWM", "SPY")),
        *(f"11:00 price of {ticker} {day}" for day in (DAY, NEXT) for ticker in ("IWM", "SPY")),
    ]


def test_a_record_that_was_moved_is_the_same_bit_for_bit(source: Record, target: Record) -> None:
    fill(source)
    moved = list(entries(source))
    assert added(target, moved) == ({"added": 16}, [])
    assert list(entries(target)) == moved
    assert target.signals("SPY", (DAY, 0), NEXT, 9) == source.signals("SPY", (DAY, 0), NEXT, 9)
    assert target.official_open("SPY", DAY) == OfficialOpen(500.1, "daily")
    assert target.eleven("IWM", NEXT) == 1 / 3


def test_moving_a_record_again_adds_nothing_and_what_is_missing_alone(source: Record, target: Record) -> None:
    fill(source)
    moved = list(entries(source))
    added(target, moved[::2])
    assert added(target, moved) == ({"there": 8, "added": 8}, [])
    assert added(target, moved) == ({"there": 16}, [])


def test_what_a_store_holds_stays_and_what_differs_is_named(source: Record, target: Record) -> None:
    fill(source)
    kept = [signal(hour=10, p_b=0.1), OfficialOpen(499.9, "minute"), 499.5]
    target.lock(signal(hour=10, p_b=0.1))
    target.add_open("SPY", DAY, OfficialOpen(499.9, "minute"))
    target.add_eleven("SPY", DAY, 499.5)
    counts, different = added(target, list(entries(source)))
    assert counts == {"added": 13, "different": 3}
    assert different == [
        f"signal of SPY {DAY} 10:00",
        f"official open of SPY {DAY}",
        f"11:00 price of SPY {DAY}",
    ]
    assert [target.signal("SPY", DAY, 10), target.official_open("SPY", DAY), target.eleven("SPY", DAY)] == kept


def test_an_hour_that_a_store_cannot_read_is_not_counted_as_added(open_sqlite: Opener) -> None:
    target = open_sqlite("target")
    assert isinstance(target, SqliteRecord)
    target.db.write("INSERT INTO signals VALUES ('SPY', ?, 13, 'nothing')", (DAY.isoformat(),))
    assert added(target, [SignalEntry(signal=signal())]) == ({"different": 1}, [f"signal of SPY {DAY} 13:00"])


def test_a_record_of_more_than_a_page_is_whole(source: Record) -> None:
    days = [DAY + timedelta(days=n) for n in range(PAGE + 1)]
    for day in days:
        source.lock(signal(day=day))
    assert [entry.place[1] for entry in entries(source)] == days


def test_an_empty_record_has_no_entries(source: Record) -> None:
    assert list(entries(source)) == []
    assert source.tickers() == []


@pytest.mark.integration
def test_a_record_in_redis_is_apart_from_those_whose_names_are_like_its_own(open_redis: Opener) -> None:
    for name in ("record:a?c", "record:abc", "record:a?c:more", "else"):
        open_redis(name).lock(signal("SPY" if name == "record:a?c" else "QQQ"))
    assert open_redis("record:a?c").tickers() == ["SPY"]


def test_a_signal_in_the_place_of_another_one_is_named(open_sqlite: Opener) -> None:
    """A row whose text was exchanged for that of another hour, which the listing by hours would follow in a circle."""
    record = open_sqlite("source")
    fill(record)
    assert isinstance(record, SqliteRecord)
    sql = "UPDATE signals SET record = ? WHERE ticker = 'SPY' AND day = ? AND hour = 15"
    for text in (text_of(signal(hour=10)), text_of(signal("QQQ", hour=15))):
        record.db.write(sql, (text, DAY.isoformat()))
        with pytest.raises(BrokenData, match="in the place of another one"):
            list(entries(record))


def test_two_records_are_compared_place_by_place(source: Record, target: Record) -> None:
    source.lock(signal(hour=10))
    source.lock(signal(hour=11))
    source.lock(signal(hour=12))
    target.lock(signal(hour=11))
    target.lock(signal(hour=12, p_b=0.1))
    target.lock(signal(hour=13))
    pairs = [
        (one and one.place[2], other and other.place[2]) for one, other in paired(entries(source), entries(target))
    ]
    assert pairs == [(10, None), (11, 11), (12, 12), (None, 13)]


# --- in batches ---


def many() -> list[Entry]:
    """Signals, opens and 11:00 prices of more than two batches."""
    days = [DAY + timedelta(days=n) for n in range(BATCH // 4)]
    signals: list[Entry] = [SignalEntry(signal=signal("SPY", day, hour)) for day in days for hour in range(10, 16)]
    opens: list[Entry] = [OpenEntry(ticker="SPY", day=day, price=500.5, source="daily") for day in days]
    return [*signals, *opens, *(ElevenEntry(ticker="SPY", day=day, price=501.5) for day in days)]


def test_each_entry_of_many_is_judged_by_itself(target: Record) -> None:
    found = many()
    target.lock(signal("SPY", DAY, 10))
    target.lock(signal("SPY", DAY + timedelta(days=45), 15, p_b=0.1))
    target.add_open("SPY", DAY + timedelta(days=3), OfficialOpen(499.0, "snapshot"))
    outcome = {"added": len(found) - 3, "there": 1, "different": 2}
    different = ["signal of SPY 2025-04-25 15:00", "official open of SPY 2025-03-14"]
    assert added(target, found) == (outcome, different)
    assert added(target, found) == ({"there": len(found) - 2, "different": 2}, different)


def test_an_entry_that_comes_twice_is_there_the_second_time(target: Record) -> None:
    once, other = SignalEntry(signal=signal()), SignalEntry(signal=signal(p_b=0.1))
    assert added(target, [once, once, other]) == ({"added": 1, "there": 1, "different": 1}, [str(once)])


@pytest.mark.integration
def test_a_redis_that_is_far_away_is_asked_once_a_batch(redis_url: str) -> None:
    trips: list[str] = []

    @contextmanager
    def counted(name: str, **_: object) -> Iterator[None]:
        trips.append(name)
        yield

    with closing(RedisDatabase(redis_url, PATIENCE_S, counted)) as db:  # type: ignore[arg-type]
        record, found = RedisRecord(db, "target"), many()
        trips.clear()
        assert added(record, found) == ({"added": len(found)}, [])
        assert len(trips) == -(-len(found) // BATCH)


@pytest.mark.integration
def test_a_signal_that_cannot_be_read_is_no_place_for_another(redis_url: str) -> None:
    with closing(RedisDatabase(redis_url, PATIENCE_S)) as db:
        record = RedisRecord(db, "target")
        record.lock(signal())
        db.read("HSET", "target:{SPY}:signals", "2025-03-11T13", "spoilt")
        assert added(record, [SignalEntry(signal=signal())])[0] == {"different": 1}
        assert db.read("HGET", "target:{SPY}:signals", "2025-03-11T13") == "spoilt"
