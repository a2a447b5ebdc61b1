"""Who is told that a fetch is over, and when: its stage ends by that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from app.market.single_flight import MAX_WAITING, SingleFlight
from app.telemetry.stages import NullStages
from tests.waiting import PATIENCE_S, wait_for


@pytest.fixture
def go() -> threading.Event:
    return threading.Event()


@pytest.fixture
def flight(go: threading.Event) -> Iterator[SingleFlight[bool]]:
    """One thread; what it runs waits for `go`."""
    found: SingleFlight[bool] = SingleFlight(1)
    yield found
    go.set()
    found.close()


class EndsWhenJoined(NullStages):
    """Lets the fetch end as soon as somebody waits for it."""

    def __init__(self, go: threading.Event) -> None:
        self._go = go

    def link(self, stage: object) -> None:
        self._go.set()


def test_a_fetch_is_said_to_be_over_before_anyone_has_its_result(go: threading.Event) -> None:
    flight: SingleFlight[bool] = SingleFlight(1, EndsWhenJoined(go))
    heard: list[str] = []

    def hear() -> None:
        time.sleep(0.05)  # so that who is given the result too early is here first
        heard.append("over")

    flight.start("bars", lambda: go.wait(PATIENCE_S), hear)
    assert flight.run("bars", lambda: False, PATIENCE_S)
    assert heard == ["over"]
    flight.close()


def test_who_joins_a_fetch_hears_of_its_end_and_fetches_nothing(
    flight: SingleFlight[bool], go: threading.Event
) -> None:
    heard: list[str] = []
    assert flight.start("bars", lambda: go.wait(PATIENCE_S), lambda: heard.append("first"))
    assert flight.start("bars", lambda: bool(heard.append("fetched")), lambda: heard.append("second"))
    assert heard == []
    go.set()
    wait_for(lambda: not flight.waiting())
    assert heard == ["first", "second"]


def test_a_fetch_that_failed_is_over_too(flight: SingleFlight[bool]) -> None:
    heard: list[str] = []
    flight.start("bars", lambda: bool(1 / 0), lambda: heard.append("over"))
    wait_for(lambda: not flight.waiting())
    assert heard == ["over"]


def test_what_is_queued_when_the_server_stops_is_over_and_never_fetched(
    flight: SingleFlight[bool], go: threading.Event
) -> None:
    heard: list[str] = []
    flight.start("first", lambda: go.wait(PATIENCE_S))
    flight.start("second", lambda: bool(heard.append("fetched")), lambda: heard.append("over"))
    flight.close()
    assert heard == ["over"]


def test_of_what_is_too_much_nobody_hears(flight: SingleFlight[bool], go: threading.Event) -> None:
    heard: list[str] = []
    for number in range(MAX_WAITING):
        assert flight.start(number, lambda: go.wait(PATIENCE_S))
    assert not flight.start("one more", lambda: bool(heard.append("fetched")), lambda: heard.append("over"))
    go.set()
    wait_for(lambda: not flight.waiting())
    assert heard == []


def test_who_comes_when_the_result_is_seen_already_gets_a_fetch_that_begins_when_the_first_one_is_over(
    go: threading.Event,
) -> None:
    flight: SingleFlight[bool] = SingleFlight(2)
    seen, order = threading.Event(), list[str]()

    def first() -> bool:
        seen.set()
        go.wait(PATIENCE_S)
        time.sleep(0.05)  # so that one that does not wait is here first
        return bool(order.append("first"))

    flight.start("bars", first, is_awaited=lambda: not seen.is_set())
    wait_for(seen.is_set)
    assert not flight.runs("bars")
    assert flight.start("bars", lambda: bool(order.append("second")))
    assert flight.runs("bars")
    assert flight.start("bars", lambda: bool(order.append("its twin")))
    go.set()
    wait_for(lambda: not flight.waiting())
    assert order == ["first", "second"]
    flight.close()
