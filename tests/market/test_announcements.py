"""Announced closures: believed within bounds, asked for once a day, and kept (policy.md 1)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import Upstream
from app.market.announcements import Announcements
from app.market.announcements.closures import MOST_UNSCHEDULED
from app.market.announcements.keeper import MOST_ROWS, RELIED_ON_FOR_S
from app.market.announcements.redis_store import RedisAnnouncements
from app.market.announcements.rows import read_announcements
from app.market.announcements.store import AGAIN_AFTER_S, AnnouncementStore, SqliteAnnouncements
from app.market.calendar import Calendar, Overrides, ny
from app.market.polygon import Polygon, Reply
from app.redis_database import RedisDatabase
from app.sqlite import REOPEN_AFTER_S
from tests.redis_server import RedisServer
from tests.support import FakeTimer
from tests.waiting import PATIENCE_S

TODAY = date(2026, 3, 10)
CHRISTMAS = {"date": "2026-12-25", "exchange": "NYSE", "name": "Christmas", "status": "closed"}


def closed(day: str, **values: Any) -> dict[str, Any]:
    return {"date": day, "exchange": "NYSE", "name": "Special", "status": "closed", **values}


def early(day: str, close: Any, **values: Any) -> dict[str, Any]:
    return closed(day, status="early-close", close=close, **values)


class Provider:
    """Answers with these rows, or fails."""

    def __init__(self, *rows: Any) -> None:
        self.reply, self.calls = Reply(200, [CHRISTMAS, *rows]), 0

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        assert path == "/v1/marketstatus/upcoming"
        self.calls += 1
        return self.reply

    def say(self, *rows: Any) -> None:
        self.reply = Reply(200, [CHRISTMAS, *rows])


class Process:
    """One process's calendar. `open_store()` opens what it shares with others."""

    def __init__(
        self,
        open_store: Callable[[], AnnouncementStore],
        timer: FakeTimer,
        provider: Provider,
        named: Overrides | None = None,
    ) -> None:
        self.calendar, self.heard, self._provider = Calendar(), list[str](), provider
        emit: Callable[..., None] = lambda event, **fields: self.heard.append(event)  # noqa: E731
        self.announcements = Announcements(open_store, self.calendar, named or {}, timer.timer, emit)

    def refresh(self, today: date = TODAY, at: time = time(9)) -> None:
        self.announcements.refresh(Polygon(self._provider, self.calendar), ny(today, at))

    def close_of(self, day: str) -> time | None:
        session = self.calendar.session(date.fromisoformat(day))
        return None if session is None else session.close.time()


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer()


@pytest.fixture(params=["sqlite", "redis"])
def start(request: pytest.FixtureRequest, tmp_path: Path, timer: FakeTimer) -> Callable[..., Process]:
    """Starts one more process on the same store."""
    url = "" if request.param == "sqlite" else request.getfixturevalue("redis_url")

    def opened() -> AnnouncementStore:
        if not url:
            return SqliteAnnouncements(tmp_path / "calendar.sqlite3")
        return RedisAnnouncements(RedisDatabase(url, PATIENCE_S), "predict:calendar:test")

    return lambda provider, **values: Process(opened, timer, provider, **values)


in_a_file = pytest.mark.parametrize("start", ["sqlite"], indirect=True)


def test_an_announced_closure_and_an_early_close_are_in_the_calendar_at_once(start: Callable[..., Process]) -> None:
    process = start(Provider(closed("2026-03-12"), early("2026-03-13", "2026-03-13T17:00:00.000Z")))
    before = process.calendar.days_before(date(2026, 3, 17), 3)
    process.refresh()
    assert process.close_of("2026-03-12") is None
    assert process.close_of("2026-03-13") == time(13)
    assert process.calendar.days_before(date(2026, 3, 17), 3) != before, "what is derived from sessions follows"
    assert "calendar_changed" in process.heard


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("closed", "shape"),
        (closed("soon"), "date"),
        (closed("2026-03-09"), "past"),
        (closed("9999-12-31"), "far"),
        (closed("2026-03-14"), "weekend"),
        (closed("2026-03-12", status="lunch"), "status"),
        (early("2026-03-12", None), "hours"),
        (early("2026-03-12", "noon"), "hours"),
        (early("2026-03-12", "2026-03-12T13:00:00"), "hours"),
        (early("2026-03-12", "2026-03-12T13:29:00Z"), "hours"),
        (early("2026-03-12", "2026-03-12T20:00:00Z"), "hours"),
        (early("2026-03-12", "2026-03-13T17:00:00Z"), "hours"),
        (early("2026-03-12", "2026-03-12T17:00:30Z"), "hours"),
        (early("2026-03-12", "0001-01-01T00:00:00+14:00"), "hours"),
        (early("2026-03-12", "2026-03-12T17:00:00Z", open="2026-03-12T17:30:00Z"), "hours"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_and_counted(
    start: Callable[..., Process], row: Any, reason: str
) -> None:
    assert read_announcements([row], TODAY).refused == {reason: 1}
    process = start(Provider(row))
    process.refresh()
    assert process.calendar.overrides == {}
    assert process.announcements.status(TODAY).refused_rows == 1
    assert "announcement_refused" in process.heard


def test_other_exchanges_are_not_asked(start: Callable[..., Process]) -> None:
    process = start(Provider(closed("2026-03-12", exchange="OTC"), closed("2026-03-13", exchange=None)))
    process.refresh()
    assert process.calendar.overrides == {}
    assert process.announcements.status(TODAY).refused_rows == 0


def test_where_the_exchanges_differ_the_shorter_day_holds(start: Callable[..., Process]) -> None:
    process = start(Provider(closed("2026-03-12", exchange="NASDAQ"), early("2026-03-12", "2026-03-12T17:00:00Z")))
    process.refresh()
    assert process.close_of("2026-03-12") is None


@pytest.mark.parametrize(
    "rows",
    [
        [closed(str(TODAY + timedelta(days=n))) for n in range(365)],
        [closed("2026-03-12")] * (MOST_ROWS + 1),
        "closed",
        {"status": "OK"},
        None,
        [],
        [closed("2020-01-01")],
    ],
    ids=["every day", "too many rows", "text", "an object", "nothing", "no row", "no usable row"],
)
def test_an_answer_that_cannot_be_right_changes_nothing(start: Callable[..., Process], rows: Any) -> None:
    provider = Provider(closed("2026-03-12"))
    process = start(provider)
    process.refresh()
    provider.reply = Reply(200, rows)
    with pytest.raises(Upstream):
        process.refresh(TODAY + timedelta(days=1))
    assert process.calendar.overrides == {date(2026, 3, 12): None}
    assert process.announcements.status(TODAY).error


def test_a_closure_a_day_for_ever_is_believed_for_a_week_and_a_half(
    start: Callable[..., Process], timer: FakeTimer
) -> None:
    provider = Provider()
    process, day = start(provider), TODAY
    for _ in range(20):
        provider.say(closed(str(day)))
        timer.forward(86_400)
        try:
            process.refresh(day)
        except Upstream:
            break
        day = process.calendar.previous_trading_day(day) and next(Calendar().days_after(day))
    assert len(process.calendar.overrides) == MOST_UNSCHEDULED


def test_processes_that_share_ask_once_a_day_together(start: Callable[..., Process], timer: FakeTimer) -> None:
    provider = Provider(closed("2026-03-12"))
    processes = [start(provider) for _ in range(3)]
    for _ in range(5):
        for process in processes:
            process.refresh()
            process.announcements.load()
        timer.forward(3600)
    assert provider.calls == 1
    assert [process.close_of("2026-03-12") for process in processes] == [None] * 3
    assert not any(process.announcements.is_due(ny(TODAY, time(20))) for process in processes)
    processes[0].refresh(TODAY + timedelta(days=1))
    assert provider.calls == 2
    assert processes[1].announcements.is_due(ny(TODAY + timedelta(days=2), time(8)))
    assert not processes[0].announcements.is_due(ny(TODAY + timedelta(days=2), time(7))), (
        "the day of asking begins at 08:00"
    )


def test_a_failure_keeps_what_is_known_and_is_tried_again_after_a_while(
    start: Callable[..., Process], timer: FakeTimer
) -> None:
    provider = Provider(closed("2026-03-12"))
    process, tomorrow = start(provider), TODAY + timedelta(days=1)
    process.refresh()
    timer.forward(86_400)
    provider.reply = Reply(500, None)
    for _ in range(3):
        with pytest.raises(Upstream):
            process.refresh(tomorrow)
        process.refresh(tomorrow)
        timer.forward(AGAIN_AFTER_S)
    assert provider.calls == 4
    assert process.close_of("2026-03-12") is None
    provider.say()
    process.refresh(tomorrow)
    assert process.announcements.status(tomorrow).error is None


def test_the_next_start_without_network_knows_it_and_so_does_history(start: Callable[..., Process]) -> None:
    start(Provider(closed("2026-03-12"), early("2026-03-13", "2026-03-13T17:00:00Z"))).refresh()
    again = start(Provider())
    assert again.close_of("2026-03-12") is None
    assert again.close_of("2026-03-13") == time(13)
    again.refresh(date(2026, 4, 1))
    assert again.close_of("2026-03-12") is None, "its day has passed"


@pytest.mark.parametrize(
    ("row", "at", "close"),
    [
        (closed("2026-03-11"), time(8), time(16)),
        (closed("2026-03-11"), time(15, 59), time(16)),
        (closed("2026-03-11"), time(16), None),
        (early("2026-03-11", "2026-03-11T17:00:00Z"), time(12, 59), time(16)),
        (early("2026-03-11", "2026-03-11T17:00:00Z"), time(13), time(13)),
    ],
    ids=["in the morning", "before the close", "at the close", "before an early close", "at an early close"],
)
def test_what_is_no_longer_announced_was_withdrawn_unless_it_is_over(
    start: Callable[..., Process], row: Any, at: time, close: time | None
) -> None:
    """Today is the future until it closes: a closure that the list of its morning withdraws kept the server closed all day."""
    provider = Provider(closed("2026-03-12"), row)
    process, other = start(provider), start(provider)
    process.refresh()
    provider.say()
    process.refresh(date(2026, 3, 11), at)
    other.announcements.load()
    for each in (process, other, start(provider)):
        assert each.close_of("2026-03-12") == time(16)
        assert each.close_of("2026-03-11") == close
    process.refresh(date(2026, 4, 1))
    assert process.close_of("2026-03-11") == close, "its day has passed"


def test_bars_settle_only_days_that_no_list_of_their_own_day_confirmed(start: Callable[..., Process]) -> None:
    early_close = early("2026-03-13", "2026-03-13T17:00:00Z")
    process, days = start(Provider(closed("2026-03-11"), closed("2026-03-12"), early_close)), {date(2026, 3, 12)}
    process.refresh()
    process.refresh(date(2026, 3, 11))
    assert process.announcements.doubtful(ny(date(2026, 3, 12), time(23))) == {}, (
        "the day of the last list, and days to come"
    )
    other, later = start(Provider()), ny(date(2026, 3, 14), time(9))
    assert other.announcements.doubtful(later) == {date(2026, 3, 12): None, date(2026, 3, 13): time(13)}
    other.announcements.withdraw([*days, date(2026, 3, 11)], later)
    other.announcements.confirm([date(2026, 3, 13)], later)
    process.announcements.load()
    for each in (process, other, start(Provider())):
        assert [each.close_of(f"2026-03-{day}") for day in (11, 12, 13)] == [None, time(16), time(13)]
        assert each.announcements.doubtful(later) == {}


def test_a_process_that_did_not_hear_of_it_does_not_bring_back_what_bars_disproved(
    start: Callable[..., Process],
) -> None:
    provider = Provider(closed("2026-03-12"))
    process, other = start(provider), start(provider)
    process.refresh()
    other.announcements.load()
    other.announcements.withdraw([date(2026, 3, 12)], ny(date(2026, 3, 13), time(7)))
    provider.say()
    process.refresh(date(2026, 3, 13))
    assert process.close_of("2026-03-12") == time(16)


def test_a_start_asks_unless_the_last_answer_is_young(start: Callable[..., Process], timer: FakeTimer) -> None:
    provider = Provider()
    start(provider).refresh()
    timer.forward(RELIED_ON_FOR_S)
    start(provider).refresh()
    assert provider.calls == 1
    timer.forward(1)
    together, at = [start(provider) for _ in range(3)], ny(TODAY, time(9))
    assert all(process.announcements.is_due(at) for process in together)
    for _ in range(3):
        for process in together:
            process.refresh()
            process.announcements.load()
        timer.forward(3600)
    assert provider.calls == 2
    assert not any(process.announcements.is_due(at) for process in together), "they run on without asking again"


def test_a_start_whose_clock_was_set_back_asks(start: Callable[..., Process], timer: FakeTimer) -> None:
    provider = Provider()
    start(provider).refresh()
    timer.forward(-7200)
    process = start(provider)
    process.refresh()
    process.refresh()
    assert provider.calls == 2


@in_a_file
def test_the_file_of_an_earlier_version_keeps_what_it_knows(start: Callable[..., Process], tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "calendar.sqlite3")) as db, db:
        db.execute("CREATE TABLE announced (day TEXT PRIMARY KEY, close TEXT NOT NULL) WITHOUT ROWID")
        db.execute(
            "CREATE TABLE checks (id INTEGER PRIMARY KEY CHECK (id = 1), tried REAL NOT NULL, day TEXT NOT NULL)"
        )
        db.execute("INSERT INTO announced VALUES ('2026-03-12', '')")
        db.execute("INSERT INTO checks VALUES (1, 0, ?)", (str(TODAY),))
    process = start(Provider(closed("2026-03-12"), closed("2026-03-13")))
    assert process.close_of("2026-03-12") is None
    assert process.announcements.doubtful(ny(date(2026, 3, 13), time(9))) == {date(2026, 3, 12): None}
    process.refresh()
    again = start(Provider())
    assert [again.close_of("2026-03-12"), again.close_of("2026-03-13")] == [None, None]
    assert "calendar_in_memory" not in process.heard + again.heard


def test_what_the_operator_names_is_not_doubtful(start: Callable[..., Process]) -> None:
    process = start(Provider(closed("2026-03-12")), named={date(2026, 3, 12): None})
    process.refresh()
    later = ny(date(2026, 3, 14), time(9))
    assert process.announcements.doubtful(later) == {}
    process.announcements.withdraw([date(2026, 3, 12)], later)
    assert process.close_of("2026-03-12") is None


def test_what_the_operator_names_stays_when_the_provider_withdraws_it(start: Callable[..., Process]) -> None:
    provider, today = Provider(closed("2026-03-11")), date(2026, 3, 11)
    process = start(provider, named={today: time(13)})
    process.refresh()
    provider.say()
    process.refresh(today)
    assert process.close_of("2026-03-11") == time(13)


def test_what_the_operator_names_wins(start: Callable[..., Process]) -> None:
    process = start(Provider(closed("2026-03-12")), named={date(2026, 3, 12): time(13), date(2026, 1, 9): None})
    process.refresh()
    assert process.close_of("2026-03-12") == time(13)
    assert process.close_of("2026-01-09") is None


@pytest.mark.parametrize("content", ["no database", None], ids=["broken file", "a folder in its place"])
@in_a_file
def test_a_file_that_cannot_be_used_leaves_what_is_announced_in_memory(
    start: Callable[..., Process], tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "calendar.sqlite3"
    path.mkdir() if content is None else path.write_text(content * 100)
    process = start(Provider(closed("2026-03-12")))
    process.refresh()
    assert process.close_of("2026-03-12") is None
    assert "calendar_in_memory" in process.heard


@in_a_file
def test_a_process_whose_file_failed_shares_again_once_it_can_be_used(
    start: Callable[..., Process], timer: FakeTimer, tmp_path: Path
) -> None:
    """One failed access took it out of sharing for ever, and nothing said so."""
    path, aside = tmp_path / "calendar.sqlite3", tmp_path / "aside"
    provider = Provider(closed("2026-03-12"))
    other = start(provider)
    other.refresh()
    path.rename(aside)
    path.mkdir()
    process = start(Provider(closed("2026-03-12"), closed("2026-03-13")))
    assert process.announcements.degraded()
    path.rmdir()
    aside.rename(path)
    timer.forward(REOPEN_AFTER_S)
    process.announcements.load()
    assert process.announcements.degraded() is None
    assert process.close_of("2026-03-12") is None, "it reads what the others know"
    timer.forward(RELIED_ON_FOR_S)
    process.refresh(TODAY + timedelta(days=1))
    other.announcements.load()
    assert other.close_of("2026-03-13") is None, "and the others what it learns"
    assert process.heard.count("calendar_recovered") == 1


@in_a_file
def test_what_was_learned_while_the_file_failed_is_written_to_it(
    start: Callable[..., Process], timer: FakeTimer, tmp_path: Path
) -> None:
    provider = Provider(closed("2026-03-12"))
    process, other = start(provider), start(provider)
    process.announcements.close()  # the next access to its file fails
    process.refresh()
    assert process.announcements.degraded()
    assert process.close_of("2026-03-12") is None
    timer.forward(REOPEN_AFTER_S)
    assert process.announcements.degraded() is None
    other.announcements.load()
    assert other.close_of("2026-03-12") is None
    assert not other.announcements.is_due(ny(TODAY, time(9)))


@in_a_file
def test_a_file_of_an_earlier_version_that_cannot_be_written_is_read(
    start: Callable[..., Process], timer: FakeTimer, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "calendar.sqlite3", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE announced (day TEXT PRIMARY KEY, close TEXT NOT NULL) WITHOUT ROWID")
        db.execute(
            "CREATE TABLE checks (id INTEGER PRIMARY KEY CHECK (id = 1), tried REAL NOT NULL, day TEXT NOT NULL)"
        )
        db.execute("INSERT INTO announced VALUES ('2026-03-12', '')")
        db.execute("INSERT INTO checks VALUES (1, 0, ?)", (str(TODAY),))
        db.execute("BEGIN IMMEDIATE")
        process = start(Provider())
        assert process.close_of("2026-03-12") is None
        assert process.announcements.degraded()
        db.execute("ROLLBACK")
    timer.forward(REOPEN_AFTER_S)
    assert process.announcements.degraded() is None
    assert process.close_of("2026-03-12") is None


def test_a_redis_that_was_emptied_gets_again_what_a_process_knows(redis_server: RedisServer, timer: FakeTimer) -> None:
    redis_server.flush()
    store = RedisAnnouncements(RedisDatabase(redis_server.url, PATIENCE_S), "predict:calendar:test")
    process = Process(lambda: store, timer, Provider(closed("2026-03-12")))
    process.refresh()
    redis_server.flush()
    process.announcements.load()
    assert process.close_of("2026-03-12") is None
    other = Process(lambda: store, timer, Provider())
    assert other.close_of("2026-03-12") is None


def test_a_redis_that_is_gone_leaves_what_is_announced_in_memory(timer: FakeTimer) -> None:
    gone = RedisAnnouncements(RedisDatabase("redis://127.0.0.1:1", PATIENCE_S), "predict:calendar:test")
    process = Process(lambda: gone, timer, Provider(closed("2026-03-12")))
    process.refresh()
    assert process.close_of("2026-03-12") is None
    assert process.announcements.degraded() is not None
    assert "calendar_in_memory" in process.heard
