"""v1's answers as JSON dicts (v1-contract.md 4). Shapes are built here and nowhere else; nothing is computed here.

Every key is there in every variant, null where unknown; `error` and `error_code` only on faults (ruling V1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.market.calendar import NY
from app.market.source import Plan
from app.model.artefact import ENGINE_VERSION, ModelSet
from app.model.v6 import V6Model
from app.pipeline import Board, Pipeline, TickerSignal
from app.signals.policy import (
    LONG_ABOVE,
    SHORT_BELOW,
    SPEC_VERSION,
    SUPPORTED,
    Decision,
    Gate,
    confidence,
    confidence_tier,
    shown_active,
    shown_other,
)
from blueprints.services import Services
from blueprints.v1 import texts

Json = dict[str, Any]

LABELS = {"LONG": "BUY_CALL", "SHORT": "BUY_PUT", "NO_TRADE": "NO_TRADE"}
DIRECTIONS = {"LONG": "LONG", "SHORT": "SHORT", "NO_TRADE": "NEUTRAL"}
MIRRORED = (
    "action",
    "reason",
    "action_label",
    "direction",
    "probability_a",
    "probability_b",
    "session",
    "bucket",
    "position_pct",
    "entry",
    "exit",
)
DECIDED_ONLY = (
    "probability_a",
    "probability_b",
    "target_a_prob",
    "target_b_prob",
    "probability",
    "probability_raw",
    "price_11am",
    "stop_loss",
    "take_profit",
    "entry",
    "exit",
    "locked_at",
    "lock_expires_at",
)
THRESHOLDS = {"long": LONG_ABOVE, "short": SHORT_BELOW, "neutral_low": SHORT_BELOW, "neutral_high": LONG_ABOVE}


def trading_directions(board: Board, pipeline: Pipeline, *, single: bool) -> Json:
    """4.1. `single`: one ticker was named, its fields are mirrored at top level (decision 6)."""
    plan, model_set = pipeline.plan, pipeline.models
    entries = {t: _entry(signal, board, plan, model_set.models.get(t)) for t, signal in board.tickers.items()}
    body = {
        **_envelope(board.at),
        "current_hour": board.at.astimezone(NY).hour,
        "market_open": board.market_open,
        "session": board.session,
        "time_multiplier": board.time_multiplier,
        "tickers": entries,
        "best_ticker": board.best.ticker if board.best else None,
        "summary": _summary(board, plan),
        "trading_rules": texts.trading_rules(),
        "model_accuracy": texts.accuracy_lines(model_set),
        "message": texts.message(board, plan),
        "data_status": data_status(board.at, list(board.tickers.values()), plan),
    }
    if not board.market_open:
        body |= {"action": "NO_TRADE", "reason": texts.closed(board, plan)}
    if single:
        (ticker,) = entries
        body |= {"ticker": ticker, **{key: entries[ticker][key] for key in MIRRORED}}
    return body


def data_status(at: datetime, signals: Sequence[TickerSignal], plan: Plan) -> Json:
    """How fresh what was answered is (ruling V3); of several tickers, the oldest."""
    known = [signal.market.as_of for signal in signals if signal.market.as_of is not None]
    as_of = min(known, default=None)
    return {
        "source": plan.source,
        "plan": plan.name,
        "delayed": bool(plan.delay),
        "stale": any(signal.market.stale for signal in signals),
        "as_of": iso(as_of) if as_of else None,
        "age_s": int((at - as_of).total_seconds()) if as_of else None,
    }


def health(served: Services) -> Json:
    """4.8. `model_loaded` is about the pattern model, which does not ship: false, so its clients stay quiet."""
    model_set = served.pipeline.models
    loaded = list(model_set.models)
    return {
        "status": "ok",
        "model_loaded": False,
        "version": served.version,
        "engine_version": ENGINE_VERSION,
        "spec_version": SPEC_VERSION,
        "models_loaded": loaded,
        "v6_models_loaded": loaded,
        "swing_models_loaded": [],
        "supported_tickers": list(SUPPORTED),
        "active_model": model_set.set_id,
        "uptime_seconds": int(served.uptime_s()),
        "timestamp": iso(served.clock()),
        "degraded": served.degraded(),
        "operations": dict(served.operations()),
    }


def models(model_set: ModelSet) -> Json:
    """4.9."""
    return {
        "active_version": model_set.set_id,
        "models": {ticker: _model(model_set.models.get(ticker)) for ticker in SUPPORTED},
        "supported_tickers": list(SUPPORTED),
        "recommended_threshold": LONG_ABOVE,
        "spec_version": SPEC_VERSION,
        "engine_version": ENGINE_VERSION,
    }


def iso(at: datetime) -> str:
    """ISO 8601 with New York's offset; milliseconds where there are any."""
    local = at.astimezone(NY)
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def _envelope(at: datetime) -> Json:
    return {
        "generated_at": iso(at),
        "current_time_et": at.astimezone(NY).strftime("%I:%M %p ET"),
        "spec_version": SPEC_VERSION,
        "engine_version": ENGINE_VERSION,
    }


def _summary(board: Board, plan: Plan) -> Json:
    decisions = [signal.decision for signal in board.tickers.values() if signal.decision is not None]
    return {
        "recommendation": texts.recommendation(board, plan),
        "actionable_tickers": [decision.ticker for decision in decisions if decision.action != "NO_TRADE"],
        "best_opportunity": board.best.ticker if board.best else None,
    }


def _entry(signal: TickerSignal, board: Board, plan: Plan, model: V6Model | None) -> Json:
    """tickers.{T}: three layers of the same keys, what floats, what is decided, and why."""
    if signal.gate is Gate.UNSUPPORTED_TICKER:
        return {"error": f"{signal.ticker} is not supported.", "error_code": signal.gate.value}
    market = signal.market
    body = {
        "today_open": _price(market.today_open),
        "current_price": _price(market.price),
        "today_change_pct": _change_pct(market.price, market.today_open),
        "bars_analyzed": market.bars,
        **(_undecided(signal, board) if signal.decision is None else _decided(signal.decision)),
        "reason": texts.reason(signal, board, plan),
        "thresholds": THRESHOLDS,
        "model_accuracy": _accuracy(model),
        "spec_version": SPEC_VERSION if signal.decision is None else signal.decision.spec_version,
        "engine_version": ENGINE_VERSION if signal.decision is None else signal.decision.engine_version,
    }
    if signal.gate is not None and signal.gate.is_fault:
        body |= {"error": texts.reason(signal, board, plan), "error_code": signal.gate.value}
    return body


def _decided(decision: Decision) -> Json:
    """The part of an entry that a locked decision fixes."""
    early, p = decision.session == "early", decision.p_active
    p_a = (shown_active if early else shown_other)(decision.p_a)
    p_b = (shown_other if early else shown_active)(decision.p_b)
    traded = decision.action != "NO_TRADE"
    take_profit, stop_loss = _price(decision.take_profit), _price(decision.stop_loss)
    return {
        "action": decision.action,
        "action_label": LABELS[decision.action],
        "direction": DIRECTIONS[decision.action],
        "reason_code": decision.reason_code,
        "probability_a": p_a,
        "probability_b": p_b,
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "probability": p_a if early else p_b,
        "probability_raw": round(p, 6),
        "active_target": "A" if early else "B",
        "session": decision.session,
        "bucket": decision.bucket,
        "confidence_tier": confidence_tier(p),
        "confidence": confidence(p, decision.action),
        "position_pct": decision.position_pct,
        "today_open": _price(decision.today_open),
        "price_11am": _price(decision.price_11am),
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "entry": {"price": _price(decision.entry_price), "type": decision.entry_type} if traded else None,
        "exit": {"take_profit": take_profit, "stop_loss": stop_loss, "time_limit": iso(decision.time_limit)}
        if traded
        else None,
        "multipliers": _multipliers(decision.time_multiplier, decision.agreement),
        "bars_analyzed": decision.bars_analyzed,
        "locked": True,
        "locked_at": iso(decision.locked_at),
        "lock_expires_at": iso(decision.expires_at),
    }


def _undecided(signal: TickerSignal, board: Board) -> Json:
    """The same part where a gate stands before the decision."""
    closed = signal.gate is Gate.MARKET_CLOSED
    return {
        **dict.fromkeys(DECIDED_ONLY),
        "action": "NO_TRADE",
        "action_label": "NO_TRADE",
        "direction": "NEUTRAL",
        "reason_code": signal.gate.value if signal.gate else None,
        "active_target": None if closed else ("A" if signal.session == "early" else "B"),
        "session": signal.session,
        "bucket": "neutral",
        "confidence_tier": confidence_tier(None),
        "confidence": 0,
        "position_pct": 0.0,
        "multipliers": _multipliers(board.time_multiplier, 1.0),
        "locked": False,
    }


def _multipliers(time: float, agreement: float) -> Json:
    return {"time": time, "agreement": agreement, "combined": round(time * agreement, 2)}


def _accuracy(model: V6Model | None) -> Json:
    """Out-of-sample accuracy of the loaded model's own evaluation, or nothing."""
    if model is None:
        return dict.fromkeys(("early", "late_a", "late_b"))
    accuracy = model.accuracy
    return {name: round(getattr(accuracy, name), 3) for name in ("early", "late_a", "late_b")}


def _model(model: V6Model | None) -> Json:
    body: Json = {
        "v6_loaded": model is not None,
        "swing_loaded": False,
        "swing_3d_loaded": False,
        "swing_1d_loaded": False,
    }
    if model is None:
        return body
    about = model.metadata
    return body | {
        "v6_accuracy": _accuracy(model),
        "version": model.model_id,
        "trained_at": about["trained_at"],
        "data_end": model.data_end.isoformat(),
        "feature_count": len(about["feature_cols"]),
        "metrics": {
            "evaluated": about["evaluation"]["span"],
            "cells": [_cell(c) for c in about["evaluation"]["cells"]],
        },
        "baselines": dict(model.accuracy.baselines),
        "artifact_sha256": model.artifact_sha256,
    }


def _cell(record: Mapping[str, Any]) -> Json:
    return {key: value for key, value in record.items() if key not in ("quarters", "ticker")}


def _price(value: float | None) -> float | None:
    """USD, two decimals, rounded once, here (ruling S5)."""
    return None if value is None else round(value, 2)


def _change_pct(price: float | None, official: float | None) -> float | None:
    return None if price is None or official is None else round((price / official - 1) * 100, 2)
