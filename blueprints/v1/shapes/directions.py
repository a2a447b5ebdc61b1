"""The shape of `/trading_directions` (v1-contract.md 4.1)."""

from __future__ import annotations

from app.market.calendar import NY
from app.market.plan import Plan
from app.model.artefact import ENGINE_VERSION, ModelSet
from app.model.v6 import V6Model
from app.pipeline import Board, Pipeline, TickerSignal
from app.signals.policy import (
    LONG_ABOVE,
    SHORT_BELOW,
    SPEC_VERSION,
    Decision,
    Gate,
    confidence,
    confidence_tier,
)
from blueprints.shared import sentences
from blueprints.shared.data_status import data_status
from blueprints.shared.values import Json, change_pct, iso, price, probabilities
from blueprints.v1 import texts
from blueprints.v1.shapes.about import accuracy
from blueprints.v1.shapes.common import envelope, unsupported

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
    "stop_loss",
    "take_profit",
    "entry",
    "exit",
    "locked_at",
    "lock_expires_at",
)
THRESHOLDS = {"long": LONG_ABOVE, "short": SHORT_BELOW, "neutral_low": SHORT_BELOW, "neutral_high": LONG_ABOVE}


def trading_directions(board: Board, pipeline: Pipeline, *, single: bool) -> Json:
    """The body of `/trading_directions` (v1-contract.md 4.1). `single`: one ticker was named, its fields are mirrored at top
    level (decision 6)."""
    plan, model_set, best = pipeline.plan, pipeline.models, board.ranking.best
    entries = {
        t: _entry(signal, board, plan, _model_of(t, signal.decision, model_set)) for t, signal in board.tickers.items()
    }
    body = {
        **envelope(board.at),
        "current_hour": board.at.astimezone(NY).hour,
        "market_open": board.market_open,
        "session": board.session,
        "time_multiplier": board.time_multiplier,
        "tickers": entries,
        "best_ticker": best.ticker if best else None,
        "summary": _summary(board, plan),
        "trading_rules": texts.trading_rules(),
        "model_accuracy": texts.accuracy_lines(model_set),
        "message": texts.message(board, plan),
        "data_status": data_status(board.at, board.tickers.values(), plan),
    }
    if not board.market_open:
        body |= {"action": "NO_TRADE", "reason": sentences.closed(board.hours, plan)}
    if single:
        (ticker,) = entries
        body |= {"ticker": ticker, **{key: entries[ticker][key] for key in MIRRORED}}
    return body


def _model_of(ticker: str, decision: Decision | None, models: ModelSet) -> V6Model | None:
    """The model whose accuracy stands in an entry: the one that decided, if it is loaded; without a decision the loaded one."""
    if decision is None:
        return models.models.get(ticker)
    return models.that_decided(ticker, decision.model_id)


def _summary(board: Board, plan: Plan) -> Json:
    ranking = board.ranking
    return {
        "recommendation": texts.recommendation(board, plan),
        "actionable_tickers": [decision.ticker for decision in ranking.actionable],
        "best_opportunity": ranking.best.ticker if ranking.best else None,
    }


def _entry(signal: TickerSignal, board: Board, plan: Plan, model: V6Model | None) -> Json:
    """tickers.{T}: three layers of the same keys, what floats, what is decided, and why."""
    if signal.gate is Gate.UNSUPPORTED_TICKER:
        return unsupported(signal.ticker)
    quote = signal.quote
    body = {
        "today_open": price(quote.today_open),
        "current_price": price(quote.price),
        "today_change_pct": change_pct(quote.price, quote.today_open),
        "bars_analyzed": quote.bars,
        **(_undecided(signal, board) if signal.decision is None else _decided(signal.decision, signal.active_target)),
        "reason": sentences.reason(signal, board.hours, plan),
        "thresholds": THRESHOLDS,
        "model_accuracy": accuracy(model),
        "spec_version": SPEC_VERSION if signal.decision is None else signal.decision.spec_version,
        "engine_version": ENGINE_VERSION if signal.decision is None else signal.decision.engine_version,
    }
    if signal.gate is not None and signal.gate.is_fault:
        body |= {"error": sentences.reason(signal, board.hours, plan), "error_code": signal.gate.value}
    return body


def _decided(decision: Decision, active_target: str | None) -> Json:
    """The part of an entry that a locked decision fixes."""
    early, p = decision.session == "early", decision.p_active
    p_a, p_b = probabilities(decision)
    traded = decision.action != "NO_TRADE"
    take_profit, stop_loss = price(decision.take_profit), price(decision.stop_loss)
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
        "active_target": active_target,
        "session": decision.session,
        "bucket": decision.bucket,
        "confidence_tier": confidence_tier(p),
        "confidence": confidence(p, decision.action),
        "position_pct": decision.position_pct,
        "today_open": price(decision.today_open),
        "price_11am": price(decision.price_11am),
        "in_sample": decision.in_sample,
        "stop_loss": stop_loss,
        "take_profit": take_profit,
        "entry": {"price": price(decision.entry_price), "type": decision.entry_type} if traded else None,
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
    return {
        **dict.fromkeys(DECIDED_ONLY),
        "action": signal.action,
        "action_label": LABELS[signal.action],
        "direction": DIRECTIONS[signal.action],
        "reason_code": signal.reason_code,
        "active_target": signal.active_target,
        "session": signal.session,
        "bucket": "neutral",
        "confidence_tier": confidence_tier(None),
        "confidence": 0,
        "position_pct": 0.0,
        "multipliers": _multipliers(board.time_multiplier, 1.0),
        "price_11am": price(signal.price_11am),
        "in_sample": False,
        "locked": False,
    }


def _multipliers(time: float, agreement: float) -> Json:
    return {"time": time, "agreement": agreement, "combined": round(time * agreement, 2)}
