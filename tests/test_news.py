"""What the core has to tell: every event is known, goes to the log once at most, and is counted."""

from __future__ import annotations

import ast
import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.news import CHANGES, COUNTED, DETAILS, ERRORS, EVENTS, NEWS, WARNINGS, News

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "middleware").rglob("*.py")])
FIELDS = {
    "announcement_refused": {"reason": "date"},
    "breaker_changed": {"kind": "bars", "state": "open"},
    "call_withheld": {"reason": "key"},
    "gated": {"gate": "NO_MARKET_DATA"},
    "looked_up": {"cache": "memory", "outcome": "hit"},
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
        case ast.Call(func=ast.Attribute(attr="_about"), args=[_, ast.Constant(value=str(name))]):
            yield from (name, f"past_{name}")
        case _:
            raise AssertionError(f"an event that nobody can look up: {ast.unparse(node)}")


def told_in(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and re.search(r"(?:^|\.)_?notice$", ast.unparse(node.func)):
            for name in names_in(node.args[0]):
                yield name, node


TOLD = [found for path in CODE for found in told_in(path)]


# --- which events there are ---


def test_every_event_in_the_code_is_known() -> None:
    assert len(TOLD) > 30
    assert {name for name, _ in TOLD} - EVENTS == set()


def test_every_event_that_is_known_is_in_the_code() -> None:
    assert EVENTS - {name for name, _ in TOLD} == set()


def test_every_event_has_one_level() -> None:
    assert len(EVENTS) == len(ERRORS) + len(WARNINGS) + len(NEWS) + len(DETAILS)


def test_what_may_change_an_answer_are_events() -> None:
    assert CHANGES <= EVENTS
    assert not [name for name in CHANGES if name.startswith("past_")], "old days change no answer about now"


def test_events_that_are_counted_by_fields_are_told_with_these() -> None:
    assert set(COUNTED) <= EVENTS
    for name, call in TOLD:
        given = {keyword.arg for keyword in call.keywords}
        assert set(COUNTED.get(name, ())) <= given, f"{name} is told with {given}"


# --- the log ---


@pytest.mark.parametrize(
    ("events", "level"),
    [(ERRORS, logging.ERROR), (WARNINGS, logging.WARNING), (NEWS, logging.INFO)],
    ids=["errors", "warnings", "news"],
)
def test_what_is_worth_a_line_gets_one(caplog: pytest.LogCaptureFixture, events: frozenset[str], level: int) -> None:
    caplog.set_level(logging.INFO, "predict")
    news = News()
    for event in sorted(events):
        caplog.clear()
        news(event, **FIELDS.get(event, {}))
        [record] = caplog.records
        assert record.levelno == level
        assert record.getMessage().split()[0] == event


def test_details_get_no_line_unless_they_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "predict")
    news = News()
    for event in sorted(DETAILS):
        news(event, **FIELDS.get(event, {}))
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "predict")
    for event in sorted(DETAILS):
        news(event, **FIELDS.get(event, {}))
    assert [record.levelno for record in caplog.records] == [logging.DEBUG] * len(DETAILS)


def test_a_line_has_the_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "predict")
    News()("plan_probed", today=True, ahead_s=0.5)
    assert [record.getMessage() for record in caplog.records] == ["plan_probed today=True ahead_s=0.5"]


# --- counts ---


def test_every_event_is_counted_and_some_by_their_fields() -> None:
    news = News()
    for event in EVENTS:
        news(event, **FIELDS.get(event, {}))
    news("looked_up", cache="disk", outcome="miss", more="is not counted")
    news("looked_up", cache="disk", outcome="miss")
    assert news.events == Counter({(event,): 1 for event in EVENTS} | {("looked_up",): 3})
    assert news.counts["looked_up"] == {("memory", "hit"): 1, ("disk", "miss"): 2}
    assert news.counts["breaker_changed"] == {("bars", "open"): 1}
    assert set(news.counts) == set(COUNTED)


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_the_revision_moves_with_what_may_change_an_answer_alone(event: str) -> None:
    news = News()
    news(event, **FIELDS.get(event, {}))
    assert news.revision == (event in CHANGES)


def test_who_wants_to_hear_of_an_event_hears_of_that_one() -> None:
    news, found = News(), []
    news.hear("predicted", lambda **fields: found.append(fields))
    news("predicted", ticker="SPY", hour=11, inputs=[1.0])
    news("past_bars_known", ticker="QQQ")
    assert found == [{"ticker": "SPY", "hour": 11, "inputs": [1.0]}]


def test_nothing_is_lost_between_threads() -> None:
    news, times = News(), 2000

    def tell() -> None:
        for _ in range(times):
            news("looked_up", cache="memory", outcome="hit")
            news("bars_known")

    threads = [threading.Thread(target=tell) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert news.counts["looked_up"]["memory", "hit"] == news.revision == 6 * times
    assert news.events["bars_known",] == 6 * times
