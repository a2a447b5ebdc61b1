"""One moment, four doors: the stream, the plain answer, v1 and the replay agree, over many moments of real days."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from tests.blueprints.v2.calls import ask, call, lines_of
from tests.support import CALENDAR, FakeClock

Serve = Callable[..., Flask]
MOMENTS, TICKERS = 200, ("SPY", "QQQ", "IWM")
FIRST, LAST = date(2025, 9, 15), date(2025, 12, 31)
LIVE_ALONE = {"mode", "freshness", "reason", "lock", "gates"}
"""What a replay says in words of its own; the states of lock and gates are compared."""

ACTIONS = {"BUY_CALL": "LONG", "BUY_PUT": "SHORT", "NO_TRADE": "NO_TRADE"}


@pytest.fixture
def moments() -> list[tuple[datetime, str]]:
    """Random moments of random days, an hour before the open to an hour after the close, each with a ticker, in their order.
    SPY and QQQ have one-minute bars on these days, IWM has none."""
    chance = random.Random(2026)
    found: set[tuple[datetime, str]] = set()
    while len(found) < MOMENTS:
        session = CALENDAR.session(FIRST + timedelta(days=chance.randrange((LAST - FIRST).days)))
        if session is not None:
            minutes = int((session.close - session.open).total_seconds() // 60)
            at = session.open + timedelta(
                minutes=chance.randrange(-60, minutes + 60), seconds=chance.choice([0, 7, 59])
            )
            found.add((at, chance.choice(TICKERS)))
    return sorted(found)


def doors(app: Flask, ticker: str, at: datetime) -> Iterator[tuple[str, Any]]:
    yield (
        "stream",
        next(
            line["signal"] for line in lines_of(call(app, f"/trading-directions/{ticker}/stream")) if "signal" in line
        ),
    )
    yield "plain", ask(app, f"/trading-directions/{ticker}")
    yield "replay", ask(app, f"/replay/{ticker}?at={at.isoformat()}")
    yield "v1", app.test_client().get(f"/trading_directions?ticker={ticker}").get_json()["tickers"][ticker]


def compared(signal: Mapping[str, Any]) -> dict[str, Any]:
    """What live and replay share of a signal of v2."""
    states = {"lock": signal["lock"]["state"], "gates": [(g["gate"], g["passed"], g["code"]) for g in signal["gates"]]}
    return {name: value for name, value in signal.items() if name not in LIVE_ALONE} | states


def as_in_v1(signal: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under v1's names."""
    levels = signal["levels"] or {}
    return {
        "action": ACTIONS[signal["action"]],
        "probability": signal["probability"],
        "current_price": signal["prices"]["now"],
        "today_open": signal["prices"]["session_open"],
        "take_profit": levels.get("take_profit"),
        "stop_loss": levels.get("stop_loss"),
    }


@pytest.mark.parametrize("share", [6, pytest.param(1, marks=pytest.mark.soak)], ids=["a sixth", "all"])
def test_all_doors_say_the_same_of_200_random_moments(
    serve_recorded: Serve, clock: FakeClock, moments: list[tuple[datetime, str]], share: int
) -> None:
    app = serve_recorded()
    decided, analysed = 0, 0
    for at, ticker in moments[::share]:
        clock.at = at
        said = dict(doors(app, ticker, at))
        where = f"{ticker} {at}"
        assert said["stream"] == said["plain"], where
        if said["plain"]["freshness"] != "closed":
            assert compared(said["replay"]) == compared(said["plain"]), where
            mine = as_in_v1(said["plain"])
            assert {name: said["v1"][name] for name in mine} == mine, where
            decided += said["plain"]["decision_hour"] is not None
            analysed += said["plain"]["structure"] is not None
    assert decided > MOMENTS // share // 2
    assert analysed > MOMENTS // share // 4
