"""What the core has to tell: every event is known, goes to the log once at most, and is counted."""

from __future__ import annotations

import ast
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.live.events import EVENTS, Events, Invalidates
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
CODE = sorted(path for folder in ("app", "blueprints", "middleware") for path in (ROOT / folder).rglob("*.py"))
FIELDS = {
    "announcement_refused": {"reason": "date"},
    "breaker_changed": {"kind": "bars", "state": "open"},
    "call_withheld": {"reason": "key"},
    "gated": {"gate": "NO_MARKET_DATA"},
    "live_event": {"kind": "price"},
    "looked_up": {"cache": "memory", "outcome": "hit"},
    "notification_dead": {"target": "webhook #1", "kind": "signal"},
    "notification_failed": {"target": "webhook #1", "kind": "signal"},
    "notification_sent": {"target": "webhook #1", "kind": "signal"},
    "signal_locked": {"ticker": "SPY", "action": "LONG"},
}


def names_in(node: ast.expr) -> Iterator[str]:
    """The events that an argument may be."""
    match node:
        case ast.Constant(value=str(name)):
            yield name
        case ast.IfExp(body=body, orelse=orelse):
            yield from names_in(body)
            yield from names_in(orelse)
        case ast.Call(func=ast.Attribute(attr="event_of" | "_event_of"), args=[_, ast.Constant(value=str(name))]):
            yield from (name, f"past_{name}")
        case _:
            raise AssertionError(f"an event that nobody can look up: {ast.unparse(node)}")


def told_in(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id="emit" | "_emit") | ast.Attribute(attr="emit" | "_emit")):
                for name in names_in(node.args[0]):
                    yield name, node


@cache
def told() -> list[tuple[str, ast.Call]]:
    """Of all code. To read it takes a second, which the processes that run other tests save."""
    return [found for path in CODE for found in told_in(path)]


# --- which events there are ---


def test_every_event_in_the_code_is_known() -> None:
    assert len(told()) > 30
    assert {name for name, _ in told()} - set(EVENTS) == set()


def test_every_event_that_is_known_is_in_the_code() -> None:
    assert set(EVENTS) - {name for name, _ in told()} == set()


def test_old_days_change_no_answer_about_now() -> None:
    past = [event for name, event in EVENTS.items() if name.startswith("past_")]
    assert len(past) == 3
    assert {event.invalidates for event in past} == {Invalidates.NOTHING}


def test_events_about_a_ticker_are_emitted_with_it() -> None:
    for name, call in told():
        if EVENTS[name].invalidates is Invalidates.TICKER:
            assert "ticker" in {keyword.arg for keyword in call.keywords}, name


def test_events_that_are_counted_by_fields_are_told_with_these() -> None:
    for name, call in told():
        given = {keyword.arg for keyword in call.keywords}
        assert set(EVENTS[name].counted) <= given, f"{name} is emitted with {given}"


# --- the log ---


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_gets_one_line_at_its_level(caplog: pytest.LogCaptureFixture, name: str) -> None:
    caplog.set_level(logging.DEBUG, "predict")
    Events()(name, **FIELDS.get(name, {}))
    [record] = caplog.records
    assert record.levelno == EVENTS[name].level
    assert record.getMessage().split()[0] == name


def test_what_comes_with_every_answer_or_fetch_gets_no_line_unless_it_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "predict")
    events = Events()
    for name in ("looked_up", "bars_known", "predicted", "gated", "limited"):
        events(name, **FIELDS.get(name, {}))
    assert caplog.records == []


def test_a_line_has_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "predict")
    Events()("plan_probed", today=True, ahead_s=0.5)
    assert [record.getMessage() for record in caplog.records] == ["plan_probed today=True ahead_s=0.5"]


# --- counts ---


def test_every_event_is_counted_and_some_by_their_fields() -> None:
    events = Events()
    for name in EVENTS:
        events(name, **FIELDS.get(name, {}))
    events("looked_up", cache="disk", outcome="miss", more="is not counted")
    events("looked_up", cache="disk", outcome="miss")
    assert events.counts == Counter({(name,): 1 for name in EVENTS} | {("looked_up",): 3})
    assert events.counts_by_field["looked_up"] == {("memory", "hit"): 1, ("disk", "miss"): 2}
    assert events.counts_by_field["breaker_changed"] == {("bars", "open"): 1}
    assert set(events.counts_by_field) == {name for name, event in EVENTS.items() if event.counted}


# --- who listens ---


def test_every_subscriber_of_an_event_gets_it_and_no_other_event() -> None:
    events, first, second = Events(), [], []
    events.subscribe("predicted", lambda **fields: first.append(fields))
    events.subscribe("predicted", lambda **fields: second.append(fields))
    events("predicted", ticker="SPY", hour=11, inputs=[1.0])
    events("past_bars_known", ticker="QQQ")
    assert first == second == [{"ticker": "SPY", "hour": 11, "inputs": [1.0]}]


def test_a_subscriber_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    events, heard = Events(), []

    def broken(**fields: object) -> None:
        raise ValueError("of its own making")

    events.subscribe("predicted", broken)
    events.subscribe("subscriber_failed", broken)
    events.subscribe("predicted", lambda **fields: heard.append(fields))
    events("predicted", ticker="SPY")
    assert heard == [{"ticker": "SPY"}]
    assert events.counts["subscriber_failed",] == 1
    assert "subscriber_failed event=predicted error=ValueError: of its own making" in caplog.text


def test_an_event_that_the_table_lacks_is_told_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    events("moon_rose", phase="full")
    assert events.counts["moon_rose",] == 1
    assert "moon_rose phase=full" in caplog.text


# --- revisions ---


def moved(name: str, **fields: object) -> tuple[bool, bool, bool]:
    """Whether the revisions of SPY, of QQQ, and of everything move with an event."""
    events = Events()
    events(name, **FIELDS.get(name, {}), **fields)
    return events.revision(("SPY",)) > 0, events.revision(("QQQ",)) > 0, events.revision() > 0


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_a_revision_moves_with_what_may_change_its_answers_alone(name: str) -> None:
    fields = {} if "ticker" in FIELDS.get(name, {}) else {"ticker": "SPY"}
    expected = {
        Invalidates.NOTHING: (False, False, False),
        Invalidates.TICKER: (True, False, True),
        Invalidates.ALL: (True, True, True),
    }
    assert moved(name, **fields) == expected[EVENTS[name].invalidates]


def test_whose_ticker_is_not_told_is_about_all() -> None:
    assert moved("bars_known") == (True, True, True)


def test_waiting_ends_with_the_next_change_of_the_ticker() -> None:
    events = Events()
    since = events.revision(("SPY",))
    found: list[int] = []
    waiting = threading.Thread(target=lambda: found.append(events.wait("SPY", since, 60)))
    waiting.start()
    events("bars_known", ticker="QQQ")
    events("looked_up", cache="memory", outcome="hit")
    assert waiting.is_alive()
    events("bars_known", ticker="SPY")
    waiting.join(PATIENCE_S)
    assert found == [since + 1]
    assert events.wait("SPY", since, 60) == since + 1, "it has changed already"


def test_waiting_ends_in_time_without_a_change() -> None:
    assert Events().wait("SPY", 0, 0.0) == 0


def test_nothing_is_lost_between_threads() -> None:
    events, times = Events(), 2000

    def emit() -> None:
        for _ in range(times):
            events("looked_up", cache="memory", outcome="hit")
            events("bars_known", ticker="SPY")

    threads = [threading.Thread(target=emit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert events.counts_by_field["looked_up"]["memory", "hit"] == events.revision(("SPY",)) == 6 * times
    assert events.counts["bars_known",] == 6 * times
