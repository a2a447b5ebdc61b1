"""The shapes of `/mtf`, `/northstar`, `/rpe` and `/swing` (v1-contract.md 4.2, 4.4-4.6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.errors import NotEntitled
from app.market.calendar import NY, TradingHours
from app.market.plan import Plan
from app.pipeline import Structure
from app.signals.policy import Decision, Gate, action_of, confidence, session_of_hour
from app.structure import ENOUGH_DAYS
from blueprints.v1 import texts
from blueprints.v1.shapes.common import (
    Json,
    change_pct,
    data_status,
    envelope,
    fault,
    plain,
    price,
    probabilities,
    unsupported,
)

Structures = Mapping[str, Structure]
PIPELINE_VERSION = "2.0"
SIGNALS = {"LONG": "BULLISH", "SHORT": "BEARISH", "NO_TRADE": "NEUTRAL"}
ALIGNED = {"LONG": "bullish", "SHORT": "bearish"}


def mtf(found: Structures, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/mtf` (v1-contract.md 4.2)."""
    entries = {ticker: _mtf_entry(structure, plan) for ticker, structure in found.items()}
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


def northstar(found: Structures, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/northstar` (v1-contract.md 4.5); with exactly one ticker also `ticker` and `analysis`."""
    entries = {ticker: _northstar_entry(structure, hours, plan) for ticker, structure in found.items()}
    allowed = [
        {"ticker": ticker, "bias": p4["bias"], "mode": p4["execution_mode"], "risk": p4["risk_state"]}
        for ticker, entry in entries.items()
        if hours.is_open and "error" not in entry and (p4 := entry["phase4"])["allowed"]
    ]
    body = {
        **_clocked(hours),
        "pipeline_version": PIPELINE_VERSION,
        "phase_descriptions": texts.NORTHSTAR_PHASES,
        "tickers": entries,
        "summary": _permission(allowed, found, hours, plan),
        "data_status": _status(found, hours.at, plan),
    }
    if len(entries) == 1:
        ((ticker, analysis),) = entries.items()
        body |= {"ticker": ticker, "analysis": analysis}
    return body


def rpe(found: Structures, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/rpe` (v1-contract.md 4.4)."""
    entries = {ticker: _rpe_entry(structure, hours, plan) for ticker, structure in found.items()}
    allowed = [
        {
            "ticker": ticker,
            "bias": p4["bias"]["bias"],
            "play_type": p4["play_type"]["play_type"],
            "confidence": p4["confidence_risk"]["confidence"],
        }
        for ticker, entry in entries.items()
        if hours.is_open and "error" not in entry and (p4 := entry["phase4_execution_posture"])["allowed"]
    ]
    return {
        **_clocked(hours),
        "contract_version": PIPELINE_VERSION,
        "phase_descriptions": texts.RPE_PHASES,
        "tickers": entries,
        "summary": _permission(allowed, found, hours, plan),
        "data_status": _status(found, hours.at, plan),
    }


def _permission(allowed: list[Json], found: Structures, hours: TradingHours, plan: Plan) -> Json:
    """The summary of a structure engine. Execution is allowed where a ticker with a side is permitted; a closed market permits
    none."""
    return {
        "execution_allowed": any(entry["bias"] != texts.NEUTRAL for entry in allowed),
        "allowed_tickers": allowed,
        "recommendation": texts.allowed(allowed, plan, analysed=_is_any_analysed(found), is_open=hours.is_open),
    }


def swing(found: Structures, hours: TradingHours, plan: Plan) -> Json:
    """The body of `/swing` (v1-contract.md 4.6)."""
    return {
        **envelope(hours.at),
        "analysis_type": "SWING",
        "timeframes": ["DAILY", "WEEKLY"],
        "tickers": {ticker: _swing_entry(structure, plan) for ticker, structure in found.items()},
        "data_status": _status(found, hours.at, plan),
    }


def phases(structure: Structure) -> Json | None:
    """Northstar's four phases, or None with too few minute bars."""
    if structure.intraday is None:
        return None
    shape = plain(structure.intraday.northstar)
    return {name: shape[name] for name in ("phase1", "phase2", "phase3", "phase4")}


def quoted(structure: Structure) -> Json:
    """Price, open and change beside an analysis. There is no change before a bar of the day has ended."""
    return {
        "current_price": price(structure.price),
        "today_open": price(structure.today_open),
        "today_change_pct": change_pct(structure.today_price, structure.today_open),
        "bars_analyzed": structure.bars,
    }


def _status(found: Structures, at: datetime, plan: Plan) -> Json:
    return data_status(at, [structure.signal for structure in found.values()], plan)


def _clocked(hours: TradingHours) -> Json:
    hour = hours.at.astimezone(NY).hour
    return {**envelope(hours.at), "current_hour": hour, "market_open": hours.is_open, "session": session_of_hour(hour)}


def _is_any_analysed(found: Structures) -> bool:
    return any(structure.intraday is not None for structure in found.values())


def _is_unsupported(structure: Structure) -> bool:
    return structure.signal.gate is Gate.UNSUPPORTED_TICKER


def _mtf_entry(structure: Structure, plan: Plan) -> Json:
    if _is_unsupported(structure):
        return {**unsupported(structure.ticker), "intraday": None, "swing": None, "alignment": None}
    detail = _alignment(structure)
    body: Json = {
        "current_price": price(structure.price),
        "intraday": _intraday(structure),
        "swing": None if structure.swing is None else plain(structure.swing),
        "alignment": None if detail is None else ALIGNED.get(str(detail["direction"]), "neutral"),
        "alignment_detail": detail,
    }
    broken = structure.broken
    return body if broken is None or isinstance(broken, NotEntitled) else body | fault(broken, plan)


def _intraday(structure: Structure) -> Json | None:
    if structure.intraday is None:
        return None
    decision = structure.signal.decision
    p_a, p_b = (None, None) if decision is None else probabilities(decision)
    return {
        **plain(structure.intraday.northstar),
        "v6": None if decision is None else _v6(decision),
        "action": "NO_TRADE" if decision is None else decision.action,
        "probability_a": p_a,
        "probability_b": p_b,
        "price_11am": price(structure.signal.market.price_11am if decision is None else decision.price_11am),
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


def _alignment(structure: Structure) -> Json | None:
    """How the biases of session and days stand to each other (v1-contract.md 4.2)."""
    if structure.intraday is None or structure.swing is None:
        return None
    intraday, swing_bias = structure.intraday.northstar.phase4.bias.value, structure.swing.phase4.bias.value
    detail: dict[str, Any] = {"direction": None, "intraday": intraday, "swing": swing_bias, "recommendation": None}
    if "NEUTRAL" in (intraday, swing_bias):
        return {"status": "PARTIAL", **detail, "confidence": "MEDIUM"}
    if intraday == swing_bias:
        return {"status": "ALIGNED", **detail, "direction": intraday, "confidence": "HIGH"}
    return {"status": "CONFLICT", **detail, "confidence": "LOW", "recommendation": texts.CONFLICT}


def _northstar_entry(structure: Structure, hours: TradingHours, plan: Plan) -> Json:
    if structure.intraday is None:
        return _without_minutes(structure, hours, plan)
    return {**plain(structure.intraday.northstar), **quoted(structure)}


def _rpe_entry(structure: Structure, hours: TradingHours, plan: Plan) -> Json:
    if structure.intraday is None:
        return _without_minutes(structure, hours, plan)
    decision = structure.signal.decision
    signals = None if decision is None else _v6_signals(decision)
    return {**plain(structure.intraday.rpe), **quoted(structure), "v6_signals": signals}


def _v6_signals(decision: Decision) -> Json:
    """Before 11:00 target B is no prediction and has no action (rpe.md R11)."""
    p_a, p_b = probabilities(decision)
    return {
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "session": decision.session,
        "price_11am": price(decision.price_11am),
        "target_a_action": action_of(decision.p_a),
        "in_sample": decision.in_sample,
        "target_b_action": None if decision.session == "early" else action_of(decision.p_b),
    }


def _without_minutes(structure: Structure, hours: TradingHours, plan: Plan) -> Json:
    if _is_unsupported(structure):
        return unsupported(structure.ticker)
    if structure.broken is not None:
        return {**fault(structure.broken, plan), "bars_available": structure.minutes}
    text = texts.too_few_minutes(structure.minutes, hours, plan)
    return {"error": text, "error_code": "INSUFFICIENT_DATA", "bars_available": structure.minutes}


def _swing_entry(structure: Structure, plan: Plan) -> Json:
    if _is_unsupported(structure):
        return unsupported(structure.ticker)
    if structure.swing is not None:
        return {**plain(structure.swing), "current_price": price(structure.price)}
    if structure.fault is not None:
        return {**fault(structure.fault, plan), "bars_available": structure.days}
    text = texts.error(f"{structure.days} daily bars are known; {ENOUGH_DAYS} are needed", plan)
    return {"error": text, "error_code": "INSUFFICIENT_DATA", "bars_available": structure.days}
