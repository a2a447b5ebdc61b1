"""The shapes of `/mtf`, `/northstar`, `/rpe` and `/swing` (v1-contract.md 4.2, 4.4-4.6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from app.errors import NotEntitled, PredictError
from app.market.calendar import NY, TradingHours
from app.market.plan import Plan
from app.pipeline import Alignment, Permission, State, SwingOutlook, V6Part
from app.signals.policy import Decision, Gate, confidence, session_of_hour
from app.structure import ENOUGH_DAYS
from app.structure.terms import Bias
from blueprints.shared import sentences
from blueprints.shared.data_status import data_status
from blueprints.shared.values import Json, change_pct, plain, price, probabilities
from blueprints.v1 import texts
from blueprints.v1.shapes.common import envelope, fault, unsupported
from blueprints.v1.shapes.outlooks import Outlooks, v6_swing

States = Mapping[str, State]
PIPELINE_VERSION = "2.0"
SIGNALS = {"LONG": "BULLISH", "SHORT": "BEARISH", "NO_TRADE": "NEUTRAL"}
ALIGNED: Mapping[Bias | None, str] = {Bias.LONG: "bullish", Bias.SHORT: "bearish"}


def mtf(found: States, outlooks: Outlooks, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/mtf` (v1-contract.md 4.2)."""
    entries = {ticker: _mtf_entry(state, outlooks.get(ticker), plan) for ticker, state in found.items()}
    return {
        **envelope(hours.at),
        "analysis_type": "MULTI_TIMEFRAME",
        "session": session_of_hour(hours.at.astimezone(NY).hour),
        "market_open": hours.is_open,
        "pipeline_version": PIPELINE_VERSION,
        "tickers": entries,
        "summary": texts.alignment_summary({ticker: entry["alignment"] for ticker, entry in entries.items()}, plan),
        "data_status": _status(found, hours.at, plan),
    }


def northstar(found: States, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/northstar` (v1-contract.md 4.5); with exactly one ticker also `ticker` and `analysis`."""
    entries = {ticker: _northstar_entry(state, hours, plan) for ticker, state in found.items()}
    permitted = _given([state.northstar_permission for state in found.values()])
    allowed = [_northstar_permission(entries[permission.ticker]["phase4"], permission) for permission in permitted]
    body = {
        **_clocked(hours),
        "pipeline_version": PIPELINE_VERSION,
        "phase_descriptions": texts.NORTHSTAR_PHASES,
        "tickers": entries,
        "summary": _summary(permitted, allowed, found, hours, plan),
        "data_status": _status(found, hours.at, plan),
    }
    if len(entries) == 1:
        ((ticker, analysis),) = entries.items()
        body |= {"ticker": ticker, "analysis": analysis}
    return body


def rpe(found: States, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/rpe` (v1-contract.md 4.4)."""
    entries = {ticker: _rpe_entry(state, hours, plan) for ticker, state in found.items()}
    permitted = _given([state.rpe_permission for state in found.values()])
    allowed = [
        _rpe_permission(entries[permission.ticker]["phase4_execution_posture"], permission) for permission in permitted
    ]
    return {
        **_clocked(hours),
        "contract_version": PIPELINE_VERSION,
        "phase_descriptions": texts.RPE_PHASES,
        "tickers": entries,
        "summary": _summary(permitted, allowed, found, hours, plan),
        "data_status": _status(found, hours.at, plan),
    }


def _given(permissions: Iterable[Permission | None]) -> list[Permission]:
    return [permission for permission in permissions if permission is not None and permission.is_given]


def _northstar_permission(phase4: Json, permission: Permission) -> Json:
    ticker, bias = permission.ticker, permission.bias.value
    return {"ticker": ticker, "bias": bias, "mode": phase4["execution_mode"], "risk": phase4["risk_state"]}


def _rpe_permission(phase4: Json, permission: Permission) -> Json:
    return {
        "ticker": permission.ticker,
        "bias": permission.bias.value,
        "play_type": phase4["play_type"]["play_type"],
        "confidence": phase4["confidence_risk"]["confidence"],
    }


def _summary(
    permitted: Sequence[Permission], allowed: list[Json], found: States, hours: TradingHours, plan: Plan
) -> Json:
    """The summary of a structure engine. Execution is allowed where a ticker with a side is permitted."""
    return {
        "execution_allowed": any(permission.has_side for permission in permitted),
        "allowed_tickers": allowed,
        "recommendation": texts.permitted(permitted, plan, analysed=_is_any_analysed(found), is_open=hours.is_open),
    }


def swing(found: States, outlooks: Outlooks, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/swing` (v1-contract.md 4.6)."""
    return {
        **envelope(hours.at),
        "analysis_type": "SWING",
        "timeframes": ["DAILY", "WEEKLY"],
        "tickers": {ticker: _swing_entry(state, outlooks.get(ticker), plan) for ticker, state in found.items()},
        "data_status": _status(found, hours.at, plan),
    }


def phases(state: State) -> Json | None:
    """Northstar's four phases, or None with too few minute bars."""
    if state.intraday is None:
        return None
    shape = plain(state.intraday.northstar)
    return {name: shape[name] for name in ("phase1", "phase2", "phase3", "phase4")}


def quoted(state: State) -> Json:
    """Price, open and change beside an analysis. There is no change before a bar of the day has ended."""
    return {
        "current_price": price(state.data.price),
        "today_open": price(state.data.today_open),
        "today_change_pct": change_pct(state.data.today_price, state.data.today_open),
        "bars_analyzed": state.bars,
    }


def _status(found: States, at: datetime, plan: Plan) -> Json:
    return data_status(at, found.values(), plan)


def _clocked(hours: TradingHours) -> Json:
    hour = hours.at.astimezone(NY).hour
    return {**envelope(hours.at), "current_hour": hour, "market_open": hours.is_open, "session": session_of_hour(hour)}


def _is_any_analysed(found: States) -> bool:
    return any(state.intraday is not None for state in found.values())


def _is_unsupported(state: State) -> bool:
    return state.signal.gate is Gate.UNSUPPORTED_TICKER


def _mtf_entry(state: State, outlook: SwingOutlook | PredictError | None, plan: Plan) -> Json:
    if _is_unsupported(state):
        return {**unsupported(state.ticker), "intraday": None, "swing": None, "alignment": None}
    alignment = state.alignment
    body: Json = {
        "current_price": price(state.data.price),
        "intraday": _intraday(state),
        "swing": None if state.swing is None else plain(state.swing) | {"v6_swing": v6_swing(outlook)},
        "alignment": None if alignment is None else ALIGNED.get(alignment.direction, "neutral"),
        "alignment_detail": None if alignment is None else _alignment(alignment),
    }
    broken = state.data.broken
    return body if broken is None or isinstance(broken, NotEntitled) else body | fault(broken, plan)


def _intraday(state: State) -> Json | None:
    if state.intraday is None:
        return None
    decision = state.signal.decision
    p_a, p_b = (None, None) if decision is None else probabilities(decision)
    return {
        **plain(state.intraday.northstar),
        "v6": None if decision is None else _v6(decision),
        "action": state.signal.action,
        "probability_a": p_a,
        "probability_b": p_b,
        "price_11am": price(state.signal.price_11am),
        "confidence": 0 if decision is None else confidence(decision.p_active, decision.action),
        "model": "V6_TIME_SPLIT",
    }


def _v6(decision: Decision) -> Json:
    p_a, p_b = probabilities(decision)
    signal = SIGNALS[decision.action]
    return {
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "session": decision.session,
        "signal": signal,
        "in_sample": decision.in_sample,
    }


def _alignment(alignment: Alignment) -> Json:
    """How the biases of session and days stand to each other (v1-contract.md 4.2), in the order of its fields."""
    shape = plain(alignment)
    confidence_level = shape.pop("confidence")
    recommendation = texts.CONFLICT if alignment.status == "CONFLICT" else None
    return {**shape, "recommendation": recommendation, "confidence": confidence_level}


def _northstar_entry(state: State, hours: TradingHours, plan: Plan) -> Json:
    if state.intraday is None:
        return _without_minutes(state, hours, plan)
    return {**plain(state.intraday.northstar), **quoted(state)}


def _rpe_entry(state: State, hours: TradingHours, plan: Plan) -> Json:
    if state.intraday is None:
        return _without_minutes(state, hours, plan)
    decision = state.signal.decision
    signals = None if decision is None else _v6_signals(decision, state.v6)
    return {**plain(state.intraday.rpe), **quoted(state), "v6_signals": signals}


def _v6_signals(decision: Decision, v6: V6Part) -> Json:
    p_a, p_b = probabilities(decision)
    return {
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "session": decision.session,
        "price_11am": price(decision.price_11am),
        "target_a_action": v6.action_a,
        "in_sample": v6.in_sample,
        "target_b_action": v6.action_b,
    }


def _without_minutes(state: State, hours: TradingHours, plan: Plan) -> Json:
    if _is_unsupported(state):
        return unsupported(state.ticker)
    if state.data.broken is not None:
        return {**fault(state.data.broken, plan), "bars_available": state.data.minutes}
    text = sentences.too_few_minutes(state.data.minutes, hours, plan)
    return {"error": text, "error_code": "INSUFFICIENT_DATA", "bars_available": state.data.minutes}


def _swing_entry(state: State, outlook: SwingOutlook | PredictError | None, plan: Plan) -> Json:
    if _is_unsupported(state):
        return unsupported(state.ticker)
    if state.swing is not None:
        return {**plain(state.swing), "v6_swing": v6_swing(outlook), "current_price": price(state.data.price)}
    if state.data.fault is not None:
        return {**fault(state.data.fault, plan), "bars_available": state.data.days}
    text = sentences.error(f"{state.data.days} daily bars are known; {ENOUGH_DAYS} are needed", plan)
    return {"error": text, "error_code": "INSUFFICIENT_DATA", "bars_available": state.data.days}
