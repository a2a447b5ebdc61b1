"""All who follow a ticker are posted the same events: in order, once, and without a gap that they are not told of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.errors import Unavailable
from app.live.fan_out import POSTS_A_TURN, FanOut, Membership
from app.live.feed import Feed, Numbers
from app.live.live_event import Kind, LiveEvent, Position, position_of
from tests.blueprints.socket_io.playing import head
from tests.live.broadcasting import PlainShape, Told, bodies
from tests.live.test_broadcaster import Begin, begin

__all__ = ["begin"]


class Client:
    """A recipient that keeps what it gets. on_post: what happens with each event beside that."""

    def __init__(self, on_post: Callable[[LiveEvent], None] = lambda event: None) -> None:
        self.events: list[LiveEvent] = []
        self.failures: list[str] = []
        self.is_ended = self.is_full = False
        self._on_post = on_post

    def post(self, event: LiveEvent) -> bool:
        self._on_post(event)
        if self.is_full:
            return False
        self.events.append(event)
        return True

    def fail(self, ticker: str, error: Exception) -> None:
        self.failures.append(f"{ticker}: {error}")

    def end(self) -> None:
        self.is_ended = True

    def take(self) -> list[dict[str, Any]]:
        events, self.events = self.events, []
        return bodies(events)

    def ids(self) -> list[str]:
        return [str(event["id"]).partition("-")[2] + event["kind"][0] for event in self.take()]


def joined(told: Told, client: Client, after: str | None = None) -> Membership:
    return told.one.fan_out.join(client, None if after is None else position_of(after))


def test_all_get_a_snapshot_and_then_each_event_once(begin: Begin) -> None:
    told = begin()
    first, later, last = Client(), Client(), Client()
    joined(told, first)
    assert first.take() == [], "nothing is known before the first step"
    told.at("10:30:07")
    joined(told, later)
    told.minutes("10:31:07", 3)
    joined(told, last)
    told.at("10:34:07")
    assert first.ids() == later.ids() == ["0s", "1p", "2p", "3p", "4p"]
    assert last.ids() == ["3s", "4p"]


def test_events_are_encoded_once_for_all(begin: Begin) -> None:
    told, clients = begin().at("10:30:07"), [Client() for _ in range(600)]
    for client in clients:
        joined(told, client)
    told.at("10:31:07")
    assert {len(client.events) for client in clients} == {2}
    assert len({id(client.events[1]) for client in clients}) == 1
    assert told.computed == ["10:30:07", "10:31:07"]


def test_a_thousand_subscribers_and_ten_minutes_are_eleven_states_however_often_the_market_is_looked_at(
    begin: Begin,
) -> None:
    told, clients = begin().at("10:30:07"), [Client() for _ in range(1000)]
    for client in clients:
        joined(told, client)
    for minute in range(31, 41):
        told.at(*(f"10:{minute}:{second}" for second in ("02", "07", "11", "30", "59")))
    assert len(told.computed) == 11
    assert clients[0].ids() == clients[-1].ids() == ["0s", *(f"{seq}p" for seq in range(1, 11))]


def test_who_comes_back_gets_what_it_missed_and_nothing_twice(begin: Begin) -> None:
    told, client, again = begin().at("10:30:07"), Client(), Client()
    membership = joined(told, client)
    told.minutes("10:31:07", 3)
    membership.close()
    membership.close()
    told.minutes("10:34:07", 3)
    assert client.ids() == ["0s", "1p", "2p", "3p"]
    joined(told, again, after=f"{told.epoch()}-3")
    told.at("10:37:07")
    assert again.ids() == ["4p", "5p", "6p", "7p"]
    assert told.one.listeners == -1, "each left once"


@pytest.mark.parametrize(
    ("after", "missed"), [("00000000-1", "unknown_epoch"), ("{epoch}-9", "unknown_position"), ("{epoch}-1", None)]
)
def test_what_cannot_be_resumed_is_a_snapshot_that_says_why(begin: Begin, after: str, missed: str | None) -> None:
    told, client = begin().minutes("10:30:07", 3), Client()
    joined(told, client, after=after.format(epoch=told.epoch()))
    told.one.step(told.clock.at)
    (event,) = client.take()
    assert (event["kind"], event.get("instead")) == (("snapshot", missed) if missed else ("price", None))


def test_heartbeats_come_to_all_and_behind_the_events(begin: Begin) -> None:
    told, early, late = begin().at("10:30:07"), Client(), Client()
    joined(told, early)
    told.timer.forward(16)
    told.at("10:31:07")
    joined(told, late)
    told.at("10:31:10")
    assert early.ids() == ["0s", "1p", "1h"]
    assert late.ids() == ["1s"], "a beat that was before it is none of its own"


def test_who_could_not_take_all_is_sent_a_snapshot_and_goes_on_behind_it(begin: Begin) -> None:
    told, client = begin().at("10:30:07"), Client()
    membership = joined(told, client)
    told.at("10:31:07")
    client.is_full = True
    told.at("10:32:07")
    assert (membership.is_behind, membership.began_at) == (True, None)
    client.is_full = False
    client.take()
    membership.catch_up()
    membership.catch_up()
    told.at("10:33:07")
    snapshot, event = client.take()
    assert (snapshot["kind"], snapshot["instead"], snapshot["id"]) == ("snapshot", "slow", f"{told.epoch()}-2")
    assert event["id"] == f"{told.epoch()}-3"
    assert told.one.fan_out.snapshots_for_slow == 1


def test_a_snapshot_that_comes_during_a_delivery_is_followed_by_newer_events_alone(begin: Begin) -> None:
    """While events are posted to hundreds, another thread may catch one of them up."""
    told, client = begin().at("10:30:07"), Client()
    others: list[Membership] = []
    joined(told, Client(lambda event: catch_up(others) if event.kind is Kind.PRICE else None))
    others.append(joined(told, client))
    client.take()
    others[0].is_behind = True
    told.at("10:31:07", "10:32:07")
    assert client.ids() == ["1s", "2p"], "no event behind the snapshot that holds it"


def catch_up(members: list[Membership]) -> None:
    for member in members:
        member.catch_up()


def test_who_leaves_during_a_delivery_gets_nothing_more(begin: Begin) -> None:
    told, second = begin().at("10:30:07"), Client()
    others: list[Membership] = []

    def close_others(event: LiveEvent) -> None:
        for other in others:
            other.close()

    joined(told, Client(close_others))
    others.append(joined(told, second))
    told.at("10:31:07")
    assert second.ids() == ["0s"]


def test_numbers_say_what_a_client_had_of_each_ticker(begin: Begin) -> None:
    told, client = begin().at("10:30:07"), Client()
    joined(told, client)
    told.minutes("10:31:07", 4)
    numbers = [event.number for event in client.events]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    epoch, feed = told.epoch(), told.one.feed
    assert [feed.position_at(number) for number in numbers[::2]] == [position_of(f"{epoch}-{seq}") for seq in (0, 2, 4)]
    assert feed.position_at(numbers[-1] + 1) is None, "no event has that number yet"


def test_a_number_from_before_the_events_in_memory_says_nothing(begin: Begin, tmp_path: Path) -> None:
    told = begin().at("10:30:07")
    told.one.feed._numbers.take()
    told.one.feed.clear()
    told.at("10:31:07")
    assert told.one.feed.position_at(0) is None
    assert told.one.feed.position_at(told.one.feed.take_number()) == position_of(f"{told.epoch()}-1")


def test_while_no_state_can_be_computed_all_are_told_once_and_who_comes_waits(begin: Begin) -> None:
    """What was known last may be old: nobody is sent it as if it were new."""
    told, early, late = begin().at("10:30:07"), Client(), Client()
    joined(told, early)
    early.take()
    for _ in range(2):
        told.one.fan_out.fail(Unavailable("the store cannot be used", part="store"))
    joined(told, late)
    assert early.failures == late.failures
    assert len(late.failures) == 1
    assert late.failures[0].startswith("SPY: ")
    assert late.take() == []
    told.at("10:31:07")
    assert (early.ids(), late.ids()) == (["1p"], ["1s"])
    told.one.fan_out.fail(Unavailable("the store cannot be used", part="store"))
    assert len(early.failures) == 2, "the same error after a success is another one"


class Burst:
    """The fan-out of one ticker, whose turns of other work a test sees.

    posts    how many events were posted between two turns
    at_turn  what the other work does in its first turn
    """

    def __init__(self) -> None:
        self.posts = [0]
        self.at_turn: Callable[[], object] = lambda: None
        self.fan_out = FanOut(Feed("SPY", PlainShape(), Numbers()), lambda: None, self._turn)
        self.seq = 0

    def _turn(self) -> None:
        self.posts.append(0)
        at_turn, self.at_turn = self.at_turn, lambda: None
        at_turn()

    def _count(self, event: LiveEvent) -> None:
        self.posts[-1] += 1

    def join(self, after: str | None = None) -> tuple[Client, Membership]:
        client = Client(self._count)
        return client, self.fan_out.join(client, None if after is None else position_of(after))

    def tell(self, events: int) -> None:
        first, self.seq = self.seq + 1, self.seq + events
        places = [Position("5b5b5b5b", seq) for seq in range(first, self.seq + 1)]
        told = [
            LiveEvent("SPY", Kind.PRICE, one, b'{"kind": "price", "id": "%b"}' % str(one).encode()) for one in places
        ]
        self.fan_out.feed.publish(head(Position("5b5b5b5b", self.seq)), told)
        self.fan_out.deliver()


def begun_and_told(burst: Burst, clients: Sequence[Client]) -> list[list[str]]:
    """What each client has got once one more event was told; in no turn more was posted than one turn may hold."""
    burst.tell(events=1)
    assert max(burst.posts) < 2 * POSTS_A_TURN, burst.posts
    return [client.ids() for client in clients]


def test_a_thousand_clients_that_wait_for_the_first_state_begin_with_turns_between() -> None:
    burst = Burst()
    waiting = [burst.join() for _ in range(1000)]
    late: list[Client] = []
    burst.at_turn = lambda: (late.append(burst.join()[0]), waiting[-1][1].close())
    burst.tell(events=0)
    assert len(burst.posts) > 1000 // POSTS_A_TURN
    *stayed, left = [client for client, _ in waiting]
    got = begun_and_told(burst, [*stayed, *late])
    assert got == [["0s", "1p"]] * 1000, "each has its snapshot and every event behind it, once and in order"
    assert left.ids() == []


def test_clients_that_missed_much_begin_with_turns_between() -> None:
    """They come from another process, and wait until this one has read the log."""
    burst = Burst()
    burst.tell(events=0)
    waiting = [burst.join("5b5b5b5b-1")[0] for _ in range(50)]
    assert [client.ids() for client in waiting] == [[]] * 50
    burst.fan_out.feed.begin_read()
    burst.tell(events=200)
    assert begun_and_told(burst, waiting) == [[f"{seq}p" for seq in range(2, 202)]] * 50


def test_who_follows_is_told_of_many_events_with_turns_between() -> None:
    burst = Burst()
    burst.tell(events=0)
    clients = [burst.join()[0] for _ in range(50)]
    burst.posts = [0]
    burst.tell(events=200)
    assert begun_and_told(burst, clients) == [["0s", *(f"{seq}p" for seq in range(1, 202))]] * 50


def test_what_is_missed_by_many_is_encoded_once(begin: Begin) -> None:
    told, clients = begin().minutes("10:30:07", 4), [Client() for _ in range(20)]
    for client in clients:
        joined(told, client, after=f"{told.epoch()}-0")
    assert [len(client.events) for client in clients] == [3] * 20
    assert len({id(client.events[0]) for client in clients}) == 1
    assert [event.number for event in clients[0].events][:2] == [0, 0]


def test_all_are_told_that_the_server_stops_and_so_is_who_comes_afterwards(begin: Begin) -> None:
    told, early, late = begin().at("10:30:07"), Client(), Client()
    joined(told, early)
    told.one.end()
    joined(told, late)
    assert early.is_ended
    assert late.is_ended
