"""The outbox sends once, and knows when it cannot know. This suite runs over every kind of outbox."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from app.errors import Unavailable
from app.notify.message import Condition, Kind
from app.notify.outbox import CLAIM_S, KEPT_S, Outbox
from app.notify.redis_outbox import RedisOutbox
from app.redis_database import RedisDatabase
from tests.notify.messages import message, state
from tests.notify.outboxes import KINDS, Opened, opened
from tests.support import FakeTimer
from tests.waiting import PATIENCE_S

BOTH = ("one", "other")


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer()


@pytest.fixture(params=KINDS)
def open_outbox(request: pytest.FixtureRequest, tmp_path: Path, timer: FakeTimer) -> Opened:
    return opened(request, tmp_path, timer.timer)


@pytest.fixture
def outbox(open_outbox: Opened) -> Outbox:
    return open_outbox()


def test_a_message_is_claimed_once_for_each_target_and_is_not_added_again(outbox: Outbox, open_outbox: Opened) -> None:
    assert outbox.add(message(), BOTH)
    claims = outbox.claim(BOTH, 9)
    assert sorted(claim.target for claim in claims) == [*BOTH]
    assert {claim.message for claim in claims} == {message()}
    assert not any(claim.is_uncertain for claim in claims)
    other = open_outbox()
    assert other.claim(BOTH, 9) == []
    assert all(other.finish(claim) for claim in claims)
    assert not open_outbox().add(message(), BOTH)
    assert outbox.claim(BOTH, 9) == []


def test_only_as_many_are_claimed_as_are_wanted_and_of_wanted_targets(outbox: Outbox) -> None:
    outbox.add(message(), BOTH)
    assert [claim.target for claim in outbox.claim(["other"], 9)] == ["other"]
    assert len(outbox.claim(BOTH, 1)) == 1
    assert outbox.claim([], 9) == []


def test_a_target_has_one_message_at_a_time_the_oldest_first(outbox: Outbox, timer: FakeTimer) -> None:
    for name in ("b", "a", "c"):
        outbox.add(message(name), ["one"])
        timer.forward(1)
    told = []
    for _ in range(3):
        [claim] = outbox.claim(["one"], 9)
        told.append(claim.message.id)
        outbox.finish(claim)
    assert told == ["b", "a", "c"]


def test_a_postponed_message_is_due_later_and_knows_its_tries(outbox: Outbox, timer: FakeTimer) -> None:
    outbox.add(message(), ["one"])
    [claim] = outbox.claim(["one"], 9)
    assert outbox.postpone(claim, 30, 1)
    timer.forward(29)
    assert outbox.claim(["one"], 9) == []
    timer.forward(2)
    [again] = outbox.claim(["one"], 9)
    assert (again.tries, again.is_uncertain) == (1, False)


def test_a_claim_of_a_process_that_was_killed_is_taken_over_as_uncertain(outbox: Outbox, timer: FakeTimer) -> None:
    outbox.add(message(), ["one"])
    [lost] = outbox.claim(["one"], 9)
    timer.forward(CLAIM_S - 1)
    assert outbox.claim(["one"], 9) == []
    timer.forward(2)
    [taken] = outbox.claim(["one"], 9)
    assert (taken.message, taken.is_uncertain) == (message(), True)
    assert not outbox.finish(lost), "a process that wakes too late says nothing about what another has taken over"
    assert not outbox.postpone(lost, 1, 1)
    assert outbox.finish(taken)
    assert not outbox.finish(taken)


def test_what_was_given_up_is_listed_with_its_reason_and_can_be_sent_again(outbox: Outbox, timer: FakeTimer) -> None:
    for name in ("a", "b"):
        outbox.add(message(name), ["one"])
        [claim] = outbox.claim(["one"], 9)
        outbox.postpone(claim, 0, 2)
        [claim] = outbox.claim(["one"], 9)
        assert outbox.finish(claim, f"too late: {name}")
        timer.forward(1)
    letters = outbox.dead()
    assert [(letter.message.id, letter.reason, letter.tries) for letter in letters] == [
        ("b", "too late: b", 2),
        ("a", "too late: a", 2),
    ]
    assert letters[0].since == pytest.approx(timer.at - 1)
    outbox.revive(letters[0])
    [again] = outbox.claim(["one"], 9)
    assert (again.message.id, again.tries) == ("b", 0)
    assert [letter.message.id for letter in outbox.dead()] == ["a"]


def test_counts_are_by_target(outbox: Outbox) -> None:
    outbox.add(message("a"), BOTH)
    outbox.add(message("b"), ["one"])
    [claim] = outbox.claim(["other"], 9)
    outbox.finish(claim, "gone")
    counts = outbox.counts()
    assert (dict(counts.waiting), dict(counts.dead)) == ({"one": 2}, {"other": 1})


def test_a_state_is_told_when_it_changes_and_a_good_one_only_after_a_bad_one(outbox: Outbox) -> None:
    told = [
        outbox.add(state(Condition.RECOVERED, "first"), ["one"]),
        outbox.add(state(Condition.STALE, "second"), ["one"]),
        outbox.add(state(Condition.STALE, "third"), ["one"]),
        outbox.add(state(Condition.RECOVERED, "fourth"), ["one"]),
        outbox.add(state(Condition.RECOVERED, "fifth"), ["one"]),
    ]
    assert told == [False, True, False, True, False]
    assert outbox.told(state(Condition.STALE).topic) == Condition.RECOVERED
    assert outbox.told("key") is None


def test_what_is_older_than_a_week_is_forgotten(outbox: Outbox, timer: FakeTimer) -> None:
    outbox.add(message("old"), ["one"])
    [claim] = outbox.claim(["one"], 9)
    outbox.finish(claim, "too late")
    timer.forward(KEPT_S + 1)
    outbox.add(message("new"), ["one"])
    assert outbox.dead() == []
    assert [claim.message.id for claim in outbox.claim(["one"], 9)] == ["new"]


def test_every_process_knows_which_targets_want_nothing_more_until_they_are_enabled_or_a_week_is_over(
    outbox: Outbox, open_outbox: Opened, timer: FakeTimer
) -> None:
    for target in BOTH:
        outbox.disable(target, "answered with status 410: gone")
    assert open_outbox().disabled() == dict.fromkeys(BOTH, "answered with status 410: gone")
    open_outbox().enable("one")
    assert [*outbox.disabled()] == ["other"]
    timer.forward(KEPT_S + 1)
    assert outbox.disabled() == {}


@pytest.fixture(params=KINDS)
def small_outbox(request: pytest.FixtureRequest, tmp_path: Path, timer: FakeTimer) -> Outbox:
    return opened(request, tmp_path, timer.timer, most=3)()


def test_the_oldest_make_room_where_there_are_too_many(small_outbox: Outbox, timer: FakeTimer) -> None:
    for number in range(6):
        small_outbox.add(message(f"m{number}"), ["one"])
        timer.forward(1)
    assert small_outbox.counts().waiting["one"] == 3
    assert [claim.message.id for claim in small_outbox.claim(["one"], 9)] == ["m3"]


@pytest.mark.parametrize("open_outbox", KINDS[1:], indirect=True)
def test_processes_that_race_claim_each_message_once(open_outbox: Opened) -> None:
    first = open_outbox()
    for number in range(20):
        first.add(message(f"m{number}", Kind.SIGNAL), BOTH)
    claimed: list[tuple[str, str]] = []
    barrier = Barrier(4)

    def race() -> None:
        own = open_outbox()
        barrier.wait()
        while claims := own.claim(BOTH, 9):
            claimed.extend((claim.message.id, claim.target) for claim in claims)

    threads = [Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 40


@pytest.mark.integration
def test_a_claim_whose_answer_redis_could_not_give_is_free_again_and_certain(redis_url: str, timer: FakeTimer) -> None:
    """Nothing was sent: nobody knew of the claim. A person would not be told if it counted as one that may have arrived."""
    outbox = RedisOutbox(RedisDatabase(redis_url, PATIENCE_S, epoch=timer.timer.epoch), "notify:{demo}")
    outbox.add(message(), ["one"])
    claim = outbox._claim

    def lost(*args: Any) -> Any:
        claim(*args)
        raise Unavailable("the server cannot write its Redis", part="store")

    outbox._claim = lost
    with pytest.raises(Unavailable):
        outbox.claim(["one"], 9)
    outbox._claim = claim
    outbox.check()
    [again] = outbox.claim(["one"], 9)
    assert (again.message, again.is_uncertain) == (message(), False)
    outbox.check()
    assert outbox.claim(["one"], 9) == [], "a claim that was heard of stays"
