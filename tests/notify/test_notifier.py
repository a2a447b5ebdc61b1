"""The notifier sends each message once, in its time, whatever happens to processes, stores and receivers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from app.errors import Unavailable
from app.live.events import Events
from app.market.lease import LEASE_S, SqliteLeases
from app.notify.backoff import DELAYS_S, JITTER, LONGEST_S, delay_s
from app.notify.delivery import HELD_S
from app.notify.message import Condition, Message
from app.notify.notifier import Notifier, Store
from app.notify.outbox import CLAIM_S, Claim
from app.notify.sending import ATTEMPT_S, Outcome, Result
from app.notify.sqlite_outbox import SqliteOutbox
from app.notify.target import Target
from app.sqlite import REOPEN_AFTER_S
from tests.notify.messages import by_apprise, message, state, webhook
from tests.support import FakeClock, FakeTimer, new_york
from tests.waiting import PATIENCE_S

HOOK, PERSON = webhook("https://hooks.example/a-secret-word"), by_apprise("discord://a-secret-word/another")
SENT, DOWN = Outcome(Result.SENT), Outcome(Result.FAILED, "the connection failed")


@dataclass
class Seen:
    """What a watch says. messages: of its next looks; stale: tickers with stale bars; unwanted: ids that are excluded."""

    messages: list[Message] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)

    def wants(self, message: Message) -> bool:
        return message.id not in self.unwanted

    def look(self) -> Iterator[Message]:
        return iter(self.messages)

    def is_stale(self, ticker: str) -> bool:
        return ticker in self.stale

    def forget(self) -> None:
        """It keeps nothing."""


@dataclass
class House:
    """Processes that share an outbox in a file. sent: each attempt, by the name of its target and the id of its message."""

    path: Path
    timer: FakeTimer = field(default_factory=FakeTimer)
    clock: FakeClock = field(default_factory=lambda: FakeClock(new_york("2025-03-11 11:00:02")))
    events: Events = field(default_factory=Events)
    watch: Seen = field(default_factory=lambda: Seen([message()]))
    sent: list[tuple[str, str]] = field(default_factory=list)
    answer: Callable[[Target, Message], Outcome] = lambda target, message: SENT
    heard: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for event in ("notification_sent", "notification_failed", "notification_dead"):
            self.events.subscribe(event, lambda event=event, **fields: self.heard.append({"event": event, **fields}))

    def open(self) -> Store:
        outbox = SqliteOutbox(self.path, self.timer.timer)
        return Store(outbox, SqliteLeases(outbox.db, self.timer.timer))

    def process(self, *targets: Target, open_store: Callable[[], Store] | None = None) -> Notifier:
        def send(target: Target, sent: Message, timeout_s: float) -> Outcome:
            self.sent.append((target.name, sent.id))
            return self.answer(target, sent)

        to = targets or (HOOK, PERSON)
        return Notifier(to, self.watch, open_store or self.open, send, self.clock, self.timer.timer, self.events)

    def forward(self, seconds: float) -> None:
        self.timer.forward(seconds)
        self.clock.forward(seconds=seconds)

    def reasons(self) -> list[str]:
        return [letter.reason for letter in self.open().outbox.dead()]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "notify.sqlite3")


def step(notifier: Notifier) -> None:
    """One step, and the end of the attempts that it began."""
    notifier.step()
    wait(notifier._running.values(), PATIENCE_S)


def test_each_target_is_told_once_however_often_one_looks(house: House) -> None:
    notifier = house.process()
    for _ in range(5):
        step(notifier)
        house.forward(2)
    assert sorted(house.sent) == [("discord #1", message().id), ("webhook #1", message().id)]


def test_two_processes_and_a_restart_tell_once(house: House) -> None:
    one, other = house.process(), house.process()
    for _ in range(3):
        step(one)
        step(other)
        house.forward(2)
    house.forward(LEASE_S)
    later = house.process()
    step(later)
    assert len(house.sent) == 2
    assert [n.status().leads for n in (one, other, later)] == [True, False, True]


def test_a_killed_process_is_replaced_and_what_it_was_sending_goes_out_again_with_its_id_to_webhooks_alone(
    house: House,
) -> None:
    """The one that was killed took the lease and both claims, and was heard of no more."""
    killed = house.open()
    killed.leases.acquire("notifier")
    killed.outbox.add(message(), [HOOK.key, PERSON.key])
    assert len(killed.outbox.claim([HOOK.key, PERSON.key], 9)) == 2
    successor = house.process()
    step(successor)
    assert not successor.status().leads
    house.forward(LEASE_S + 1)
    step(successor)
    assert successor.status().leads
    assert house.sent == []
    house.forward(CLAIM_S)
    step(successor)
    assert house.sent == [("webhook #1", message().id)]
    assert house.reasons() == ["it may have arrived: the process that sent it ended before it could say so"]


def test_a_failed_message_is_tried_again_ever_later_and_given_up_at_the_end_of_its_hour(house: House) -> None:
    house.answer = lambda target, message: DOWN
    notifier, began, tried = house.process(HOOK), house.timer.at, []
    while house.clock() < message().expires_at:
        before = len(house.sent)
        step(notifier)
        tried += [house.timer.at - began] * (len(house.sent) - before)
        house.forward(1)
    last_s = 3598 - ATTEMPT_S
    assert last_s - DELAYS_S[0] - 2 <= tried[-1] <= last_s + 2, "the last try can still end within the hour"
    gaps = [later - earlier for earlier, later in pairwise(tried[:-1])]
    expected = [*DELAYS_S, *[DELAYS_S[-1]] * len(gaps)][: len(gaps)]
    assert len(gaps) >= 6
    assert all(least <= gap <= least * (1 + JITTER) + 2 for gap, least in zip(gaps, expected, strict=True))
    assert house.reasons() == ["too late: the connection failed"]
    assert house.heard[-1]["event"] == "notification_dead"


def test_a_receiver_that_comes_back_within_the_hour_is_told(house: House) -> None:
    house.answer = lambda target, message: DOWN if len(house.sent) < 3 else SENT
    notifier = house.process(HOOK)
    for _ in range(60):
        step(notifier)
        house.forward(5)
    assert len(house.sent) == 3
    assert [entry["event"] for entry in house.heard] == ["notification_failed"] * 2 + ["notification_sent"]


@pytest.mark.parametrize(("asked", "waited"), [(77.0, 77.0), (1.0, DELAYS_S[0]), (1e9, LONGEST_S), (None, DELAYS_S[0])])
def test_what_a_receiver_asks_for_is_honoured_within_bounds(asked: float | None, waited: float) -> None:
    assert delay_s(1, asked, 0.0) == waited


def test_a_receiver_that_is_gone_gets_nothing_more_from_any_process(house: House) -> None:
    house.answer = lambda target, message: Outcome(Result.REFUSED, "answered with status 410")
    step(house.process(HOOK))
    house.watch.messages = [message("signal-demo-QQQ-2025-03-11T11")]
    house.forward(LEASE_S + 1)
    successor = house.process(HOOK)
    step(successor)
    assert len(house.sent) == 1
    assert house.reasons() == ["answered with status 410"] * 2
    assert successor.status().disabled == ["webhook #1"]


def test_a_message_that_waits_is_not_sent_once_the_settings_do_not_want_it(house: House) -> None:
    house.open().outbox.add(message(), [HOOK.key])
    house.watch = Seen([], unwanted={message().id})
    step(house.process(HOOK))
    assert (house.sent, house.reasons()) == ([], ["the settings do not want it any more"])


def test_a_message_that_may_have_arrived_is_not_sent_to_a_person_again(house: House) -> None:
    house.answer = lambda target, message: Outcome(Result.UNKNOWN, "no answer in time")
    notifier = house.process(PERSON)
    for _ in range(50):
        step(notifier)
        house.forward(20)
    assert house.sent == [("discord #1", message().id)]
    assert house.reasons() == ["no answer in time"]


def test_nothing_is_sent_once_its_hour_is_over(house: House) -> None:
    house.open().outbox.add(message(), [HOOK.key])
    house.watch.messages = []
    house.clock.set("2025-03-11 12:00")
    step(house.process(HOOK))
    assert house.sent == []
    assert house.reasons() == ["too late"]


def test_a_signal_is_held_while_its_data_are_stale_and_sent_when_they_are_not(house: House) -> None:
    house.open().outbox.add(message(), [HOOK.key])
    house.watch.stale = {"SPY"}
    notifier = house.process(HOOK)
    for _ in range(5):
        step(notifier)
        house.forward(HELD_S + 1)
    assert house.sent == []
    house.watch.stale = set()
    step(notifier)
    assert house.sent == [("webhook #1", message().id)]


def test_a_signal_whose_data_stay_stale_is_given_up(house: House) -> None:
    house.open().outbox.add(message(), [HOOK.key])
    house.watch = Seen([], {"SPY"})
    house.clock.set("2025-03-11 11:59:50")
    step(house.process(HOOK))
    assert (house.sent, house.reasons()) == ([], ["too late: the market data are stale"])


def test_a_state_that_is_over_is_not_told_of(house: House) -> None:
    house.answer = lambda target, message: DOWN
    house.watch.messages = [state(Condition.STALE)]
    notifier = house.process(HOOK)
    step(notifier)
    house.answer = lambda target, message: SENT
    house.watch.messages = [state(Condition.RECOVERED)]
    for _ in range(4):
        house.forward(3)
        step(notifier)
    assert house.sent == [("webhook #1", "state-stale"), ("webhook #1", "state-recovered")]
    assert house.reasons() == ["it is not so any more"]


def test_nothing_is_sent_while_the_outbox_cannot_be_used_and_all_of_it_afterwards(house: House) -> None:
    is_broken = True

    def open_store() -> Store:
        if is_broken:
            raise Unavailable("the server cannot open its file", part="store")
        return house.open()

    notifier = house.process(open_store=open_store)
    for _ in range(3):
        step(notifier)
        house.forward(REOPEN_AFTER_S)
    assert house.sent == []
    assert notifier.status().failure == "the server cannot open its file"
    is_broken = False
    house.forward(REOPEN_AFTER_S)
    step(notifier)
    assert len(house.sent) == 2
    assert notifier.status().failure is None
    assert house.events.counts["notifications_unavailable",] == house.events.counts["notifications_recovered",] == 1


def test_an_outcome_that_could_not_be_written_is_written_later_and_the_message_not_sent_again(house: House) -> None:
    store = house.open()
    finish, fails = store.outbox.finish, [True]

    def failing(claim: object, given_up: str | None = None) -> bool:
        if fails.pop() if fails else False:
            raise Unavailable("the server cannot write its file", part="store")
        return finish(claim, given_up)  # type: ignore[arg-type]

    store.outbox.finish = failing  # type: ignore[method-assign, assignment]
    notifier = house.process(PERSON, open_store=lambda: store)
    for _ in range(4):
        step(notifier)
        house.forward(CLAIM_S)
    assert house.sent == [("discord #1", message().id)]
    assert house.reasons() == []


def test_what_is_waiting_and_given_up_is_shown_by_the_name_of_its_target(house: House) -> None:
    house.answer = lambda target, message: DOWN if target is HOOK else Outcome(Result.UNKNOWN, "no answer in time")
    notifier = house.process()
    step(notifier)
    house.forward(1)
    step(notifier)
    status = notifier.status()
    assert (status.waiting, status.dead) == ({"discord #1": 0, "webhook #1": 1}, {"discord #1": 1, "webhook #1": 0})


def test_no_address_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    house.answer = lambda target, message: DOWN
    step(house.process())
    assert "webhook #1" in caplog.text
    assert "a-secret-word" not in caplog.text + repr(HOOK) + repr(PERSON)


def test_an_error_of_one_attempt_does_not_end_the_notifier(house: House) -> None:
    def broken(target: Target, message: Message) -> Outcome:
        raise RuntimeError("https://hooks.example/a-secret-word")

    house.answer = broken
    notifier = house.process(HOOK)
    step(notifier)
    house.answer = lambda target, message: SENT
    house.forward(CLAIM_S + 1)
    step(notifier)
    assert len(house.sent) == 2
    assert house.events.counts["notifier_broke",] == 1


def test_a_process_that_stops_lets_another_lead_at_once(house: House) -> None:
    from threading import Event

    one, other, stopped = house.process(), house.process(), Event()
    step(one)
    stopped.set()
    one.run(stopped)
    step(other)
    assert other.status().leads
    one.close()
    other.close()


def test_a_process_that_stood_still_while_another_led_tells_of_a_state_that_came_again(house: House) -> None:
    one, other = house.process(HOOK), house.process(HOOK)
    for notifier, seen in (
        (one, state(Condition.STALE)),
        (other, state(Condition.RECOVERED)),
        (one, state(Condition.STALE, "again")),
    ):
        house.watch.messages = [seen]
        step(notifier)
        house.forward(LEASE_S + 2)
    assert [name for _, name in house.sent] == ["state-stale", "state-recovered", "again"]


def test_a_person_gets_a_message_whose_failed_try_could_not_be_noted_at_once(house: House) -> None:
    """The claim would end without a word, and the message would be taken for one that may have arrived."""
    store = house.open()
    postpone, fails = store.outbox.postpone, [True]

    def failing(claim: Claim, seconds: float, tries: int) -> bool:
        if fails.pop() if fails else False:
            raise Unavailable("the server cannot write its file", part="store")
        return postpone(claim, seconds, tries)

    store.outbox.postpone = failing  # type: ignore[method-assign]
    house.answer = lambda target, message: DOWN if len(house.sent) < 2 else SENT
    notifier = house.process(PERSON, open_store=lambda: store)
    for _ in range(4):
        step(notifier)
        house.forward(CLAIM_S)
    assert [entry["event"] for entry in house.heard] == ["notification_failed", "notification_sent"]
    assert house.reasons() == []
