"""From the states of the pipeline to v2's signals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.market.calendar import TradingHours
from app.market.plan import Plan
from app.model.artefact import ENGINE_VERSION, ModelSet
from app.model.features import LATE_FROM
from app.model.v6 import V6Model
from app.model.verdicts import verdict_of_record
from app.pipeline import Permission, Ranking, State, TickerSignal
from app.signals.policy import SPEC_VERSION, Decision, Gate
from app.structure import Intraday, SessionAnalysis, Swing
from blueprints.shared import sentences
from blueprints.shared.values import age_s, change_pct, probabilities
from blueprints.v2 import types

ACTIONS = {"LONG": types.Action.BUY_CALL, "SHORT": types.Action.BUY_PUT, "NO_TRADE": types.Action.NO_TRADE}
DIRECTIONS = {
    "LONG": types.SignalDirection.LONG,
    "SHORT": types.SignalDirection.SHORT,
    "NO_TRADE": types.SignalDirection.NEUTRAL,
}
GATES: Mapping[Gate, types.GateName] = {
    Gate.UNSUPPORTED_TICKER: types.GateName.SUPPORTED_TICKER,
    Gate.MARKET_CLOSED: types.GateName.MARKET_OPEN,
    Gate.MODEL_UNAVAILABLE: types.GateName.MODEL,
}
"""The gate of v2 that a gate of the policy stands for; all others are about market data."""


def board_of(states: Mapping[str, State], hours: TradingHours, plan: Plan, models: ModelSet) -> types.Board:
    """The signals of several tickers at one moment."""
    best = Ranking.of(state.signal for state in states.values()).best
    return types.Board(
        generated_at=hours.at,
        market_open=hours.is_open,
        next_open=None if hours.is_open else hours.upcoming.open,
        signals=[signal_of(state, hours, plan, models) for state in states.values()],
        best=None if best is None else best.ticker,
    )


def signal_of(
    state: State, hours: TradingHours, plan: Plan, models: ModelSet, mode: types.AnswerMode = types.AnswerMode.LIVE
) -> types.Signal:
    """The signal of one ticker, with the structure that it stands in."""
    signal, decision = state.signal, state.signal.decision
    model = _model_of(decision, models)
    measured = model if plan.market.is_real else None
    given = None if decision is None else probabilities(decision)
    return types.Signal(
        ticker=signal.ticker,
        mode=mode,
        generated_at=hours.at,
        session_date=None if hours.session is None else hours.session.day,
        decision_hour=None if decision is None else decision.hour,
        as_of=state.as_of,
        age_seconds=age_s(state.as_of, hours.at),
        expires_at=None if decision is None else decision.expires_at,
        freshness=freshness_of(state, hours, plan) if mode is types.AnswerMode.LIVE else types.Freshness.HISTORICAL,
        source=plan.market,
        lock=_lock(signal),
        action=types.Action.NO_TRADE if decision is None else ACTIONS[decision.action],
        direction=types.SignalDirection.NEUTRAL if decision is None else DIRECTIONS[decision.action],
        strength=types.Strength.NEUTRAL if decision is None else strength_of(decision),
        active_target=None if signal.active_target is None else types.Target(signal.active_target),
        probability=None if decision is None or given is None else given[decision.session == "late"],
        probability_a=None if given is None else given[0],
        probability_b=None if decision is None or given is None or decision.session == "early" else given[1],
        hit_rates=list(_hit_rates(measured, decision)) if decision and measured else [],
        size=None if decision is None else size_of(decision),
        prices=_prices(signal),
        levels=None if decision is None or decision.action == "NO_TRADE" else levels_of(decision),
        ranges=[] if decision is None else list(_ranges(measured, decision)),
        gates=_gates(signal, plan),
        reason=_reason(signal, hours, plan, mode),
        missing_bars=signal.quote.missing,
        structure=_structure(state),
        swing=None if state.swing is None else swing_of(state.swing, state.data.days),
        model=None if decision is None else _reference(model, decision),
        versions=types.Versions(
            policy=SPEC_VERSION if decision is None else decision.spec_version,
            engine=ENGINE_VERSION if decision is None else decision.engine_version,
        ),
    )


def freshness_of(state: State, hours: TradingHours, plan: Plan) -> types.Freshness:
    """How far the price of a state can be trusted at the moment of `hours`."""
    return freshness(state.as_of, hours, plan, stale=state.stale, waiting=state.waiting)


def freshness(
    as_of: datetime | None, hours: TradingHours, plan: Plan, *, stale: bool, waiting: bool = False
) -> types.Freshness:
    """How far the price of bars can be trusted at the moment of `hours`, the newest of which ended at `as_of`."""
    if not hours.is_open:
        return types.Freshness.CLOSED
    if stale or as_of is None or not plan.has_data or plan.ends_on is not None:
        return types.Freshness.STALE
    return types.Freshness.DELAYED if plan.delay or waiting else types.Freshness.LIVE


def strength_of(decision: Decision) -> types.Strength:
    """The bucket without its side, which `direction` says."""
    return types.Strength(decision.bucket.removesuffix("_bull").removesuffix("_bear"))


def _lock(signal: TickerSignal) -> types.Lock:
    decision = signal.decision
    if decision is None:
        return types.Lock(state=types.LockState.NONE)
    state = types.LockState.PREVIOUS if signal.waiting else types.LockState.LOCKED
    return types.Lock(
        state=state,
        locked_at=decision.locked_at,
        expires_at=decision.expires_at,
        recorded=signal.recorded,
        inputs_sha256=decision.features_sha256,
        bars_agree=signal.bars_agree,
    )


def _hit_rates(model: V6Model, decision: Decision) -> Iterator[types.HitRate]:
    """The cells of the model's evaluation for the hour of the decision, of the targets that have a probability."""
    evaluation = model.metadata["evaluation"]
    for cell in evaluation["cells"]:
        if cell["hour"] == decision.hour:
            yield hit_rate_of(cell, evaluation["span"])


def hit_rate_of(cell: Mapping[str, Any], span: str) -> types.HitRate:
    """What a cell of an evaluation over `span` says, as the artefact keeps it (v6.md 8)."""
    return types.HitRate(
        target=types.Target(cell["target"]),
        decision_hour=cell["hour"],
        hit_rate=cell["accuracy"],
        baseline_hit_rate=_baseline_of(cell),
        always_up_hit_rate=cell["up_accuracy"],
        days=cell["n"],
        span=span,
        verdict=verdict_of_record(cell),
    )


def _baseline_of(cell: Mapping[str, Any]) -> float | None:
    """The hit rate of the random walk in a cell of an evaluation. At 11:00 the price is the one that target B compares with, so
    that the random walk has no side."""
    has_no_side = cell["target"] == "B" and cell["hour"] == LATE_FROM
    return None if has_no_side else cell["b2_accuracy"]


def _ranges(model: V6Model | None, decision: Decision) -> Iterator[types.ForecastRange]:
    """The ranges of a decision, each with what the evaluation of `model` measured."""
    for found in decision.ranges:
        coverage = None if model is None else model.coverage[found.level, decision.hour]
        yield types.ForecastRange(
            level=found.level,
            low=found.low,
            high=found.high,
            coverage=None if coverage is None else coverage.both,
            days=None if coverage is None else coverage.n,
            span=None if model is None else model.metadata["evaluation"]["span"],
        )


def _reason(signal: TickerSignal, hours: TradingHours, plan: Plan, mode: types.AnswerMode) -> str:
    if mode is types.AnswerMode.LIVE:
        return sentences.reason(signal, hours, plan)
    closed = "" if hours.is_open else sentences.was_closed(hours.at, hours.session, hours.holiday)
    return sentences.replay_reason(signal, plan, closed)


def _model_of(decision: Decision | None, models: ModelSet) -> V6Model | None:
    """The loaded model, if it is the one that decided."""
    return None if decision is None else models.that_decided(decision.ticker, decision.model_id)


def size_of(decision: Decision) -> types.Size:
    """How much of the capital a decision takes."""
    return types.Size(
        percent_of_capital=decision.position_pct,
        time_multiplier=decision.time_multiplier,
        agreement_multiplier=decision.agreement,
    )


def _prices(signal: TickerSignal) -> types.Prices:
    quote, decision = signal.quote, signal.decision
    opened = quote.today_open if decision is None else decision.today_open
    return types.Prices(
        at_decision=None if decision is None else decision.price,
        now=quote.price,
        session_open=opened,
        at_11=signal.price_11am,
        change_percent=change_pct(quote.price, opened),
    )


def levels_of(decision: Decision) -> types.Levels:
    """Where the trade of a decision is entered and left."""
    return types.Levels(
        entry_type=None if decision.entry_type is None else types.OrderType(decision.entry_type),
        entry_price=decision.entry_price,
        take_profit=decision.take_profit,
        stop_loss=decision.stop_loss,
        time_stop=decision.time_limit,
        entry_beyond_stop=_is_entry_beyond_stop(decision),
    )


def _is_entry_beyond_stop(decision: Decision) -> bool:
    if decision.entry_price is None or decision.stop_loss is None:
        return False
    below = decision.entry_price <= decision.stop_loss
    return below if decision.action == "LONG" else decision.entry_price >= decision.stop_loss


def _gates(signal: TickerSignal, plan: Plan) -> Sequence[types.GateResult]:
    """All conditions of a trade in their order: passed, failed, or not checked because an earlier one failed."""
    failed = _failed_gate(signal, plan)
    names = list(types.GateName)
    at = len(names) if failed is None else names.index(failed.gate)
    passed = [types.GateResult(gate=name, passed=True) for name in names[:at]]
    unchecked = [types.GateResult(gate=name, passed=None) for name in names[at + 1 :]]
    return [*passed, *([] if failed is None else [failed]), *unchecked]


def _failed_gate(signal: TickerSignal, plan: Plan) -> types.GateResult | None:
    decision = signal.decision
    if decision is None:
        assert signal.gate is not None
        name = GATES.get(signal.gate, types.GateName.MARKET_DATA)
        said = sentences.GATES[signal.gate] if not signal.detail else signal.detail
        return types.GateResult(gate=name, passed=False, code=signal.gate.value, reason=sentences.error(said, plan))
    if decision.action != "NO_TRADE":
        return None
    reason = sentences.error(decision.reason, plan)
    return types.GateResult(gate=types.GateName.PROBABILITY, passed=False, code=decision.reason_code, reason=reason)


def structure_of(
    ticker: str, session: Intraday | SessionAnalysis, minutes: int, *, is_open: bool
) -> types.StructureSummary:
    """The session in short; RPE's phase 5, which a session analysis lacks, is not read. minutes: how many bars it rests on."""
    star = session.northstar
    northstar, rpe = Permission.of_northstar(ticker, session, is_open), Permission.of_rpe(ticker, session, is_open)
    return types.StructureSummary(
        direction=star.phase1.direction,
        range_state=star.phase1.range.state,
        health=star.phase2.tier,
        northstar_allowed=northstar.is_executable,
        northstar_bias=northstar.bias,
        execution_mode=star.phase4.execution_mode,
        risk=star.phase4.risk_state,
        rpe_allowed=rpe.is_executable,
        rpe_bias=rpe.bias,
        minute_bars=minutes,
    )


def _structure(state: State) -> types.StructureSummary | None:
    if state.intraday is None:
        return None
    return structure_of(state.ticker, state.intraday, state.data.minutes, is_open=state.is_open)


def swing_of(swing: Swing, days: int) -> types.SwingSummary:
    """The days in short. days: how many daily bars it rests on."""
    return types.SwingSummary(
        direction=swing.phase1.direction, allowed=swing.phase4.allowed, bias=swing.phase4.bias, daily_bars=days
    )


def _reference(model: V6Model | None, decision: Decision) -> types.ModelReference:
    return types.ModelReference(
        model_id=decision.model_id,
        artifact_sha256=None if model is None else model.artifact_sha256,
        data_end=None if model is None else model.data_end,
        in_sample=decision.in_sample,
    )
