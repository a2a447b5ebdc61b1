"""The routes of v1: read the parameters, ask the pipeline, shape the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, jsonify, request

from app.errors import BadRequest, PredictError, Unavailable
from app.market.calendar import TradingHours, ny_day
from app.market.plan import Plan
from app.pipeline import State, SwingOutlook
from app.signals.policy import FEAR_TICKER
from blueprints.caching import cached
from blueprints.services import services
from blueprints.v1 import shapes
from blueprints.v1.parameters import Tickers, json_object, replay_moment, tickers

Shape = Callable[[Mapping[str, State], TradingHours, Plan], dict[str, Any]]
DaysShape = Callable[
    [Mapping[str, State], Mapping[str, SwingOutlook | PredictError], TradingHours, Plan], dict[str, Any]
]

blueprint = Blueprint("v1", __name__)


def _asked() -> Tickers:
    return tickers(request.args)


@blueprint.get("/trading_directions")
@blueprint.get("/trading-directions")
@cached(_asked)
def trading_directions(asked: Tickers) -> Response:
    """The hour's signals (v1-contract.md 4.1)."""
    served = services()
    board = served.pipeline.board(asked.symbols, served.clock())
    return _shaped(lambda: shapes.trading_directions(board, served.pipeline, single=asked.single))


@blueprint.get("/mtf")
@cached(_asked)
def mtf(asked: Tickers) -> Response:
    """Session and days of each ticker side by side (v1-contract.md 4.2)."""
    return _days(asked.symbols, shapes.mtf)


@blueprint.get("/northstar")
@cached(_asked)
def northstar(asked: Tickers) -> Response:
    """The four-phase analysis of the session (v1-contract.md 4.5)."""
    return _structures(asked.symbols, shapes.northstar)


@blueprint.get("/rpe")
@cached(_asked)
def rpe(asked: Tickers) -> Response:
    """The five-phase analysis of the session (v1-contract.md 4.4)."""
    return _structures(asked.symbols, shapes.rpe)


@blueprint.get("/swing")
@cached(_asked)
def swing(asked: Tickers) -> Response:
    """The analysis of the days (v1-contract.md 4.6)."""
    return _days(asked.symbols, shapes.swing)


@blueprint.get("/replay")
def replay() -> Response:
    """A past moment, as the live server showed it or would have (v1-contract.md 4.3)."""
    served = services()
    asked = tickers(request.args)
    moment = replay_moment(request.args, served.clock(), served.calendar)
    pipeline = served.pipeline
    if moment.trading_day:
        found = pipeline.states(asked.symbols, moment.at, keep=False)
    else:
        found = pipeline.unread(asked.symbols, moment.at)
    return _shaped(lambda: shapes.replay(found, moment, pipeline.plan.for_day(ny_day(moment.at))))


@blueprint.get("/daily_signals")
@blueprint.get("/daily-signals")
@cached(_asked, also=(FEAR_TICKER,))
def daily_signals(asked: Tickers) -> Response:
    """The morning overview (v1-contract.md 4.7)."""
    served = services()
    at, pipeline = served.clock(), served.pipeline
    found, fear = pipeline.overviews(asked.symbols, at)
    hours = served.calendar.hours_at(at)
    return _shaped(lambda: shapes.daily_signals(found, hours, fear, pipeline.plan, pipeline.models))


@blueprint.get("/signal_breakdown")
@blueprint.get("/signal-breakdown")
@cached(_asked)
def signal_breakdown(asked: Tickers) -> Response:
    """Twelve daily indicators (v1-contract.md 5.1)."""
    served = services()
    at = served.clock()
    found = served.pipeline.breakdowns(asked.symbols, at)
    return _shaped(lambda: shapes.signal_breakdown(found, at, served.pipeline.plan))


@blueprint.get("/volatility_meter")
@cached(_asked)
def volatility_meter(asked: Tickers) -> Response:
    """How volatile these days are (v1-contract.md 5.3)."""
    served = services()
    at = served.clock()
    found = served.pipeline.volatilities(asked.symbols, at)
    return _shaped(lambda: shapes.volatility_meter(found, at, served.pipeline.plan))


@blueprint.get("/price_ranges")
@cached(_asked)
def price_ranges(asked: Tickers) -> Response:
    """The day's ranges (v1-contract.md 5.4)."""
    served = services()
    at = served.clock()
    found = served.pipeline.ranges(asked.symbols, at)
    return _shaped(lambda: shapes.ranges(found, at, served.pipeline.plan))


@blueprint.get("/model_info")
def model_info() -> Response:
    """The pattern model, which does not ship (v1-contract.md 5.2)."""
    tickers(request.args)
    return _shaped(lambda: shapes.model_info(services()))


@blueprint.post("/predict")
def predict() -> Response:
    """Refused: there is no pattern model (v1-contract.md 5.2)."""
    json_object()
    raise Unavailable("no pattern model is installed", part="models", code="MODEL_UNAVAILABLE")


@blueprint.post("/batch_predict")
def batch_predict() -> Response:
    """No predictions: there is no pattern model (v1-contract.md 5.2)."""
    if not isinstance(json_object().get("fvgs"), list):
        raise BadRequest("fvgs must be a list of patterns")
    return _shaped(shapes.no_predictions)


@blueprint.get("/health")
def health() -> Response:
    """Whether the process serves, and with what (v1-contract.md 4.8). Calls nobody."""
    return _shaped(lambda: shapes.health(services()))


@blueprint.get("/models")
def models() -> Response:
    """The loaded models and what their own evaluation says of them (v1-contract.md 4.9)."""
    return _shaped(lambda: shapes.models(services().pipeline.models))


def _structures(symbols: Sequence[str], shape: Shape) -> Response:
    """Structure of the tickers asked for, now."""
    served = services()
    at = served.clock()
    found = served.pipeline.states(symbols, at)
    return _shaped(lambda: shape(found, served.calendar.hours_at(at), served.pipeline.plan))


def _days(symbols: Sequence[str], shape: DaysShape) -> Response:
    """Structure of the tickers asked for, now, with the swing probabilities."""
    served = services()
    at = served.clock()
    found, outlooks = served.pipeline.states(symbols, at), served.pipeline.outlooks.of(symbols, at)
    return _shaped(lambda: shape(found, outlooks, served.calendar.hours_at(at), served.pipeline.plan))


def _shaped(shape: Callable[[], dict[str, Any]]) -> Response:
    with services().stages("shape"):
        return jsonify(shape())
