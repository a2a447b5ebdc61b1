"""One broadcaster per ticker: it computes once for all listeners, tells what changed, and tells afterwards what was missed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import Unavailable
from app.factory import build
from app.live.broadcaster import Broadcaster
from app.live.event_log import EventLog, EventLogWithFallback, Head, MemoryEventLog
from app.live.live_event import Conditions, Kind, LiveEvent
from app.market.lease import LEASE_S
from app.market.polygon import Reply
from app.sqlite import REOPEN_AFTER_S
from tests.live.broadcasting import Told, bodies, content
from tests.live.logs import Open, spoil_head
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings
from tests.waiting import PATIENCE_S, wait_for

Begin = Callable[..., Told]
BROKEN = Reply(500, {"status": "ERROR"})


@pytest.fixture
def begin(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Iterator[Begin]:
    """Begins a server process; each on a DATA_DIR of its own, unless it is named."""
    made: list[Told] = []

    def one(log: EventLog | None = None, folder: str = "", **values: Any) -> Told:
        timer = FakeTimer(hasty=True)
        folder = folder or f"data{len(made)}"
        known = settings(market="polygon", polygon_api_key="k", data_dir=tmp_path / folder, **values)
        core = build(known, clock=clock, transport=market, timer=timer.timer)
        clock.fetches.append(core.pipeline.fetches)
        made.append(Told(core, clock, timer, log or MemoryEventLog()))
        return made[-1]

    yield one
    for told in made:
        told.core.close()


# --- what is told ---


def test_ten_minutes_are_a_snapshot_and_ten_bars_and_eleven_states(begin: Begin) -> None:
    told = begin().at("10:30:07")
    listener = told.listener()
    (snapshot,) = bodies(listener.take(0))
    assert (snapshot["kind"], snapshot["as_of"], snapshot["instead"]) == ("snapshot", "11 10:30", None)
    told.minutes("10:31:07", 10)
    events = bodies(listener.take(0))
    assert [event["kind"] for event in events] == ["price"] * 10
    assert [event["as_of"] for event in events] == [f"11 10:{minute}" for minute in range(31, 41)]
    assert [event["id"] for event in events] == [f"{told.epoch()}-{seq}" for seq in range(1, 11)]
    assert len(told.computed) == 11


def test_a_step_in_which_nothing_changed_tells_nothing(begin: Begin) -> None:
    told = begin().at("10:30:07", "10:30:20", "10:30:40", "10:31:02")
    assert told.kept() == []
    assert told.computed == ["10:30:07"], "a look at the data shows it, without a state"


def test_opens_locks_gates_and_the_close_are_told_of(begin: Begin) -> None:
    morning = begin().at("09:29:30", "09:30:00").minutes("09:31:07", 31).kept()
    assert [(e["as_of"], e["open"]) for e in morning if e["kind"] == "status"] == [(None, True)]
    signals = [event for event in morning if event["kind"] == "signal"]
    assert [event["gate"] or event["decision"][0] for event in signals] == ["INSUFFICIENT_DATA", 10]
    assert [int(event["id"].split("-")[1]) for event in morning] == list(range(1, len(morning) + 1))
    evening = begin().at("15:59:07", "16:00:00", "16:00:30").kept()
    assert [(event["kind"], event["open"], event["gate"]) for event in evening] == [
        ("status", False, "MARKET_CLOSED"),
        ("signal", False, "MARKET_CLOSED"),
    ]


def test_stale_data_and_the_breaker_are_told_of_once_each_way(begin: Begin, market: ScriptedMarket) -> None:
    told = begin().at("10:30:07")
    market.fault = lambda path: BROKEN
    told.conditions = Conditions(breaker="open")
    told.minutes("10:31:07", 5)
    market.fault = lambda path: None
    told.conditions = Conditions()
    told.at("10:36:30", "10:37:07")
    status = [(event["breaker"], event["stale"]) for event in told.kept() if event["kind"] == "status"]
    assert status[0] == ("open", False) or status[0] == ("open", True)
    assert status[-1] == ("closed", False)
    assert len(status) <= 4


def test_heartbeats_come_every_15_seconds_and_say_when_the_next_event_comes(begin: Begin) -> None:
    told = begin().at("10:30:07")
    listener = told.listener()
    listener.take(0)
    for second in range(40):
        told.timer.forward(1)
        told.at(f"10:30:{10 + second}")
    beats = bodies(listener.take(0))
    assert [(beat["kind"], beat["within"]) for beat in beats] == [("heartbeat", 30), ("heartbeat", 30)]


def test_heartbeats_come_from_the_start_while_the_first_state_is_computed(begin: Begin, clock: FakeClock) -> None:
    told, may_go_on = begin(), threading.Event()
    clock.set("2025-03-11 10:30:07")
    outline = told.core.pipeline.outline

    def slow(ticker: str, at: datetime) -> object:
        assert may_go_on.wait(PATIENCE_S)
        return outline(ticker, at)

    told.core.pipeline.outline = slow  # type: ignore[method-assign, assignment]
    with told.listen() as first:
        assert bodies(first.take(PATIENCE_S)) == [{"kind": "heartbeat", "id": None, "within": 30}]
        with told.listen() as second:
            assert bodies(second.take(PATIENCE_S)) == [{"kind": "heartbeat", "id": None, "within": 30}]
            may_go_on.set()
            for listener in (first, second):
                assert [event["kind"] for event in bodies(listener.take(PATIENCE_S))] == ["snapshot"]


def test_who_waits_for_the_first_event_of_another_process_gets_heartbeats(begin: Begin) -> None:
    class Followed(MemoryEventLog):
        """Another process leads, and has told nothing yet."""

        def leads(self, ticker: str) -> bool:
            return False

    told = begin(Followed())
    listener = told.listener()
    for second in range(40):
        told.timer.forward(1)
        told.at(f"10:30:{10 + second}")
    assert bodies(listener.take(0)) == [{"kind": "heartbeat", "id": None, "within": 30}] * 2


def test_while_no_state_can_be_computed_its_reason_comes_in_place_of_each_heartbeat(begin: Begin) -> None:
    told = begin().at("10:30:07")
    listener, outline = told.listener(), told.core.pipeline.outline
    listener.take(0)
    told.core.pipeline.outline = broken  # type: ignore[method-assign, assignment]
    for _ in range(40):
        stepped(told)
    assert listener.failures == ["put here"] * 3, "once, and twice in 40 s in place of a heartbeat"
    assert not listener.take(0)
    told.core.pipeline.outline = outline  # type: ignore[method-assign]
    for _ in range(40):
        stepped(told)
    assert len(listener.failures) == 3
    assert sorted(event["kind"] for event in bodies(listener.take(0))) == [*["heartbeat"] * 3, "price"]


def stepped(told: Told) -> None:
    """A second later."""
    told.timer.forward(1)
    told.clock.forward(seconds=1)
    try:
        told.one.step(told.clock.at)
    except RuntimeError as exc:
        told.one._give_way(exc)


def test_a_client_that_is_expected_back_is_no_listener(begin: Begin) -> None:
    wait_for(lambda: not threads())  # of tests before
    told = begin()
    release = told.one.hold()
    with told.listen():
        assert (told.one.listeners, told.one.held) == (1, 1)
    assert (told.one.listeners, told.one.held) == (0, 1)
    assert threads() == ["live SPY"], "its events are kept"
    release()
    wait_for(lambda: not threads())


def test_a_snapshot_says_what_is_known_now_where_no_event_came_since(begin: Begin) -> None:
    told = begin().at("15:58:07", "15:59:07", "16:00:00", "16:00:07")
    told.core.source.minutes("SPY", told.clock.at)  # as the follower does
    told.at("16:00:20")
    stays = told.listener()
    (evening,) = bodies(stays.take(0))
    assert evening["as_of"] == "11 16:00"
    told.at("2025-03-12 08:00:00")
    (morning,) = bodies(told.listener().take(0))
    now = told.core.pipeline.live("SPY", told.clock.at).signal.quote
    assert (morning["id"], morning["price"], morning["as_of"]) == (evening["id"], now.price, now.as_of)
    assert not stays.take(0), "it is no event"


def test_a_snapshot_is_not_made_again_while_it_says_what_is_known(begin: Begin) -> None:
    told = begin().at("08:00:00")
    head = told.one.feed.head
    told.at("08:00:01", "08:30:00", "08:59:59")
    assert told.one.feed.head is head


# --- once for all ---


def test_neither_states_nor_calls_nor_encodings_grow_with_listeners(begin: Begin, market: ScriptedMarket) -> None:
    told = begin().at("10:30:07")
    listeners = [told.listener() for _ in range(200)]
    before = len(market.calls)
    first = [listener.take(0) for listener in listeners]
    told.minutes("10:31:07", 5)
    rest = [listener.take(0) for listener in listeners]
    assert len(told.computed) == 6
    assert len(market.calls) - before <= 5
    assert len({id(event.body) for events in [*first, *rest] for event in events}) == 6
    assert all(events is not rest[0] and list(events) == list(rest[0]) for events in rest[1:])


# --- afterwards ---


@pytest.mark.parametrize(
    ("until", "at"),
    [
        ("09:29:30", "10:03:07"),
        ("10:45:07", "11:03:07"),
        ("10:30:07", "10:32:07"),
        ("15:52:07", "16:10:07"),
        ("15:55:07", "2025-03-12 09:37:07"),
    ],
)
def test_what_was_missed_is_told_as_it_would_have_been(begin: Begin, clock: FakeClock, until: str, at: str) -> None:
    """One process sees every moment, the other goes away at `until` and comes back at `at`."""
    stays, leaves = begin(), begin()
    leaves.at(until)
    stays.at(until)
    end = leaves.at(at).clock.at
    clock.set(f"2025-03-11 {until}")
    while clock.at < end:  # each minute as it ends, and when its bar is known
        if clock.at.second == 7 and clock.at.hour == 16:
            stays.core.source.minutes("SPY", clock.at)  # as the follower does
        if clock.at.second in (0, 7):
            stays.one.step(clock.at)
        clock.forward(seconds=7 if clock.at.second == 0 else 53 if clock.at.second == 7 else 60 - clock.at.second)
        if clock.at.hour == 16 and clock.at.minute == 5 and clock.at.date() < end.date():
            clock.set("2025-03-12 09:29:00")
    stays.at(at)
    assert [content(event) for event in leaves.kept()] == [content(event) for event in stays.kept()]
    assert any(event["missed"] for event in leaves.kept())


def seen_of(stays: Told, clock: FakeClock, until: str, end: datetime) -> list[dict[str, Any]]:
    """What a process tells that looks every minute, seven seconds after it began."""
    clock.set(f"2025-03-11 {until}")
    while clock.at < end:
        clock.forward(minutes=1)
        stays.one.step(clock.at)
    return stays.kept()


@pytest.mark.parametrize(
    ("until", "at"), [("10:45:07", "11:10:07"), ("10:45:07", "11:16:07"), ("11:20:07", "11:40:07")]
)
def test_what_was_missed_is_told_as_it_would_have_been_where_the_plan_is_late(
    begin: Begin, clock: FakeClock, market: ScriptedMarket, until: str, at: str
) -> None:
    market.delay = timedelta(minutes=15)
    stays, leaves = begin(polygon_delay_minutes=15).at(until), begin(polygon_delay_minutes=15).at(until)
    leaves.at(at)
    seen = seen_of(stays, clock, until, clock.at)
    assert [content(event) for event in leaves.kept()] == [content(event) for event in seen]
    assert sum(event["kind"] == "price" for event in seen) >= 20


def test_bars_of_a_late_plan_that_come_in_a_closed_market_do_not_open_it(begin: Begin, market: ScriptedMarket) -> None:
    market.delay = timedelta(minutes=15)
    told = begin(polygon_delay_minutes=15).at("15:50:07", "15:55:07", "2025-03-12 09:20:07")
    events = told.kept()
    assert [event["open"] for event in events if event["kind"] == "status"] == [False]
    bars = [event["as_of"] for event in events if event["kind"] == "price"]
    assert bars == [f"11 15:{minute}" for minute in range(36, 60)] + ["11 16:00"]


def test_bars_that_come_after_an_outage_are_told_without_what_was_told_for_their_moments(
    begin: Begin, market: ScriptedMarket
) -> None:
    told = begin().at("10:55:07").minutes("10:56:07", 2)
    market.fault = lambda path: BROKEN
    told.at("10:58:30").minutes("10:59:07", 6)
    before = told.kept()
    assert (before[-1]["kind"], before[-1]["gate"]) == ("signal", "DATA_FETCH_ERROR")
    market.fault = lambda path: None
    after = told.at("11:05:07", "11:06:07").kept()[len(before) :]
    late = [(event["kind"], event["as_of"]) for event in after[:7]]
    assert late == [
        ("price", f"11 {minute}") for minute in ("10:58", "10:59", "11:00", "11:01", "11:02", "11:03", "11:04")
    ]
    rest = [(event["kind"], event["decision"][0], event["stale"]) for event in after[7:]]
    assert rest == [("status", 11, False), ("signal", 11, False), ("price", 11, False), ("price", 11, False)]


@pytest.mark.parametrize("again", ["09:35:07", "14:01:30"])
def test_a_clock_that_was_set_back_begins_a_new_sequence(begin: Begin, again: str) -> None:
    old = begin(log := MemoryEventLog()).at("14:00:07").minutes("14:01:07", 2).epoch()
    told = begin(log).minutes(again, 5)
    assert told.epoch() != old
    assert [event["kind"] for event in told.kept()] == ["price"] * 4
    assert told.core.events.counts["live_sequence_ended",] == 1


def test_a_process_whose_clock_is_a_little_behind_tells_nothing_until_it_is_there(begin: Begin) -> None:
    first = begin(log := MemoryEventLog()).at("14:00:09", "14:01:09")
    told = begin(log).at("14:01:06", "14:01:09")
    assert (len(told.kept()), told.computed) == (1, ["14:01:09"])
    told.at("14:02:06")
    assert (told.epoch(), len(told.kept())) == (first.epoch(), 2)


def test_after_more_than_two_hours_of_sessions_a_new_sequence_begins(begin: Begin) -> None:
    told = begin().at("09:40:07")
    listener, old = told.listener(), told.epoch()
    listener.take(0)
    told.at("11:45:07")
    assert told.epoch() != old
    (snapshot,) = bodies(listener.take(0))
    assert (snapshot["kind"], snapshot["instead"], snapshot["as_of"]) == ("snapshot", "unknown_epoch", "11 11:45")


def test_a_market_whose_clock_begins_anew_begins_a_new_sequence(begin: Begin) -> None:
    """The demo's days repeat, and a recorded market begins at its first moment after each start."""
    told = begin().at("11:30:07")
    old = told.epoch()
    told.at("10:30:07").at("10:31:07")
    assert told.epoch() != old
    assert [event["as_of"] for event in told.kept()] == ["11 10:31"]


def test_a_gap_whose_bars_cannot_be_had_begins_a_new_sequence(begin: Begin, market: ScriptedMarket) -> None:
    told = begin(log := MemoryEventLog()).at("10:30:07")
    old = told.epoch()
    market.fault = lambda path: BROKEN
    again = begin(log).at("10:45:07")
    assert again.epoch() != old
    assert again.core.events.counts["live_sequence_ended",] == 1


def test_a_restarted_server_goes_on_where_it_was(begin: Begin, open_log: Open, timer: FakeTimer) -> None:
    first, second = open_log(), open_log()
    begin(first).at("10:30:07").minutes("10:31:07", 3)
    first.close()
    timer.forward(LEASE_S + 1)
    told = begin(second).at("10:36:07", "10:37:07")
    events = told.kept()
    assert [event["as_of"] for event in events] == [f"11 10:{minute}" for minute in range(31, 38)]
    assert [event["missed"] for event in events] == [False] * 3 + [True, True, False, False]
    missed = bodies(told.listener(events[1]["id"]).take(0))
    assert missed == events[2:]


class FailingLog(MemoryEventLog):
    """A log on a disk that fails while `fails` is set."""

    fails = False

    def head(self, ticker: str) -> Head | None:
        if self.fails:
            raise Unavailable("the disk is full", part="store")
        return super().head(ticker)


def test_followers_are_told_on_while_the_log_is_in_memory_and_nothing_is_missing_on_disk_afterwards(
    begin: Begin,
) -> None:
    disk, timer = FailingLog(), FakeTimer()
    told = begin(EventLogWithFallback(lambda: disk, lambda name, **fields: None, timer.timer.now)).at("10:30:07")
    listener, epoch = told.listener(), told.epoch()
    told.at("10:31:07", "10:32:07")
    assert [event["kind"] for event in bodies(listener.take(0))] == ["snapshot", "price", "price"]
    disk.fails = True
    told.at("10:33:07")
    (snapshot,) = bodies(listener.take(0))
    assert (snapshot["kind"], snapshot["as_of"], snapshot["instead"]) == ("snapshot", "11 10:33", "unknown_epoch")
    told.minutes("10:34:07", 11)
    assert [event["as_of"] for event in bodies(listener.take(0))] == [f"11 10:{minute}" for minute in range(34, 45)]
    disk.fails = False
    timer.forward(REOPEN_AFTER_S)
    told.at("10:45:07")
    assert told.epoch() == epoch
    assert [event["as_of"] for event in told.kept()] == [f"11 10:{minute}" for minute in range(31, 46)]


def test_a_head_that_cannot_be_read_begins_a_new_sequence(begin: Begin, open_log: Open) -> None:
    log = open_log()
    told = begin(log).at("10:30:07", "10:31:07")
    old = told.epoch()
    spoil_head(log)
    told.at("10:32:07", "10:33:07")
    assert told.epoch() != old
    assert [event["as_of"] for event in told.kept()] == ["11 10:33"]


# --- coming back ---


def test_who_comes_back_gets_what_it_missed_and_nothing_twice(begin: Begin) -> None:
    told = begin().at("10:30:07").minutes("10:31:07", 9)
    all_of_them = told.kept()
    for seq in range(10):
        listener = told.listener(f"{told.epoch()}-{seq}")
        assert bodies(listener.take(0)) == all_of_them[seq:]
        assert listener.missed is None


@pytest.mark.parametrize(
    ("after", "reason"), [("00000000-3", "unknown_epoch"), ("EPOCH-7", "unknown_position"), ("EPOCH-1", None)]
)
def test_what_cannot_be_resumed_is_a_snapshot_that_says_why(begin: Begin, after: str, reason: str | None) -> None:
    told = begin().at("10:30:07").minutes("10:31:07", 3)
    listener = told.listener(after.replace("EPOCH", told.epoch()))
    told.at("10:33:20")  # the log is read once more, since another process may have told of a position that is ahead
    first = bodies(listener.take(0))[0]
    assert (first["kind"], first.get("instead")) == (("price", None) if reason is None else ("snapshot", reason))
    assert listener.missed == reason
    told.at("10:34:07")
    assert [event["as_of"] for event in bodies(listener.take(0))] == ["11 10:34"]


def test_a_heartbeat_does_not_come_behind_an_event_that_is_newer(begin: Begin) -> None:
    told = begin().at("10:30:07")
    listener = told.listener()
    listener.take(0)
    told.timer.forward(15)
    told.at("10:30:40", "10:31:07")
    events = bodies(listener.take(0))
    assert [(event["kind"], event["id"]) for event in events] == [
        ("heartbeat", f"{told.epoch()}-0"),
        ("price", f"{told.epoch()}-1"),
    ]
    assert not told.listener(events[-1]["id"]).take(0), "who resumes behind it gets nothing twice"
    told.timer.forward(15)
    told.at("10:31:40")
    assert [event["id"] for event in bodies(listener.take(0))] == [f"{told.epoch()}-1"]


# --- several processes ---


def test_two_processes_on_one_log_tell_the_same_and_one_computes(begin: Begin, open_log: Open) -> None:
    one, other = (begin(open_log()) for _ in range(2))
    for moment in ("10:30:07", "10:31:07", "10:32:07"):
        one.at(moment)
        other.at(moment)
    first, second = one.listener(f"{one.epoch()}-0"), other.listener(f"{one.epoch()}-0")
    assert bodies(first.take(0)) == bodies(second.take(0)) == one.kept()
    assert (len(one.computed), len(other.computed)) == (3, 0)


def test_two_processes_on_one_log_show_the_same_snapshot(begin: Begin, open_log: Open) -> None:
    one, other = (begin(open_log()) for _ in range(2))
    for moment in ("15:59:07", "16:00:07", "2025-03-12 08:00:00"):
        one.at(moment)
        other.at(moment)
    first, second = (bodies(process.listener().take(0)) for process in (one, other))
    assert first == second
    assert (first[0]["as_of"], other.computed) == (None, [])


def test_who_comes_from_a_process_that_is_ahead_gets_nothing_twice(begin: Begin, open_log: Open) -> None:
    one, other = (begin(open_log()) for _ in range(2))
    one.at("10:30:07", "10:31:07")
    other.at("10:31:07")
    one.at("10:32:07")
    client = one.listener(f"{one.epoch()}-1")
    assert [event["as_of"] for event in bodies(client.take(0))] == ["11 10:32"]
    again = other.listener(str(client.position))
    assert not again.take(0)
    other.at("10:32:08")
    assert not again.take(0)
    one.at("10:33:07")
    other.at("10:33:07")
    assert [(event["kind"], event["as_of"]) for event in bodies(again.take(0))] == [("price", "11 10:33")]


def test_who_waits_for_a_process_that_is_behind_is_woken_once_it_has_read_the_log(begin: Begin) -> None:
    told = begin().at("10:30:07")
    ahead, taken = told.listener(f"{told.epoch()}-9"), []
    waiting = threading.Thread(target=lambda: taken.append(bodies(ahead.take(PATIENCE_S))))
    waiting.start()
    told.at("10:30:20")
    waiting.join(PATIENCE_S)
    assert [event["instead"] for event in taken[0]] == ["unknown_position"]


def test_the_next_process_takes_over_at_once_where_the_first_resigns(begin: Begin, open_log: Open) -> None:
    one, other = (begin(open_log()) for _ in range(2))
    one.at("10:30:07")
    other.at("10:31:07")
    one.log.resign("SPY")
    other.at("10:33:07")
    assert [event["as_of"] for event in other.kept()] == ["11 10:31", "11 10:32", "11 10:33"]


def test_a_process_that_was_stopped_past_its_lease_writes_nothing_over_its_successor(begin: Begin) -> None:
    """Both believe that they lead; the log takes what continues its head, and nothing else."""
    one, other = begin(log := MemoryEventLog()), begin(log)
    one.at("10:30:07", "10:31:07")
    other.at("10:31:07", "10:32:07")
    read = one.one._sequence.read
    one.one._sequence.read = lambda: None  # type: ignore[method-assign]
    one.at("10:32:08")
    assert [event["as_of"] for event in other.kept()] == ["11 10:31", "11 10:32"]
    one.one._sequence.read = read  # type: ignore[method-assign]
    one.at("10:33:07")
    other.at("10:33:08")
    assert [event["as_of"] for event in one.kept()] == ["11 10:31", "11 10:32", "11 10:33"]


# --- only while anyone listens ---


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "live SPY"]


def test_it_runs_while_anyone_listens_and_keeps_its_ticker_in_use(begin: Begin, clock: FakeClock) -> None:
    wait_for(lambda: not threads())  # of tests before
    told = begin()
    clock.set("2025-03-11 10:30:07")
    interest = told.core.pipeline.interest
    with told.listen() as first, told.listen() as second:
        for listener in (first, second):
            assert snapshots(listener.take_until(Kind.SNAPSHOT)) == 1
        assert (told.one.listeners, threads()) == (2, ["live SPY"])
        clock.set("2025-03-11 10:36:07")
        assert list(interest.last_uses(clock())) == ["SPY"], "for longer than after a request"
        told.core.events.emit("bars_known", ticker="SPY")
        assert snapshots(first.take_until(Kind.PRICE)) == 0
    assert told.one.listeners == 0
    wait_for(lambda: not threads())
    assert (told.one.feed.head, len(told.one.feed)) == (None, 0)
    with told.listen() as again:
        assert snapshots(again.take_until(Kind.SNAPSHOT)) == 1


def snapshots(events: Sequence[LiveEvent]) -> int:
    return sum(event.kind is Kind.SNAPSHOT for event in events)


def test_a_listener_whose_thread_does_not_start_is_not_counted(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    told = begin().at("10:30:07")

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            told.listen()
    assert told.one.listeners == 0
    with told.listen() as listener:
        assert len(listener.take(PATIENCE_S)) == 1
    wait_for(lambda: not threads())


def test_a_client_that_is_cut_off_while_the_thread_starts_is_not_counted(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: not threads())  # of tests before
    told, start, may_run, run = begin().at("10:30:07"), threading.Thread.start, threading.Event(), Broadcaster.run

    def cut_off(self: threading.Thread) -> None:
        start(self)
        if self.name == "live SPY":
            raise SystemExit

    def run_later(self: Broadcaster) -> None:
        may_run.wait(PATIENCE_S)
        run(self)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cut_off)
        patch.setattr(Broadcaster, "run", run_later)
        with pytest.raises(SystemExit):
            told.listen()
    assert told.one.listeners == 0
    with told.listen() as listener:
        may_run.set()
        assert len(listener.take(PATIENCE_S)) == 1
        assert threads() == ["live SPY"]
    wait_for(lambda: not threads())


def test_a_thread_that_was_given_up_does_not_step_beside_the_next_one(begin: Begin) -> None:
    wait_for(lambda: not threads())  # of tests before
    told = begin().at("10:30:07")
    with told.listen() as listener:
        listener.take(PATIENCE_S)
        told.one.run()  # as a second thread would
        assert told.one.feed.head is not None
        assert threads() == ["live SPY"]
    wait_for(lambda: not threads())


def test_a_listener_does_not_wait_for_the_store_of_the_last_one(begin: Begin) -> None:
    resigning, may_go_on = threading.Event(), threading.Event()

    class Slow(MemoryEventLog):
        def resign(self, ticker: str) -> None:
            resigning.set()
            assert may_go_on.wait(PATIENCE_S)

    told = begin(Slow()).at("10:30:07")
    with told.listen() as first:
        first.take(PATIENCE_S)
    assert resigning.wait(PATIENCE_S)
    with told.listen() as second:
        assert len(second.take(PATIENCE_S)) == 1
        assert not may_go_on.is_set()
        may_go_on.set()
    wait_for(lambda: not threads())


def test_a_step_that_breaks_is_told_and_does_not_end_it(begin: Begin, clock: FakeClock) -> None:
    told = begin()
    clock.set("2025-03-11 10:30:07")
    live, broken = told.core.pipeline.live, threading.Event()

    def breaking(ticker: str, at: object) -> object:
        if broken.is_set():
            return live(ticker, clock())
        broken.set()
        raise RuntimeError("once")

    told.core.pipeline.live = breaking  # type: ignore[method-assign, assignment]
    with told.listen() as listener:
        listener.take_until(Kind.SNAPSHOT)
    assert told.core.events.counts["broadcaster_broke",] == 1


def test_a_leader_that_cannot_compute_lets_another_process_lead_and_nobody_says_that_nothing_changed(
    begin: Begin, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (begin(open_log()) for _ in range(2))
    one.at("10:30:07")
    for told in (one, two):
        monkeypatch.setattr(told.core.pipeline, "outline", broken)
    listeners = [told.listener() for told in (one, two)]
    listeners[0].take(0)
    for _ in range(40):
        for told in (one, two):
            stepped(told)
    assert not any(bodies(listener.take(0)) for listener in listeners)


def broken(ticker: str, at: datetime) -> None:
    raise RuntimeError("put here")


def test_a_server_that_stops_wakes_its_listeners(begin: Begin) -> None:
    told = begin()
    with told.listen() as listener:
        listener.take_until(Kind.SNAPSHOT)  # nothing else comes by itself
        told.one.end()
        assert listener.take(PATIENCE_S) == ()
        assert listener.is_over
    wait_for(lambda: not threads())
