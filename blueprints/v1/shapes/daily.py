"""The shapes of `/daily_signals`, `/signal_breakdown`, `/volatility_meter` and `/price_ranges` (v1-contract.md 4.7, 5.1, 5.3,
5.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from app.errors import PredictError
from app.market.calendar import NY, TradingHours
from app.market.plan import Plan
from app.model.artefact import ModelSet
from app.model.v6 import V6Model
from app.pipeline import MarketClosed, Overview
from app.signals.daily_signal import DailySignal, Trade, Vix, best_trade, market_signal, side_probability
from app.signals.policy import DAY_LEVEL, FEAR_TICKER, Decision, Gate, session_of_hour, shown_swing
from app.structure.indicators import Breakdown
from app.structure.ranges import Range, Ranges
from app.structure.volatility import Volatility, market_volatility
from blueprints.shared import sentences
from blueprints.shared.data_status import data_status
from blueprints.shared.values import Json, change_pct, iso, plain, price, probabilities
from blueprints.v1 import texts
from blueprints.v1.shapes.common import fault, versions

T = TypeVar("T")
EMOJI = {"BUY": "🟢", "SELL": "🔴", "HOLD": "🟡"}
MARKET_EMOJI = {"BULLISH": "🟢", "BEARISH": "🔴", "MIXED": "🟡"}
MARKET_ACTION = {"BULLISH": "FAVOR LONGS", "BEARISH": "FAVOR SHORTS", "MIXED": "BE SELECTIVE"}
FEAR_EMOJI = {"HIGH": "🔴", "ELEVATED": "🟠", "NORMAL": "🟢", "LOW": "🔵"}
DATA_FAULTS = (Gate.DATA_FETCH_ERROR, Gate.RATE_LIMITED)
COLOURS = {
    "premarket": "#9333ea",
    "first_30min": "#f59e0b",
    "current_session": "#3b82f6",
    "aftermarket": "#ef4444",
    "yesterday_session": "#6b7280",
    "rolling_24h": "#22c55e",
}


def daily_signals(
    found: Mapping[str, Overview | PredictError],
    hours: TradingHours,
    fear: Vix | None,
    plan: Plan,
    models: ModelSet,
) -> Json:
    """The body of `/daily_signals` (v1-contract.md 4.7)."""
    good = {ticker: view for ticker, view in found.items() if isinstance(view, Overview)}
    trades = [_trade(ticker, view.daily) for ticker, view in good.items()]
    sides = {side: [_listed(t, v.daily) for t, v in good.items() if v.daily.grade.signal == side] for side in EMOJI}
    market = market_signal(len(sides["BUY"]), len(sides["SELL"]))
    best = best_trade(trades)
    at, entries = hours.at, {t: _entry(view, models, hours, plan) for t, view in found.items()}
    return {
        **_dated(at),
        **versions(),
        "is_after_hours": not hours.is_open,
        "next_trading_day": f"{hours.upcoming.day:%A, %b %d}",
        "session": session_of_hour(at.astimezone(NY).hour),
        "market_status": "OPEN" if hours.is_open else "CLOSED",
        "market_signal": market,
        "market_emoji": MARKET_EMOJI[market],
        "market_action": MARKET_ACTION[market],
        "summary": {"buys": sides["BUY"], "sells": sides["SELL"], "holds": [_held(held) for held in sides["HOLD"]]},
        "best_trade": None if best is None else _rounded(best),
        "vix": None if fear is None else _vix(fear, plan),
        "tickers": entries,
        "data_status": data_status(at, [view.signal for view in good.values()], plan, failed=_lacks_data(found)),
    }


def signal_breakdown(found: Mapping[str, Breakdown | PredictError], at: datetime, plan: Plan) -> Json:
    """The body of `/signal_breakdown` (v1-contract.md 5.1)."""

    def shape(value: Breakdown) -> Json:
        return _breakdown(value, plan)

    return {**_dated(at), "tickers": {ticker: _each(value, shape, plan) for ticker, value in found.items()}}


def volatility_meter(found: Mapping[str, Volatility | PredictError], at: datetime, plan: Plan) -> Json:
    """The body of `/volatility_meter` (v1-contract.md 5.3)."""
    market = market_volatility([value.score for value in found.values() if isinstance(value, Volatility)])
    return {
        **_dated(at),
        "market_volatility": market.regime.value if market.regime else None,
        "market_volatility_score": market.score,
        "trading_guidance": sentences.mark(plan) + market.guidance + sentences.dated(plan),
        "tickers": {ticker: _each(value, _volatility, plan) for ticker, value in found.items()},
    }


def ranges(found: Mapping[str, Ranges | PredictError], at: datetime, plan: Plan) -> Json:
    """The body of `/price_ranges` (v1-contract.md 5.4). Without imported bars no range is known of any ticker, and that is a
    fault, not a quiet day."""
    nothing = PredictError("there are no market data", code=Gate.NO_MARKET_DATA.value)

    def entry(ticker: str, value: Ranges | PredictError) -> Json:
        value = value if plan.has_bars else nothing
        return {"ticker": ticker, "timestamp": iso(at), **_each(value, _ranges, plan)}

    return {"generated_at": iso(at), "tickers": {ticker: entry(ticker, value) for ticker, value in found.items()}}


def _each(value: T | PredictError, shape: Callable[[T], Json], plan: Plan) -> Json:
    return fault(value, plan) if isinstance(value, PredictError) else shape(value)


def _entry(view: Overview | PredictError, models: ModelSet, hours: TradingHours, plan: Plan) -> Json:
    if isinstance(view, MarketClosed) and plan.has_bars:
        return {"error": sentences.no_overview(hours, plan), "error_code": view.code}
    return fault(view, plan) if isinstance(view, PredictError) else _overview(view, models)


def _lacks_data(found: Mapping[str, Overview | PredictError]) -> bool:
    """Whether a ticker has no answer because its data could not be had, or are too old to be shown."""
    return any(isinstance(view, PredictError) and view.code in DATA_FAULTS for view in found.values())


def _dated(at: datetime) -> Json:
    return {"date": at.astimezone(NY).date().isoformat(), "generated_at": iso(at)}


def _trade(ticker: str, daily: DailySignal) -> Trade:
    return Trade(ticker, daily.grade.signal, daily.grade.strength, daily.confidence, daily.risk_reward)


def _rounded(trade: Trade) -> Json:
    return {**plain(trade), "confidence": round(trade.confidence, 3), "risk_reward": round(trade.risk_reward, 2)}


def _listed(ticker: str, daily: DailySignal) -> Json:
    probability = side_probability(daily.grade.signal, daily.probability)
    return {"ticker": ticker, "strength": daily.grade.strength, "probability": round(probability, 3)}


def _held(listed: Json) -> Json:
    return {"ticker": listed["ticker"], "probability": listed["probability"]}


def _overview(view: Overview, models: ModelSet) -> Json:
    daily, decision, outlook = view.daily, view.signal.decision, view.outlook
    p_1d = None if outlook is None else outlook.horizons[1].probability
    return {
        "signal": daily.grade.signal,
        "strength": daily.grade.strength,
        "emoji": EMOJI[daily.grade.signal],
        "probability": daily.probability,
        "daily_probability": None if p_1d is None else shown_swing(p_1d),
        "confidence": round(daily.confidence, 3),
        "current_price": price(view.price),
        "entry_price": price(daily.levels.entry_price),
        "target_price": price(daily.levels.target_price),
        "stop_loss": price(daily.levels.stop_loss),
        "risk_reward": round(daily.risk_reward, 2),
        "predicted_range": {"high": price(daily.expected.high), "low": price(daily.expected.low)},
        "remaining_potential": _two_decimals(plain(daily.potential)),
        **(_of_days(view) if decision is None else _of_hour(view, decision, models)),
        "action_text": f"{daily.grade.strength} {daily.grade.signal}",
    }


def _of_hour(view: Overview, decision: Decision, models: ModelSet) -> Json:
    """What rests on the decision of the hour."""
    p_a, p_b = probabilities(decision)
    model = models.that_decided(decision.ticker, decision.model_id)
    accuracy = _cell_accuracy(model, decision)
    return {
        "highlow_model": _highlow_model(model, decision),
        "intraday_model": _intraday_model(view, decision, p_a, accuracy),
        "prediction_source": "intraday",
        "model_accuracy": accuracy,
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "session": decision.session,
        "in_sample": decision.in_sample,
        "action": decision.action,
    }


def _of_days(view: Overview) -> Json:
    """What rests on the 1-day swing probability (ruling V6)."""
    assert view.outlook is not None
    return {
        "highlow_model": None,
        "intraday_model": None,
        "prediction_source": "daily",
        "model_accuracy": round(view.outlook.model.evaluation_of(1)["accuracy"], 3),
        "target_a_prob": None,
        "target_b_prob": None,
        "session": view.signal.session,
        "in_sample": view.outlook.in_sample,
        "action": view.signal.action,
    }


def _intraday_model(view: Overview, decision: Decision, p_a: float, accuracy: float | None) -> Json:
    quote, early = view.signal.quote, decision.session == "early"
    return {
        "probability": view.daily.probability,
        "probability_close_above_open": p_a,
        "probability_close_above_current": None,
        "confidence": round(view.daily.confidence, 3),
        "time_pct": round(view.progress, 3),
        "session_label": decision.session,
        "current_vs_open": change_pct(quote.price, quote.today_open),
        "position_in_range": _position_pct(quote.price, quote.low, quote.high),
        "model_accuracy": accuracy,
        "prediction_target": "close above open" if early else "close above the 11:00 price",
    }


def _highlow_model(model: V6Model | None, decision: Decision) -> Json | None:
    """The range that was forecast at the decision, per cent of its price, and on which share of the days of the evaluation the
    price stayed within it."""
    found = decision.range_at(DAY_LEVEL)
    if model is None or found is None:
        return None
    return {
        "predicted_high": price(found.high),
        "predicted_low": price(found.low),
        "high_pct": change_pct(found.high, decision.price),
        "low_pct": change_pct(found.low, decision.price),
        "capture_rate": round(model.coverage[found.level, decision.hour].both, 3),
    }


def _position_pct(now: float | None, low: float | None, high: float | None) -> float | None:
    """Where the price stands in the session's range, per cent of it; null while there is no range."""
    if now is None or low is None or high is None or high <= low:
        return None
    return round((now - low) / (high - low) * 100, 2)


def _cell_accuracy(model: V6Model | None, decision: Decision) -> float | None:
    """Out-of-sample accuracy of the very cell that speaks: its target at its hour."""
    if model is None:
        return None
    target = "A" if decision.session == "early" else "B"
    cells = model.metadata["evaluation"]["cells"]
    return next((round(c["accuracy"], 3) for c in cells if (c["target"], c["hour"]) == (target, decision.hour)), None)


def _vix(fear: Vix, plan: Plan) -> Json:
    return {
        "ticker": FEAR_TICKER,
        "current": price(fear.current),
        "change_pct": round(fear.change_pct, 2),
        "regime": fear.regime,
        "emoji": FEAR_EMOJI[fear.regime],
        "note": texts.fear(fear.regime, plan),
    }


def _breakdown(found: Breakdown, plan: Plan) -> Json:
    mark, dated = sentences.mark(plan), sentences.dated(plan)
    rows = [{**plain(row), "reason": f"{mark}{row.reason}{dated and '.' + dated}"} for row in found.indicators]
    counts = {name: getattr(found, name) for name in ("bullish", "bearish", "neutral", "total")}
    return {"current_price": price(found.price), "indicators": rows, "summary": counts}


def _volatility(found: Volatility) -> Json:
    return {
        "regime": found.regime.value,
        "regime_label": found.regime_label,
        "regime_color": found.regime_color,
        "volatility_score": round(found.score, 3),
        "volatility_percentile": round(found.percentile, 1),
        "current_atr_pct": round(found.atr_pct, 2),
        "current_daily_vol": round(found.daily_vol, 2),
        "expected_range": found.expected_range,
        "regime_model_stats": None,
    }


def _ranges(found: Ranges) -> Json:
    return {
        **{name: _range(getattr(found, name), colour) for name, colour in COLOURS.items()},
        "ml_refined": {"available": False},
    }


def _range(found: Range | None, colour: str) -> Json | None:
    return None if found is None else {**_two_decimals(plain(found)), "color": colour}


def _two_decimals(values: dict[str, Any]) -> Json:
    return {name: round(value, 2) if isinstance(value, float) else value for name, value in values.items()}
