"""How many connections there may be, and which one makes room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from serving.connections import APP_SPACING_S, SPACING_S, Connections, State


@dataclass(eq=False)
class FakeConnection:
    address: str = "192.0.2.1"
    state: State = State.READING
    reason: str | None = None
    is_in_app: bool = False
    evicted: list[bool] = field(default_factory=list)

    def evict(self) -> None:
        self.evicted.append(True)


def connections(
    most: int = 100, most_of_address: int | None = None, now: Callable[[], float] = lambda: 0.0
) -> Connections:
    return Connections(most, most_of_address, lambda address: None if address == "proxy" else address, now)


def entered(held: Connections, number: int, address: str = "192.0.2.1") -> list[FakeConnection]:
    made = [FakeConnection(address) for _ in range(number)]
    assert all(held.enter(connection) for connection in made)
    return made


def test_a_new_connection_finds_room_while_another_of_its_address_waits() -> None:
    held = connections(most_of_address=3)
    first, *others = entered(held, 3)
    entered(held, 1)
    assert first.evicted == [True]
    assert not any(connection.evicted for connection in others)
    assert len(held) == 3
    assert held.closed == {("evicted",): 1}


def test_an_address_at_its_bound_costs_no_other_address_a_connection() -> None:
    held = connections(most=10, most_of_address=3)
    (honest,) = entered(held, 1, "192.0.2.9")
    entered(held, 500, "192.0.2.1")
    assert not honest.evicted
    assert len(held) == 4


def test_proxies_have_no_bound_of_their_own() -> None:
    held = connections(most=100, most_of_address=3)
    entered(held, 100, "proxy")
    assert len(held) == 100
    assert not held.closed


def test_incomplete_requests_make_room_before_idle_connections() -> None:
    held = connections(most=3)
    idle, *incomplete = entered(held, 3)
    held.move(idle, State.ANSWERING)
    held.move(idle, State.IDLE)
    entered(held, 2)
    assert [connection.evicted for connection in (idle, *incomplete)] == [[], [True], [True]]
    for connection in held:
        if connection is not idle:
            held.move(connection, State.ANSWERING)
    entered(held, 1)
    assert idle.evicted == [True]


def test_what_is_being_answered_is_never_closed_and_there_is_no_room_for_a_new_one() -> None:
    for held in (connections(most=2), connections(most_of_address=2)):
        busy = entered(held, 2)
        for connection in busy:
            held.move(connection, State.ANSWERING)
        assert not held.enter(FakeConnection())
        assert not any(connection.evicted for connection in busy)
        assert not held.closed, "the worker reads what is asked, and counts whom it refuses"


def test_a_connection_that_left_leaves_nothing_behind() -> None:
    held = connections(most_of_address=2)
    for connection in entered(held, 2):
        held.move(connection, State.ANSWERING)
        held.move(connection, State.IDLE)
        held.leave(connection)
        held.leave(connection)
    assert len(held) == 0
    assert held._waiting.first() is None
    assert not held._held
    assert not held._waiting_of


def test_an_evicted_connection_that_ends_later_counts_once() -> None:
    held = connections(most=1)
    (first,) = entered(held, 1)
    entered(held, 1)
    held.move(first, State.ANSWERING)
    held.move(first, State.IDLE)
    held.leave(first)
    assert len(held) == 1
    assert first not in list(held)


def test_fewer_open_files_mean_fewer_connections_and_never_more() -> None:
    held = connections(most=100)
    held.limit(1000)
    assert held.most == 100
    held.limit(40)
    assert held.most == 40


def test_an_address_at_its_bound_waits_until_a_place_of_its_own_was_held_for_a_moment() -> None:
    times = [0.0]
    held = connections(most_of_address=2, now=lambda: times[0])
    entered(held, 1)
    times[0] = 0.25
    entered(held, 1)
    assert held.held_for(FakeConnection(), place_s=1.0) == 0.75
    assert held.held_for(FakeConnection("192.0.2.9"), place_s=1.0) == 0.0
    times[0] = 2.0
    assert held.held_for(FakeConnection(), place_s=1.0) == 0.0


def test_a_place_costs_more_time_where_the_app_must_end_the_request_of_it() -> None:
    held = connections(most=1)
    first = FakeConnection()
    assert held.enter(first)
    assert held.spacing(FakeConnection()) == SPACING_S
    first.is_in_app = True
    assert held.spacing(FakeConnection()) == APP_SPACING_S > SPACING_S


def test_a_full_server_keeps_each_place_for_a_moment_whoever_asks() -> None:
    times = [0.0]
    held = connections(most=2, now=lambda: times[0])
    idle, _ = entered(held, 2)
    held.move(idle, State.ANSWERING)
    held.move(idle, State.IDLE)
    times[0] = 0.5
    assert held.held_for(FakeConnection("192.0.2.9"), place_s=1.0) == 0.5


def test_where_every_connection_is_being_answered_nobody_waits_for_a_place() -> None:
    held = connections(most_of_address=1)
    (busy,) = entered(held, 1)
    held.move(busy, State.ANSWERING)
    assert held.held_for(FakeConnection(), place_s=1.0) == 0.0
    assert not held.enter(FakeConnection())
