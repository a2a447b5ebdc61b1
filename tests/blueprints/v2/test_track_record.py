"""The track record of v2: what was locked, what became of it, what is missing, and its pages."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from pydantic import TypeAdapter

from app.errors import Upstream
from app.factory import create_app
from app.market.bars import Span, to_ms
from app.market.recorded import RecordedBars
from blueprints.shared.values import change_pct
from blueprints.v2.record_types import Percent
from tests.blueprints.v2.calls import ask, call
from tests.support import FakeClock, ScriptedMarket, dropping, models_saying, new_york, settings

Serve = Callable[..., Flask]
HOURS = (10, 11, 12, 13, 14, 15)
LOCKED = (
    "day",
    "decision_hour",
    "locked_at",
    "expires_at",
    "action",
    "strength",
    "probability",
    "size",
    "levels",
    "prices",
)


def lock(app: Flask, clock: FakeClock, day: str, hours: tuple[int, ...] = HOURS) -> None:
    """Serves these hours of a day, as somebody asks."""
    for hour in hours:
        clock.set(f"{day} {hour}:01")
        ask(app, "/trading-directions")


def locked(signal: dict[str, Any]) -> dict[str, Any]:
    return {name: signal[name] for name in LOCKED}


def pages(app: Flask, path: str) -> Iterator[dict[str, Any]]:
    """All pages from `path` on."""
    following: str | None = path
    while following is not None:
        response = call(app, following.removeprefix("/v2"))
        page = response.get_json()
        assert response.status_code == 200
        assert response.headers.get("Link") == (f'<{page["next"]}>; rel="next"' if page["next"] else None)
        yield page
        following = page["next"]


def hours_of(page: dict[str, Any]) -> list[tuple[str, int]]:
    return [(signal["day"], signal["decision_hour"]) for signal in page["signals"]]


def test_on_recorded_days_the_outcomes_are_those_of_the_daily_bars(
    serve_recorded: Serve, recorded: RecordedBars, clock: FakeClock, tmp_path: Path
) -> None:
    """Judged again from the imported bars, without a line of the server's own."""
    judged: list[str] = []
    spoken = {"2024-06-12": (0.95, 0.93), "2024-06-13": (0.05, 0.04), "2024-07-03": (0.78, 0.24)}
    for day, (p_a, p_b) in spoken.items():
        clock.set(f"{day} 09:40")
        app = serve_recorded(models_dir=models_saying(tmp_path / day, p_a, p_b))
        lock(app, clock, day, HOURS if day != "2024-07-03" else (10, 11, 12))
    clock.set("2024-07-05 12:00")
    for ticker in ("SPY", "QQQ", "IWM"):
        for page in pages(app, f"/v2/signals/{ticker}?from=2024-06-12&to=2024-07-03&limit=7"):
            for signal in page["signals"]:
                judge(recorded, ticker, signal)
                outcome = signal["outcome"]
                judged += [f"reached: {outcome['target_reached']}", outcome["exit"]["kind"]]
    counts = Counter(judged)
    assert counts["reached: True"] + counts["reached: False"] == 45
    assert len(counts) >= 6, f"the days show little: {counts}"


def judge(recorded: RecordedBars, ticker: str, signal: dict[str, Any]) -> None:
    """Compares one outcome with the imported bars of its day."""
    day, outcome = date.fromisoformat(signal["day"]), signal["outcome"]
    first = to_ms(new_york(f"{day} 00:00"))
    daily = recorded.bars(ticker, Span.DAY, first, first + 86_400_000)
    open_price, close = float(daily.o[0]), float(daily.c[0])
    morning = recorded.bars(ticker, Span.FIVE_MINUTES, first, to_ms(new_york(f"{day} 11:00")))
    decided = recorded.bars(ticker, Span.FIVE_MINUTES, first, to_ms(datetime.fromisoformat(signal["locked_at"])))
    price, at_11 = float(decided.c[-1]), float(morning.c[-1])
    reference = open_price if signal["decision_hour"] < 11 else at_11
    assert outcome["session_close"] == round(close, 2)
    assert outcome["target_reached"] == (close > reference)
    assert outcome["right"] == ((signal["probability"] > 0.5) == (close > reference))
    assert outcome["change_percent"] == pytest.approx((close - price) / price * 100, abs=1e-4)
    side = {"BUY_CALL": 1, "BUY_PUT": -1, "NO_TRADE": 0}[signal["action"]]
    if side:
        assert outcome["return_percent"] == pytest.approx(side * (close - price) / price * 100, abs=1e-4)
        follow(recorded, ticker, signal, side, price)


SPREADS = {"SPY": (0.0025, 0.0033), "QQQ": (0.0034, 0.0045), "IWM": (0.0045, 0.0060)}


def follow(recorded: RecordedBars, ticker: str, signal: dict[str, Any], side: int, price: float) -> None:
    """Walks a trade along the five-minute bars and compares where it ends."""
    begin, end = (datetime.fromisoformat(text) for text in (signal["locked_at"], signal["levels"]["time_stop"]))
    bars = recorded.bars(ticker, Span.FIVE_MINUTES, to_ms(begin), to_ms(end))
    gain, loss = SPREADS[ticker]
    left, is_market = signal["outcome"]["exit"], signal["levels"]["entry_type"] == "MARKET"
    if not is_market:
        limit = signal["levels"]["entry_price"]
        reached = [low <= limit if side > 0 else high >= limit for low, high in zip(bars.l, bars.h, strict=True)]
        assert (left["kind"] == "not_filled") == (not any(reached))
        return
    for opened, high, low in zip(bars.o, bars.h, bars.l, strict=True):
        best, worst = (high, low) if side > 0 else (low, high)
        gains, loses = side * (best / price - 1) >= gain, side * (worst / price - 1) <= -loss
        if gains or loses:
            begins_beyond = side * (opened / price - 1) >= gain or side * (opened / price - 1) <= -loss
            both = gains and loses and not begins_beyond
            assert left["kind"] == "ambiguous" if both else left["kind"] in ("take_profit", "stop_loss")
            if gains != loses:
                assert left["kind"] == ("take_profit" if gains else "stop_loss")
            return
    assert left["kind"] == "time_stop"
    assert left["exit_price"] == round(float(bars.c[-1]), 2)


def test_a_signal_never_changes_after_it_was_locked(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    """Neither by later bars, nor by a provider that corrects old ones, nor by another model."""
    lock(serve(models_dir=models_saying(tmp_path / "m", 0.9)), clock, "2025-03-11", (10, 11, 12))
    clock.set("2025-03-11 12:30")
    before = ask(serve(models_dir=tmp_path / "m"), "/signals/SPY")["signals"]

    def doubled(path: str, body: dict[str, Any]) -> dict[str, Any]:
        rows = [{**row, **{name: row[name] * 1.01 for name in "ohlc"}} for row in body.get("results", [])]
        return {**body, "results": rows} if "/range/" in path else body

    market.edit = doubled
    clock.set("2025-03-12 12:00")
    after = ask(serve(models_dir=models_saying(tmp_path / "other", 0.1)), "/signals/SPY?to=2025-03-11")["signals"]
    assert len(before) == 3
    assert [locked(signal) for signal in after] == [locked(signal) for signal in before]
    assert [signal["outcome"] for signal in before] == [None] * 3
    assert all(signal["outcome"] for signal in after)


def test_nothing_gained_and_nothing_lost_is_written_without_a_sign() -> None:
    percent = TypeAdapter(Percent)
    assert [percent.dump_json(percent.validate_python(value)) for value in (-0.0, -0.00001, 0.0)] == [b"0.0"] * 3
    assert str(change_pct(99.9999, 100.0)) == "0.0"


def test_a_day_that_was_not_served_is_a_gap_and_says_so(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    lock(app, clock, "2025-03-06", (10, 11, 14))
    lock(app, clock, "2025-03-10")
    clock.set("2025-03-11 12:30")
    ask(app, "/trading-directions")
    page = ask(app, "/signals/SPY?from=2025-03-05&to=2025-03-11")
    assert hours_of(page) == [
        *(("2025-03-06", hour) for hour in (10, 11, 14)),
        *(("2025-03-10", hour) for hour in HOURS),
        ("2025-03-11", 12),
    ]
    assert page["gaps"] == [
        {"day": "2025-03-05", "decision_hours": [*HOURS]},
        {"day": "2025-03-06", "decision_hours": [12, 13, 15]},
        {"day": "2025-03-07", "decision_hours": [*HOURS]},
        {"day": "2025-03-11", "decision_hours": [10, 11]},
    ]
    assert page["record_begins"] == "2025-03-06"
    assert ask(app, "/signals/SPY?from=2025-03-05&to=2025-03-11")["gaps"] == page["gaps"], "asking fills no gap"


def test_an_early_close_and_a_day_without_trading_have_no_gaps_of_hours_that_they_do_not_have(
    standing: Flask,
) -> None:
    page = ask(standing, "/signals/IWM?from=2024-11-27&to=2024-12-01")
    assert (page["signals"], page["record_begins"]) == ([], None)
    assert page["gaps"] == [
        {"day": "2024-11-27", "decision_hours": [*HOURS]},
        {"day": "2024-11-29", "decision_hours": [10, 11, 12]},
    ]


def test_until_the_close_is_known_there_is_no_outcome_and_it_says_why(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    lock(app, clock, "2025-03-11", (10,))
    said = []
    for now in ("15:59:59", "16:05", "16:20"):
        clock.set(f"2025-03-11 {now}")
        (signal,) = ask(app, "/signals/SPY")["signals"]
        said.append((signal["outcome"] is not None, signal["outcome_reason"]))
    assert said == [
        (False, "The day has not closed yet."),
        (False, "The official close of the day is not known yet."),
        (True, None),
    ]


def test_pages_join_without_a_double_and_without_a_loss_while_new_signals_are_locked(
    serve: Serve, clock: FakeClock
) -> None:
    app = serve()
    lock(app, clock, "2025-03-10")
    clock.set("2025-03-11 10:01")
    ask(app, "/trading-directions")
    reading = pages(app, "/v2/signals/SPY?from=2025-03-07&to=2025-03-11&limit=2")
    first = next(reading)
    assert hours_of(first) == [("2025-03-10", 10), ("2025-03-10", 11)]
    lock(app, clock, "2025-03-11", (11, 12))
    clock.set("2025-03-11 14:30")
    rest = list(reading)
    every = [key for page in (first, *rest) for key in hours_of(page)]
    assert every == [*(("2025-03-10", hour) for hour in HOURS), *(("2025-03-11", hour) for hour in (10, 11, 12))]
    gaps = [gap for page in (first, *rest) for gap in page["gaps"]]
    assert gaps == [
        {"day": "2025-03-07", "decision_hours": [*HOURS]},
        {"day": "2025-03-11", "decision_hours": [13]},
    ]
    assert hours_of(ask(app, "/signals/SPY?from=2025-03-07&to=2025-03-11&limit=2")) == hours_of(first)


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "!!!!",
        "%00",
        "SPY 2025-03-10 10",
        urlsafe_b64encode(b"QQQ 2025-03-10 10").decode(),
        urlsafe_b64encode(b"SPY 2025-03-01 10").decode(),
        urlsafe_b64encode(b"SPY 2025-03-10 99").decode(),
        urlsafe_b64encode(b"SPY 2025-02-30 10").decode(),
        urlsafe_b64encode("SPY 2025-03-10 ²".encode()).decode(),
        "A" * 65,
    ],
)
def test_a_cursor_that_no_page_gave_is_refused_with_its_place(standing: Flask, cursor: str) -> None:
    response = call(standing, "/signals/SPY", query_string={"from": "2025-03-05", "cursor": cursor})
    assert response.status_code == 400
    assert [fault["pointer"] for fault in response.get_json()["errors"]] == ["/cursor"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [("limit=0", "/limit"), ("limit=101", "/limit"), ("limit=all", "/limit"), ("from=2024-01-01&to=2025-03-01", "/to")],
)
def test_a_wrong_range_is_refused_with_its_place(standing: Flask, query: str, pointer: str) -> None:
    problem = call(standing, f"/signals/SPY?{query}").get_json()
    assert [fault["pointer"] for fault in problem["errors"]] == [pointer]


def test_counts_are_those_of_the_page_and_in_sample_days_stand_apart(
    serve: Serve, clock: FakeClock, tmp_path: Path
) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.9, 0.5))
    lock(app, clock, "2025-03-10")
    lock(app, clock, "2025-03-11", (10, 11))
    page = ask(app, "/signals/SPY")
    signals = page["signals"]
    outcomes = [signal["outcome"] for signal in signals]
    rights = Counter(outcome["right"] for outcome in outcomes if outcome)
    in_sample = {signal["model"]["in_sample"] for signal in signals}
    assert len(in_sample) == 1, "both days lie on the same side of the model's last day"
    counted, empty = ("in_sample", "out_of_sample") if in_sample == {True} else ("out_of_sample", "in_sample")
    assert page[counted] == {
        "signals": 8,
        "trades": 2,
        "right": rights[True],
        "wrong": rights[False],
        "without_outcome": 2,
    }
    assert set(page[empty].values()) == {0}


def test_a_page_asks_the_provider_for_each_day_once_and_for_ten_at_most(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    app = serve(models_dir=models_saying(tmp_path / "m", 0.95))
    days = [f"2025-02-{day:02d}" for day in (3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 18, 19)]
    for day in days:
        lock(app, clock, day, (10,))
    clock.set("2025-03-11 11:30")
    fresh = serve(models_dir=tmp_path / "m")
    market.calls.clear()
    query = "/signals/SPY?from=2025-02-03&to=2025-02-28"
    page = ask(fresh, query)
    asked = Counter(call for call in market.calls if "/minute/" in call)
    assert len(asked) <= 10
    assert set(asked.values()) <= {1}
    assert all(signal["outcome"] for signal in page["signals"])
    later = ask(fresh, query)
    assert [signal["outcome"]["exit_reason"] for signal in later["signals"]] == [None] * len(days)
    market.calls.clear()
    assert ask(fresh, query)["signals"] == later["signals"]
    assert market.calls == []


def test_bars_that_cannot_be_had_or_have_holes_leave_the_exit_open_and_say_why(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    lock(serve(models_dir=models_saying(tmp_path / "m", 0.95)), clock, "2025-03-10", (10,))
    clock.set("2025-03-11 11:30")
    fresh = serve(models_dir=tmp_path / "m")
    holes = to_ms(new_york("2025-03-10 11:00")), to_ms(new_york("2025-03-10 13:00"))
    market.edit = dropping("/minute/2025-03-10", lambda row: holes[0] <= row["t"] < holes[1])
    (signal,) = ask(fresh, "/signals/SPY?from=2025-03-10&to=2025-03-10")["signals"]
    assert signal["outcome"]["return_percent"] is not None
    assert (signal["outcome"]["exit"], signal["outcome"]["exit_reason"]) == (
        None,
        "120 bars of the session are missing.",
    )


def test_without_a_provider_the_record_is_still_shown(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    app = serve()
    lock(app, clock, "2025-03-10", (10, 11))

    def broken(path: str) -> None:
        raise Upstream("the provider did not answer in time")

    market.fault = broken
    clock.set("2025-03-11 11:30")
    signals = ask(serve(), "/signals/SPY?from=2025-03-10&to=2025-03-10")["signals"]
    assert len(signals) == 2
    assert all(signal["outcome"] is None and signal["outcome_reason"] for signal in signals)


def test_a_split_after_the_signal_is_not_taken_for_a_loss(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    lock(serve(models_dir=models_saying(tmp_path / "m", 0.95)), clock, "2025-03-10", (10,))

    def halved(path: str, body: dict[str, Any]) -> dict[str, Any]:
        rows = [{**row, **{name: row[name] / 2 for name in "ohlc"}} for row in body.get("results", [])]
        return {**body, "results": rows} if "/range/" in path else body

    market.edit = halved
    clock.set("2025-03-12 11:30")
    (signal,) = ask(serve(models_dir=tmp_path / "m"), "/signals/SPY?from=2025-03-10&to=2025-03-10")["signals"]
    assert signal["outcome"] is None
    assert signal["outcome_reason"].startswith("The prices of the day were re-based after the signal")


def test_the_record_of_a_demo_market_says_that_it_is_one(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    lock(app, clock, "2025-03-11", (10,))
    page = ask(app, "/signals/SPY")
    assert page["source"] == "demo"
    assert {signal["reason"][:6] for signal in page["signals"]} == {"DEMO: "}
    assert json.dumps(page).count("in_sample") > 1


def test_a_clock_that_was_set_back_hides_what_lies_ahead(serve: Serve, clock: FakeClock) -> None:
    """A recorded market that starts again at an earlier moment, or the next lap of the demo."""
    app = serve()
    lock(app, clock, "2025-03-11")
    clock.set("2025-03-11 11:30")
    page = ask(app, "/signals/SPY?from=2025-03-11")
    assert [signal["decision_hour"] for signal in page["signals"]] == [10, 11]
    clock.set("2025-03-11 09:40")
    page = ask(app, "/signals/SPY?from=2025-03-11")
    assert (page["signals"], page["gaps"], page["record_begins"]) == ([], [], None)


def test_on_a_delayed_plan_the_close_is_known_after_the_delay(
    serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    """At 16:15:10 bars that come 15.5 minutes late end at 15:59:40, and a daily bar of them lacks the close."""
    market.delay = timedelta(minutes=15.5)
    app = serve(polygon_delay_minutes=15, models_dir=models_saying(tmp_path / "m", 0.95, 0.93))
    clock.set("2025-03-11 15:20")
    ask(app, "/trading-directions")
    clock.set("2025-03-11 16:16:10")
    [signal] = ask(app, "/signals/SPY?from=2025-03-11")["signals"]
    assert (signal["outcome"], "not known yet" in signal["outcome_reason"]) == (None, True)
    clock.set("2025-03-11 16:31")
    [signal] = ask(app, "/signals/SPY?from=2025-03-11")["signals"]
    market.delay = timedelta(0)
    clock.set("2025-03-12 09:00")
    [final] = ask(app, "/signals/SPY?from=2025-03-11")["signals"]
    assert signal["outcome"]["session_close"] == final["outcome"]["session_close"]


def test_a_daily_bar_that_is_late_is_missing_only_the_next_morning(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    lock(app, clock, "2025-03-11", (15,))
    midnight = to_ms(new_york("2025-03-11 00:00"))
    market.edit = dropping("/1/day/", lambda row: row["t"] == midnight)
    for moment, known in (("2025-03-11 16:40", False), ("2025-03-12 09:00", True)):
        clock.set(moment)
        [signal] = ask(app, "/signals/SPY?from=2025-03-11&to=2025-03-11")["signals"]
        assert signal["outcome"] is None
        assert ("is missing" in signal["outcome_reason"]) == known
