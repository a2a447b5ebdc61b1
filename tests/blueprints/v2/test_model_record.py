"""What the pages of the models and the metrics say of the record: the same, and nothing where nothing is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.signals.policy import SUPPORTED
from tests.blueprints.v2.calls import ask
from tests.pipeline.recorded_days import at_nine, coming_true, keep_closes, lock_days, trading_days
from tests.redis_server import RedisServer
from tests.support import FakeClock
from tests.telemetry.metrics.scraping import scrape

Serve = Callable[..., Flask]
DAYS = trading_days(100)


@pytest.fixture(autouse=True)
def after_the_record(clock: FakeClock) -> None:
    clock.at = at_nine(trading_days(101)[-1])


def stocked(app: Flask, folder: Path, came_true: list[bool]) -> Flask:
    """The server, after the background has read a record that states 0.8 of each day."""
    server, days = app.extensions["predict-server"], DAYS[: len(came_true)]
    models = {ticker: model.model_id for ticker, model in server.pipeline.models.models.items()}
    lock_days(folder / "polygon" / "record.sqlite3", days, models)
    keep_closes(folder / "polygon" / "bars.sqlite3", days, came_true)
    server.live_promise.refresh(server.clock())
    return app


def model(app: Flask, ticker: str = "SPY") -> dict[str, Any]:
    found: dict[str, Any] = ask(app, f"/models/{ticker}")
    return found


def test_a_record_that_keeps_what_it_states_is_shown_and_not_contradicted(serve: Serve, tmp_path: Path) -> None:
    app = stocked(serve(), tmp_path, coming_true(100, 0.8))
    found = model(app)
    assert found["record_reason"] is None
    record, traded = found["record"], found["record"]["traded"]
    assert (record["days"], record["last_day"], record["signals"]) == (100, str(DAYS[-1]), 600)
    assert (record["contradicted_since"], record["contradiction"]) == (None, None)
    assert traded["stated"] == pytest.approx(0.8)
    assert traded["right_low"] < traded["right"] < traded["right_high"]
    assert ask(app, "/models")["models"] == [model(app, ticker) for ticker in SUPPORTED]
    seen = scrape(app)
    assert seen.by("predict_record_days", "ticker") == dict.fromkeys(SUPPORTED, 100)
    assert seen.by("predict_promise_contradicted", "ticker") == dict.fromkeys(SUPPORTED, 0)
    assert 0 < seen.by("predict_promise_evidence_ratio", "ticker")["SPY"] < 1


def test_a_record_that_does_not_is_contradicted_in_answers_and_metrics(serve: Serve, tmp_path: Path) -> None:
    app = stocked(serve(), tmp_path, coming_true(100, 0.5))
    record = model(app)["record"]
    assert record["contradicted_since"] in map(str, DAYS)
    assert record["contradiction"] == "too_sure"
    assert scrape(app).by("predict_promise_contradicted", "ticker") == dict.fromkeys(SUPPORTED, 1)


def test_too_few_days_are_no_figure_and_say_how_many_there_are(serve: Serve, tmp_path: Path) -> None:
    app = stocked(serve(), tmp_path, coming_true(19, 0.8))
    found = model(app)
    assert found["record"] is None
    assert found["record_reason"] == (
        "Too few days for any figure: 19 of this model have a known outcome, and 20 are needed."
    )
    assert scrape(app).by("predict_record_days", "ticker") == dict.fromkeys(SUPPORTED, 19)


def test_the_demo_market_says_that_its_days_are_made_up(serve: Serve) -> None:
    app = serve(market="demo")
    assert model(app)["record"] is None
    assert model(app)["record_reason"].startswith("DEMO: This is the demo market")
    assert scrape(app).all("predict_record_days") == {}


def test_while_the_redis_of_the_record_is_away_the_models_are_answered_all_the_same(
    serve: Serve, own_redis: RedisServer
) -> None:
    app = serve(redis_url=own_redis.url)
    server = app.extensions["predict-server"]
    own_redis.stop()
    with pytest.raises(Exception, match="cannot be read"):
        server.live_promise.refresh(server.clock())
    found = model(app)
    assert (found["record"], found["record_reason"]) == (None, "The record of signals cannot be read now.")
    assert len(ask(app, "/models")["models"]) == 3
