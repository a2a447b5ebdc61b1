"""The shape of `/replay` (v1-contract.md 4.3): what the live server showed, or would have shown, at a past moment."""

from __future__ import annotations

from collections.abc import Mapping

from app.market.calendar import NY
from app.market.inception import has_begun
from app.market.plan import Plan
from app.pipeline import Structure
from app.signals.policy import Decision, Gate, actionable, best, session_of_hour
from blueprints.v1 import texts
from blueprints.v1.parameters import ReplayMoment
from blueprints.v1.shapes.common import (
    Json,
    data_status,
    fault,
    iso,
    price,
    probabilities,
    time_et,
    unsupported,
    versions,
)
from blueprints.v1.shapes.structure import phases, quoted

NO_V6 = ("probability_a", "probability_b")


def replay(found: Mapping[str, Structure], moment: ReplayMoment, plan: Plan) -> Json:
    """The body of `/replay` (v1-contract.md 4.3)."""
    at = moment.at.astimezone(NY)
    entries = {ticker: _entry(structure, moment, plan) for ticker, structure in found.items()}
    good = {ticker: entry for ticker, entry in entries.items() if "error" not in entry}
    decisions = [s.signal.decision for s in found.values() if s.signal.decision is not None]
    return {
        **versions(),
        "mode": "REPLAY",
        "replay_date": at.date().isoformat(),
        "replay_time": moment.label,
        "replay_hour": at.hour,
        "as_of": iso(at),
        "simulated_time_et": time_et(at),
        "simulated_hour": at.hour,
        "simulated_minute": at.minute,
        "market_open": moment.market_open,
        "session": session_of_hour(at.hour),
        "tickers": entries,
        "v6_signals": {ticker: entry["v6"] for ticker, entry in good.items()},
        "northstar": {ticker: entry["northstar"] for ticker, entry in good.items()},
        "summary": _summary(entries, decisions, moment, plan),
        "source": _source(found),
        "data_status": data_status(moment.at, [s.signal for s in found.values()], plan),
    }


def _entry(structure: Structure, moment: ReplayMoment, plan: Plan) -> Json:
    signal = structure.signal
    if signal.gate is Gate.UNSUPPORTED_TICKER:
        return unsupported(structure.ticker)
    day = moment.at.astimezone(NY).date()
    traded = moment.trading_day and has_begun(structure.ticker, day)
    if not traded or signal.gate is Gate.NO_MARKET_DATA or _is_empty(structure, moment):
        text = texts.no_market_data(structure.ticker, day, plan, moment.trading_day, moment.holiday)
        return {"error": text, "error_code": "NO_MARKET_DATA"}
    if structure.broken is not None and signal.decision is None:
        return fault(structure.broken, plan)
    if signal.gate is not None and signal.gate.is_fault:
        return {"error": texts.error(signal.detail, plan), "error_code": signal.gate.value}
    decision = signal.decision
    p_a, p_b = (None, None) if decision is None else probabilities(decision)
    return {
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "price_11am": price(signal.market.price_11am if decision is None else decision.price_11am),
        **quoted(structure),
        "session": signal.session,
        "v6": _undecided(structure, moment, plan) if decision is None else _decided(structure, decision, moment, plan),
        "northstar": phases(structure),
    }


def _is_empty(structure: Structure, moment: ReplayMoment) -> bool:
    """A trading day of the past that left nothing behind."""
    nothing = structure.minutes == 0 and structure.today_open is None and structure.broken is None
    return nothing and moment.after_open and structure.signal.decision is None


def _decided(structure: Structure, decision: Decision, moment: ReplayMoment, plan: Plan) -> Json:
    p_a, p_b = probabilities(decision)
    return {
        "action": decision.action,
        "reason": texts.replay_reason(structure.signal, plan, _why_closed(moment), _ahead(moment)),
        "reason_code": decision.reason_code,
        "probability_a": p_a,
        "probability_b": p_b,
        "session": decision.session,
        "price_11am": price(decision.price_11am),
        "bucket": decision.bucket,
        "in_sample": decision.in_sample,
    }


def _undecided(structure: Structure, moment: ReplayMoment, plan: Plan) -> Json:
    signal = structure.signal
    return {
        **dict.fromkeys(NO_V6),
        "action": "NO_TRADE",
        "reason": texts.replay_reason(signal, plan, _why_closed(moment), _ahead(moment)),
        "reason_code": signal.gate.value if signal.gate else None,
        "session": signal.session,
        "price_11am": price(signal.market.price_11am),
        "bucket": "neutral",
        "in_sample": False,
    }


def _why_closed(moment: ReplayMoment) -> str:
    return "" if moment.market_open else texts.was_closed(moment.at, moment.session, moment.holiday)


def _ahead(moment: ReplayMoment) -> str:
    return texts.not_yet(moment.label, moment.at) if moment.is_ahead else ""


def _summary(entries: Mapping[str, Json], decisions: list[Decision], moment: ReplayMoment, plan: Plan) -> Json:
    chosen = best(decisions)
    acting = [decision.ticker for decision in actionable(decisions)]
    allowed = [t for t, entry in entries.items() if entry.get("northstar") and entry["northstar"]["phase4"]["allowed"]]
    why_closed, ahead = _why_closed(moment), _ahead(moment)
    return {
        "best_ticker": chosen.ticker if chosen else None,
        "allowed_tickers": allowed,
        "v6_actionable": acting,
        "recommendation": texts.replay_recommendation(decisions, chosen, plan, why_closed, ahead),
    }


def _source(found: Mapping[str, Structure]) -> str:
    """`recorded` only if every decision shown was locked live."""
    signals = [s.signal for s in found.values() if s.signal.decision is not None]
    return "recorded" if signals and all(signal.recorded for signal in signals) else "recomputed"
