"""What is said while the market is closed: that day's own hours, the holiday, and when it opens next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.config.settings import ARTEFACTS
from app.market.calendar import Calendar
from app.signals.policy import SUPPORTED
from tests.support import CALENDAR, FakeClock, promoted_files, save_models

Serve = Callable[..., Flask]
Body = dict[str, Any]
REGULAR = "Regular hours are 9:30 AM to 4:00 PM ET; next open"
EARLY = "that day closes early, at 1:00 PM ET."
SAID = {
    "2025-11-25 18:00": f"Market closed. {REGULAR} Wednesday, Nov 26 at 9:30 AM ET.",
    "2025-11-26 08:00": f"Market closed. {REGULAR} Wednesday, Nov 26 at 9:30 AM ET.",
    "2025-11-26 18:00": f"Market closed. {REGULAR} Friday, Nov 28 at 9:30 AM ET, {EARLY}",
    "2025-11-27 12:00": f"Market closed all day (Thanksgiving Day). {REGULAR} Friday, Nov 28 at 9:30 AM ET, {EARLY}",
    "2025-11-28 08:00": "Market closed. Today's hours are 9:30 AM to 1:00 PM ET, an early close. "
    f"{REGULAR} Friday, Nov 28 at 9:30 AM ET.",
    "2025-11-28 13:00": "Market closed. Today's hours were 9:30 AM to 1:00 PM ET, an early close. "
    f"{REGULAR} Monday, Dec 1 at 9:30 AM ET.",
    "2025-11-29 12:00": f"Market closed. {REGULAR} Monday, Dec 1 at 9:30 AM ET.",
    "2025-07-04 12:00": f"Market closed all day (Independence Day). {REGULAR} Monday, Jul 7 at 9:30 AM ET.",
    "2022-06-20 12:00": "Market closed all day (Juneteenth National Independence Day (observed)). "
    f"{REGULAR} Tuesday, Jun 21 at 9:30 AM ET.",
}


def ask(app: Flask, path: str) -> Body:
    body: Body = app.test_client().get(path).get_json()
    return body


@pytest.mark.parametrize("moment", SAID)
def test_a_closed_market_says_that_days_hours_and_the_next_open(serve: Serve, clock: FakeClock, moment: str) -> None:
    clock.set(moment)
    body, said = ask(serve(), "/trading_directions"), SAID[moment]
    assert body["reason"] == said
    assert body["summary"]["recommendation"] == said
    assert {entry["reason"] for entry in body["tickers"].values()} == {said}


@pytest.mark.parametrize("moment", SAID)
def test_the_overview_of_a_closed_market_says_that_it_is_closed(serve: Serve, clock: FakeClock, moment: str) -> None:
    clock.set(moment)
    entries = ask(serve(), "/daily_signals")["tickers"].values()
    assert {entry["error_code"] for entry in entries} == {"INSUFFICIENT_DATA"}
    (error,) = {entry["error"] for entry in entries}
    assert error == (
        f"{SAID[moment]} The overview rests on the hourly signals, the first of which comes at 10:00 AM ET,"
        " and without one on the 1-day swing probability, which there is not now."
    )


def test_the_overview_before_ten_rests_on_the_days_and_without_swing_models_says_when_the_first_signal_comes(
    serve: Serve, clock: FakeClock, tmp_path: Path
) -> None:
    clock.set("2025-03-11 09:45")
    assert ask(serve(), "/daily_signals")["tickers"]["SPY"]["prediction_source"] == "daily"
    hourly_alone = {ticker: promoted_files(ARTEFACTS).member(ticker)[:2] for ticker in SUPPORTED}
    without = tmp_path / "models"
    save_models(without, hourly_alone)
    entry = ask(serve(models_dir=without), "/daily_signals")["tickers"]["SPY"]
    assert entry == {"error": "The first signal comes at 10:00.", "error_code": "INSUFFICIENT_DATA"}


@pytest.mark.parametrize("route", ["/northstar", "/rpe"])
def test_an_analysis_of_a_day_without_a_session_says_so(serve: Serve, clock: FakeClock, route: str) -> None:
    clock.set("2025-07-04 12:00")
    body = ask(serve(), route)
    assert body["tickers"]["SPY"]["error"].startswith(SAID["2025-07-04 12:00"])
    assert body["summary"]["recommendation"] == "No ticker is permitted to trade: the market is closed."


@pytest.mark.parametrize("route", ["/northstar", "/rpe"])
def test_an_analysis_permits_no_trade_after_the_close(serve: Serve, clock: FakeClock, route: str) -> None:
    clock.set("2025-03-13 16:30")
    summary = ask(serve(), route)["summary"]
    assert (summary["execution_allowed"], summary["allowed_tickers"]) == (False, [])
    assert summary["recommendation"] == "No ticker is permitted to trade: the market is closed."


def test_session_and_days_are_not_compared_where_one_is_unknown(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-07-04 12:00")
    said = ask(serve(), "/mtf")["summary"]["recommendation"]
    assert said == "Session and days cannot be compared: of no ticker both are known."


def test_a_closure_without_a_name_and_an_early_close_that_is_not_at_one(serve: Serve, clock: FakeClock) -> None:
    closures = ((date(2025, 3, 12), None), (date(2025, 3, 13), time(14)))
    app = serve(market_closures=closures)
    clock.set("2025-03-12 12:00")
    said = ask(app, "/trading_directions")["reason"]
    assert said == (
        f"Market closed all day. {REGULAR} Thursday, Mar 13 at 9:30 AM ET, that day closes early, at 2:00 PM ET."
    )
    clock.set("2025-03-13 14:00")
    assert "Today's hours were 9:30 AM to 2:00 PM ET, an early close" in ask(app, "/trading_directions")["reason"]
    assert "3:50 PM ET; on early closes ten minutes before the close" in str(ask(app, "/trading_directions"))


def replayed(app: Flask, moment: str) -> Body:
    day, at = moment.split()
    return ask(app, f"/replay?date={day}&time={at}")


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2025-03-10 17:00", "The market was closed at 5:00 PM ET."),
        ("2024-11-29 14:00", "The market was closed at 2:00 PM ET, after an early close at 1:00 PM ET."),
        ("2024-11-29 09:00", "The market was closed at 9:00 AM ET."),
        ("2024-11-28 11:00", "The market was closed on Nov 28, 2024 (Thanksgiving Day)."),
        ("2025-03-08 11:00", "The market was closed on Mar 8, 2025 (Saturday)."),
    ],
)
def test_a_replay_of_a_closed_market_says_why(serve: Serve, moment: str, said: str) -> None:
    body = replayed(serve(), moment)
    assert body["summary"]["recommendation"] == said
    assert all(entry["v6"]["reason"] == said for entry in body["tickers"].values() if "v6" in entry)


@pytest.mark.parametrize(("day", "name"), [("2024-11-28", "Thanksgiving Day"), ("2025-03-08", "Saturday")])
def test_a_replay_of_a_day_without_a_session_names_it(serve: Serve, day: str, name: str) -> None:
    entry = replayed(serve(), f"{day} 11:00")["tickers"]["QQQ"]
    assert entry["error_code"] == "NO_MARKET_DATA"
    assert entry["error"] == f"There are no market data of QQQ for {day}: that is no trading day ({name})."


def test_a_demo_marks_these_sentences_too(tmp_path: Path, clock: FakeClock) -> None:
    from app.factory import create_app
    from tests.support import settings

    clock.set("2025-11-28 14:00")
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    assert ask(app, "/trading_directions")["reason"] == f"DEMO: {SAID['2025-11-28 13:00']}"


def test_the_calendar_names_holidays_and_nothing_else() -> None:
    assert CALENDAR.holiday(date(2025, 11, 27)) == "Thanksgiving Day"
    assert CALENDAR.holiday(date(2025, 11, 28)) is None, "an early close has a session"
    assert CALENDAR.holiday(date(2025, 11, 29)) is None, "a Saturday"
    opened = Calendar({date(2025, 11, 27): time(16)})
    assert opened.holiday(date(2025, 11, 27)) is None, "the provider says that it is open"
