"""The shape of `/replay` (v1-contract.md 4.3): what the live server showed, or would have shown, at a past moment."""

from __future__ import annotations

from collections.abc import Mapping

from app.market.calendar import NY
from app.market.inception import has_begun
from app.market.plan import Plan
from app.pipeline import Ranking, State
from app.signals.policy import Decision, Gate, session_of_hour
from blueprints.shared import sentences
from blueprints.shared.data_status import data_status
from blueprints.shared.values import Json, iso, price, probabilities, time_et
from blueprints.v1 import texts
from blueprints.v1.parameters import ReplayMoment
from blueprints.v1.shapes.common import fault, unsupported, versions
from blueprints.v1.shapes.structure import phases, quoted

NO_V6 = ("probability_a", "probability_b")


def replay(found: Mapping[str, State], moment: ReplayMoment, plan: Plan) -> Json:
    """The body of `/replay` (v1-contract.md 4.3)."""
    at = moment.at.astimezone(NY)
    entries = {ticker: _entry(state, moment, plan) for ticker, state in found.items()}
    good = {ticker: entry for ticker, entry in entries.items() if "error" not in entry}
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
        "summary": _summary(good, found, moment, plan),
        "source": _source(found),
        "data_status": data_status(moment.at, found.values(), plan),
    }


def _entry(state: State, moment: ReplayMoment, plan: Plan) -> Json:
    signal = state.signal
    if signal.gate is Gate.UNSUPPORTED_TICKER:
        return unsupported(state.ticker)
    day = moment.at.astimezone(NY).date()
    traded = moment.trading_day and has_begun(state.ticker, day)
    if not traded or signal.gate is Gate.NO_MARKET_DATA or _is_empty(state, moment):
        text = sentences.no_market_data(state.ticker, day, plan, moment.trading_day, moment.holiday)
        return {"error": text, "error_code": "NO_MARKET_DATA"}
    if state.data.broken is not None and signal.decision is None:
        return fault(state.data.broken, plan)
    if signal.gate is not None and signal.gate.is_fault:
        return {"error": sentences.error(signal.detail, plan), "error_code": signal.gate.value}
    decision = signal.decision
    p_a, p_b = (None, None) if decision is None else probabilities(decision)
    return {
        "target_a_prob": p_a,
        "target_b_prob": p_b,
        "price_11am": price(signal.price_11am),
        **quoted(state),
        "session": signal.session,
        "v6": _undecided(state, moment, plan) if decision is None else _decided(state, decision, moment, plan),
        "northstar": phases(state),
    }


def _is_empty(state: State, moment: ReplayMoment) -> bool:
    """A trading day of the past that left nothing behind."""
    nothing = state.data.minutes == 0 and state.data.today_open is None and state.data.broken is None
    return nothing and moment.after_open and state.signal.decision is None


def _decided(state: State, decision: Decision, moment: ReplayMoment, plan: Plan) -> Json:
    p_a, p_b = probabilities(decision)
    return {
        "action": decision.action,
        "reason": sentences.replay_reason(state.signal, plan, _why_closed(moment), _ahead(moment)),
        "reason_code": decision.reason_code,
        "probability_a": p_a,
        "probability_b": p_b,
        "session": decision.session,
        "price_11am": price(decision.price_11am),
        "bucket": decision.bucket,
        "in_sample": decision.in_sample,
    }


def _undecided(state: State, moment: ReplayMoment, plan: Plan) -> Json:
    signal = state.signal
    return {
        **dict.fromkeys(NO_V6),
        "action": signal.action,
        "reason": sentences.replay_reason(signal, plan, _why_closed(moment), _ahead(moment)),
        "reason_code": signal.reason_code,
        "session": signal.session,
        "price_11am": price(signal.price_11am),
        "bucket": "neutral",
        "in_sample": False,
    }


def _why_closed(moment: ReplayMoment) -> str:
    return "" if moment.market_open else sentences.was_closed(moment.at, moment.session, moment.holiday)


def _ahead(moment: ReplayMoment) -> str:
    return sentences.not_yet(moment.label, moment.at) if moment.is_ahead else ""


def _summary(good: Mapping[str, Json], found: Mapping[str, State], moment: ReplayMoment, plan: Plan) -> Json:
    ranking = Ranking.of(state.signal for state in found.values())
    why_closed, ahead = _why_closed(moment), _ahead(moment)
    return {
        "best_ticker": ranking.best.ticker if ranking.best else None,
        "allowed_tickers": [ticker for ticker in good if found[ticker].northstar_allows],
        "v6_actionable": [decision.ticker for decision in ranking.actionable],
        "recommendation": texts.replay_recommendation(ranking, plan, why_closed, ahead),
    }


def _source(found: Mapping[str, State]) -> str:
    """`recorded` only if every decision shown was locked live."""
    signals = [s.signal for s in found.values() if s.signal.decision is not None]
    return "recorded" if signals and all(signal.recorded for signal in signals) else "recomputed"
