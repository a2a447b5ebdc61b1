"""What a scrape says of the market, the signals and the models."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask

from app.live.events import EVENTS
from app.market.polygon import Reply
from app.signals.policy import SUPPORTED, Gate
from tests.provider.world import world
from tests.support import FakeClock, ScriptedMarket, models_saying, promoted_set
from tests.telemetry.metrics.scraping import ONE_TICKER, Build, ask, scrape, seen
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("at", "is_open"),
    [("03-11 09:29:59", 0), ("03-11 09:30", 1), ("03-11 15:59:59", 1), ("03-11 16:00", 0), ("03-15 11:30", 0)],
)
def test_an_open_market_is_shown(build: Build, clock: FakeClock, at: str, is_open: int) -> None:
    app = build()
    clock.set(f"2025-{at}")
    assert scrape(app).value("predict_market_open") == is_open


def test_the_age_of_followed_data_is_shown_beside_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", read_s=PATIENCE_S) as found:
        assert seen(found).by("predict_ticker_followed", "ticker") == dict.fromkeys(SUPPORTED, 0)
        assert seen(found).all("predict_data_age_seconds") == {}
        found.get(ONE_TICKER)
        found.run(2)  # the others are followed until the hour is locked
        assert seen(found).by("predict_ticker_followed", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 0}
        assert seen(found).by("predict_data_age_seconds", "ticker") == {"SPY": 10}
        assert seen(found).value("predict_follower_alive") == 1
        found.provider.inject_fault("500")
        found.step(70)
        assert seen(found).by("predict_data_age_seconds", "ticker") == {"SPY": 80}
        found.timer.forward(60)
        assert seen(found).value("predict_follower_alive") == 0


@pytest.mark.parametrize(("delay", "allowed"), [(0, 125), (15, 1025)])
def test_data_may_be_two_bars_old_and_as_late_as_the_plan_is(build: Build, delay: int, allowed: int) -> None:
    """Two one-minute bars, five seconds to settle, and the plan's delay."""
    assert scrape(build(polygon_delay_minutes=delay)).value("predict_data_age_allowed_seconds") == allowed


def current(app: Flask) -> dict[str, float]:
    return scrape(app).by("predict_signal_current", "ticker")


def test_a_signal_is_current_while_its_hour_runs(build: Build, clock: FakeClock) -> None:
    app = build()
    assert current(app) == {"SPY": 0, "QQQ": 0, "IWM": 0}
    ask(app, ONE_TICKER)
    assert current(app) == {"SPY": 1, "QQQ": 0, "IWM": 0}
    for at in ("09:45", "12:00", "16:30"):
        clock.set(f"2025-03-11 {at}")
        assert current(app)["SPY"] == 0, at
    clock.set("2025-03-11 11:59:59")
    assert current(app)["SPY"] == 1


@pytest.mark.parametrize(("p", "action"), [(0.95, "LONG"), (0.05, "SHORT"), (0.5, "NO_TRADE")])
def test_a_locked_signal_is_counted_once_by_its_action(
    build: Build, tmp_path: Path, clock: FakeClock, p: float, action: str
) -> None:
    app = build(models_dir=models_saying(tmp_path / "m", p))
    name = "predict_signals_locked_total"
    assert set(scrape(app).all(name).values()) == {0}
    for _ in range(2):
        ask(app, ONE_TICKER)
        clock.forward(minutes=1)
    assert {labels: n for labels, n in scrape(app).all(name).items() if n} == {
        frozenset({"ticker": "SPY", "action": action}.items()): 1
    }


def gates(app: Flask) -> dict[str, float]:
    return {gate: n for gate, n in scrape(app).by("predict_gates_total", "gate").items() if n}


def test_an_answer_without_a_signal_is_counted_by_its_gate(
    build: Build, market: ScriptedMarket, tmp_path: Path
) -> None:
    app = build()
    assert set(scrape(app).by("predict_gates_total", "gate")) == set(Gate)
    assert gates(app) == {}
    market.fault = lambda path: Reply(500, None) if "QQQ" in path else Reply(429, {}) if "IWM" in path else None
    ask(app, "/trading_directions")
    assert gates(app) == {"DATA_FETCH_ERROR": 1, "RATE_LIMITED": 1}


def test_models_are_loaded_or_missing(build: Build, tmp_path: Path) -> None:
    assert scrape(build()).by("predict_model_loaded", "ticker") == dict.fromkeys(SUPPORTED, 1)
    folder = models_saying(tmp_path / "m", 0.9)
    (promoted_set(folder) / "v6_QQQ.npz").write_bytes(b"damaged")
    app = build(models_dir=folder, data_dir=tmp_path / "d")
    assert scrape(app).by("predict_model_loaded", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 1}
    ask(app, "/trading_directions?ticker=QQQ")
    assert gates(app) == {"MODEL_UNAVAILABLE": 1}
    assert "QQQ" not in scrape(app).by("predict_drift_decisions", "ticker")


def test_drift_is_told_of_the_decisions_that_were_computed(build: Build) -> None:
    app = build()
    ask(app, ONE_TICKER)
    found = scrape(app)
    assert found.by("predict_drift_decisions", "ticker") == {"SPY": 1, "QQQ": 0, "IWM": 0}
    assert found.by("predict_drift_outside_ratio", "ticker").keys() == {"SPY"}
    assert found.all("predict_drift_psi") == {}


def test_events_are_counted_from_nought(build: Build) -> None:
    app = build()
    assert set(scrape(app).by("predict_events_total", "event")) == set(EVENTS)
    ask(app, ONE_TICKER)
    assert scrape(app).value("predict_events_total", event="signal_locked") == 1


def test_a_record_that_cannot_be_written_is_shown(build: Build, tmp_path: Path) -> None:
    assert scrape(build()).value("predict_record_failing") == 0
    (tmp_path / "file").write_text("not a folder")
    assert scrape(build(data_dir=tmp_path / "file")).value("predict_record_failing") == 1
