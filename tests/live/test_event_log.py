"""The log of live events: it has bounds, is the arbiter between processes, and memory takes its place where a disk fails. What
listeners read of it: what they missed, or why they cannot have it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.errors import Unavailable
from app.live.event_log import (
    MAX_BYTES,
    MAX_EVENTS,
    EventLog,
    EventLogWithFallback,
    Head,
    MemoryEventLog,
    SqliteEventLog,
)
from app.live.fan_out import FanOut
from app.live.feed import Feed, Numbers
from app.live.live_event import Kind, Noticed, Position, noticed_of_json, position_of
from app.market.lease import LEASE_S
from app.sqlite import REOPEN_AFTER_S
from tests.live import racing
from tests.live.broadcasting import Listener, PlainShape
from tests.live.logs import NOTICED, Open, event, filled, head, redis_log, seqs, spoil_head
from tests.support import FakeTimer
from tests.waiting import PATIENCE_S


@pytest.fixture(params=["memory", "sqlite", "redis", "fallback"])
def log(request: pytest.FixtureRequest, tmp_path: Path, timer: FakeTimer) -> Iterator[EventLog]:
    """Each log that there is: they behave alike."""
    kinds: dict[str, Open] = {
        "memory": MemoryEventLog,
        "sqlite": lambda: SqliteEventLog(tmp_path / "live.sqlite3", timer.timer),
        "redis": lambda: redis_log(request.getfixturevalue("redis_url"), timer),
        "fallback": lambda: EventLogWithFallback(MemoryEventLog, lambda *args, **fields: None, timer.timer.now),
    }
    found = kinds[request.param]()
    yield found
    found.close()


def test_what_was_appended_is_there_for_its_ticker_in_order(log: EventLog) -> None:
    filled(log, 3)
    assert log.head("SPY") == head(3)
    assert list(log.between("SPY", Position("aaaaaaaa", 1), Position("aaaaaaaa", 3))) == [event(2), event(3)]
    assert (log.head("QQQ"), list(log.between("QQQ", Position("aaaaaaaa", 0), Position("aaaaaaaa", 9)))) == (None, [])


def test_an_append_that_does_not_continue_the_head_writes_nothing(log: EventLog) -> None:
    filled(log, 3)
    for before in (None, Position("aaaaaaaa", 2), Position("bbbbbbbb", 3)):
        assert not log.append("SPY", before, [event(4)], head(4))
    assert (log.head("SPY"), seqs(log, 9)) == (head(3), [1, 2, 3])


def test_another_epoch_ends_the_one_before(log: EventLog) -> None:
    filled(log, 3)
    assert log.append("SPY", Position("aaaaaaaa", 3), [], head(0, "bbbbbbbb"))
    assert log.append("SPY", Position("bbbbbbbb", 0), [event(1, "bbbbbbbb")], head(1, "bbbbbbbb"))
    assert seqs(log, 9) == []


def test_512_events_of_a_ticker_are_kept(log: EventLog) -> None:
    assert MAX_EVENTS == 512
    filled(log, 600)
    assert seqs(log, 600) == list(range(89, 601))


def test_2_mib_of_a_ticker_are_kept(log: EventLog) -> None:
    assert MAX_BYTES == 2 << 20
    filled(log, 50, size=100_000)
    assert seqs(log, 50) == list(range(31, 51))


def test_a_head_comes_back_as_it_was() -> None:
    for noticed in (NOTICED, Noticed(NOTICED.at, None, None, "", "")):
        assert noticed_of_json(noticed.as_json()) == noticed


@pytest.mark.parametrize(
    "text", ["", "1", "aaaaaaaa", "aaaaaaaa-", "aaaaaaaa-x", "AAAAAAAA-1", "aaaaaaaa-1 ", "a" * 99 + "-1"]
)
def test_other_texts_are_no_positions(text: str) -> None:
    assert position_of(text) is None
    assert position_of("aaaaaaaa-12") == Position("aaaaaaaa", 12)


def test_a_snapshot_may_be_renewed_where_no_event_is_told(log: EventLog) -> None:
    filled(log, 3)
    renewed = head(3)._replace(snapshot='{"snapshot": "größer"}'.encode())
    assert log.append("SPY", Position("aaaaaaaa", 3), [], renewed)
    assert (log.head("SPY"), seqs(log, 9)) == (renewed, [1, 2, 3])
    assert log.append("SPY", Position("aaaaaaaa", 3), [event(4)], head(4))
    assert (log.head("SPY"), seqs(log, 9)) == (head(4), [1, 2, 3, 4])


# --- several processes ---


def test_what_one_process_appends_the_others_read(open_log: Open) -> None:
    one, other = open_log(), open_log()
    assert other.head("SPY") is None
    filled(one, 2)
    assert (other.head("SPY"), seqs(other, 9)) == (head(2), [1, 2])
    assert one.append("SPY", Position("aaaaaaaa", 2), [event(3)], head(3))
    assert (other.head("SPY"), seqs(other, 9)) == (head(3), [1, 2, 3])
    assert one.append("SPY", Position("aaaaaaaa", 3), [], head(0, "bbbbbbbb"))
    assert (other.head("SPY"), seqs(other, 9)) == (head(0, "bbbbbbbb"), [])


def test_one_process_extends_a_sequence_and_another_one_takes_over(open_log: Open, timer: FakeTimer) -> None:
    one, other = open_log(), open_log()
    assert (one.leads("SPY"), other.leads("SPY"), other.leads("QQQ")) == (True, False, True)
    one.resign("SPY")
    other.resign("SPY")
    assert (other.leads("SPY"), one.leads("SPY")) == (True, False)
    timer.forward(LEASE_S + 1)
    assert one.leads("SPY"), "a process that was killed is replaced"


def test_who_does_not_lead_any_more_writes_nothing(open_log: Open, timer: FakeTimer) -> None:
    """Also before its successor has written anything."""
    one, other = open_log(), open_log()
    filled(one, 3)
    timer.forward(LEASE_S + 1)
    assert other.leads("SPY")
    assert not one.append("SPY", Position("aaaaaaaa", 3), [event(4)], head(4))
    assert other.append("SPY", Position("aaaaaaaa", 3), [event(4, size=9)], head(4))
    assert not one.append("SPY", Position("aaaaaaaa", 4), [event(5)], head(5))
    other.resign("SPY")
    assert not other.append("SPY", Position("aaaaaaaa", 4), [event(5)], head(5))
    assert list(one.between("SPY", Position("aaaaaaaa", 3), Position("aaaaaaaa", 9))) == [event(4, size=9)]


def test_a_head_that_another_version_wrote_is_not_known(open_log: Open) -> None:
    log = open_log()
    filled(log, 3)
    spoil_head(log)
    assert log.head("SPY") is None
    assert log.append("SPY", None, [], head(0, "bbbbbbbb"))
    assert (log.head("SPY"), seqs(log, 9)) == (head(0, "bbbbbbbb"), [])


@pytest.mark.parametrize("store", ["sqlite", "redis"])
def test_processes_that_race_to_extend_a_sequence_leave_no_gap_and_no_fork(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = request.getfixturevalue("redis_url") if store == "redis" else str(tmp_path / "live.sqlite3")
    command = [sys.executable, "-m", "tests.live.racing", place]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.split()
    log = racing.opened(place)
    newest = log.head("SPY")
    assert newest is not None
    assert newest.position.seq >= racing.EVENTS
    events = log.between("SPY", newest.position._replace(seq=0), newest.position)
    log.close()
    assert [event.position.seq for event in events] == list(range(1, newest.position.seq + 1))
    assert sorted(told) == sorted(event.body.decode() for event in events)
    assert len({body.partition("-by-")[2] for body in told}) == racing.PROCESSES, "it was no race"


# --- a disk that fails ---


class Flaky(MemoryEventLog):
    fails = True

    def head(self, ticker: str) -> Head | None:
        if self.fails:
            raise Unavailable("the disk is full", part="store")
        return super().head(ticker)


def test_memory_takes_the_place_of_a_disk_that_fails_and_ends_when_it_works_again(timer: FakeTimer) -> None:
    disk, told = Flaky(), []
    log = EventLogWithFallback(lambda: disk, lambda name, **fields: told.append(name), timer.timer.now)
    assert log.head("SPY") is None
    filled(log, 2)
    assert (log.head("SPY"), log.is_in_memory) == (head(2), True)
    disk.fails = False
    assert log.head("SPY") == head(2), "it is not tried at each use"
    timer.forward(REOPEN_AFTER_S)
    assert (log.head("SPY"), log.is_in_memory) == (None, False)
    assert told == ["live_log_in_memory", "live_log_on_disk"]


def test_two_tickers_that_open_the_log_at_once_have_one(timer: FakeTimer, tmp_path: Path) -> None:
    """The second one opens it while the first one waits for the disk: both go on to lead."""
    left, opened = ["QQQ"], list[SqliteEventLog]()

    def open_log() -> EventLog:
        while left:
            assert log.leads(left.pop())
        opened.append(SqliteEventLog(tmp_path / "live.sqlite3", timer.timer))
        return opened[-1]

    log = EventLogWithFallback(open_log, lambda name, **fields: None, timer.timer.now)
    assert log.leads("SPY")
    assert log.leads("QQQ")
    log.close()
    for one in opened:
        with pytest.raises(Unavailable):
            one.head("SPY")


def test_a_log_that_was_closed_opens_no_file_again(timer: FakeTimer) -> None:
    opened: list[int] = []

    def open_log() -> EventLog:
        opened.append(1)
        return MemoryEventLog()

    log = EventLogWithFallback(open_log, lambda name, **fields: None, timer.timer.now)
    log.leads("SPY")
    log.close()
    timer.forward(REOPEN_AFTER_S)
    log.resign("SPY")
    assert opened == [1]


# --- what listeners read ---


@pytest.fixture
def long_feed() -> Feed:
    """A feed of the events 1 to 520, of which it keeps the newest 512."""
    found = Feed("SPY", PlainShape(), Numbers())
    found.publish(head(520), [event(seq) for seq in range(1, 521)])
    return found


def fan_out(of: Feed, on_leave: Callable[[], None] = lambda: None) -> FanOut:
    return FanOut(of, on_leave, lambda: None)


def listener(of: Feed, after: int | None) -> Listener:
    return Listener(fan_out(of).join, None if after is None else Position("aaaaaaaa", after))


def test_a_feed_keeps_what_the_log_keeps(long_feed: Feed) -> None:
    assert len(long_feed) == MAX_EVENTS
    large = Feed("SPY", PlainShape(), Numbers())
    large.publish(head(50), [event(seq, size=100_000) for seq in range(1, 51)])
    assert len(large) == 20


def test_an_event_that_is_not_kept_any_more_is_too_old(long_feed: Feed) -> None:
    old, oldest = listener(long_feed, 7), listener(long_feed, 8)
    assert [event.kind for event in old.take(0)] == [Kind.SNAPSHOT]
    assert (old.missed, old.position) == ("too_old", Position("aaaaaaaa", 520))
    assert [event.position.seq for event in oldest.take(0)] == list(range(9, 521))


def test_events_that_the_log_has_lost_are_not_replaced_by_older_ones() -> None:
    """A disk may fail, and another process may begin anew, between two reads of the log."""
    found = Feed("SPY", PlainShape(), Numbers())
    found.publish(head(3), [event(seq) for seq in (1, 2, 3)])
    found.publish(head(5), [])
    one = listener(found, 3)
    assert ([event.kind for event in one.take(0)], one.missed) == ([Kind.SNAPSHOT], "too_old")


def test_a_snapshot_is_made_once_for_each_reason() -> None:
    found = Feed("SPY", PlainShape(), Numbers())
    found.publish(head(3), [event(seq) for seq in (1, 2, 3)])
    assert listener(found, None).take(0)[0].body is listener(found, None).take(0)[0].body
    strangers = [Listener(fan_out(found).join, Position("bbbbbbbb", 1)).take(0)[0] for _ in range(2)]
    assert strangers[0].body is strangers[1].body
    assert b"unknown_epoch" in strangers[0].body


def test_leaving_twice_counts_once() -> None:
    left: list[int] = []
    with Listener(fan_out(Feed("SPY", PlainShape(), Numbers()), lambda: left.append(1)).join) as one:
        one.close()
    assert left == [1]
