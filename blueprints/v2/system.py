"""From models, calendar and services to v2's answers about the server itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from app.errors import Unavailable
from app.market.calendar import Calendar, Session
from app.model.artefact import ENGINE_VERSION
from app.model.features import decision_hours
from app.model.scoring import LEAST_DAYS
from app.model.v6 import V6Model
from app.model.verdicts import verdict_beyond_variance, verdict_of_record
from app.pipeline import ModelRecord
from app.signals.policy import SPEC_VERSION, SUPPORTED
from app.signals.promise import Traded
from blueprints.services import Services
from blueprints.shared import sentences
from blueprints.v2 import answers, outlooks, types
from blueprints.v2.signals import hit_rate_of


def models_of(server: Services) -> answers.LoadedModels:
    models = server.pipeline.models
    return answers.LoadedModels(
        set_id=models.set_id,
        models=[_model(model, server) for model in models.models.values()],
        swing=None if models.swing is None else outlooks.models_of(models.swing),
        missing=dict(models.missing),
    )


def model_of(server: Services, ticker: str) -> answers.Model:
    """The model of one ticker. Raises Unavailable with the reason if it is not loaded."""
    models = server.pipeline.models
    model = models.models.get(ticker)
    if model is None:
        why = models.missing.get(ticker, "it is not installed")
        raise Unavailable(f"no model for {ticker}: {why}", part="models", code="MODEL_UNAVAILABLE")
    return _model(model, server)


def _model(model: V6Model, server: Services) -> answers.Model:
    about, record = model.metadata, _record(server.live_promise.of(model.ticker))
    return answers.Model(
        ticker=model.ticker,
        model_id=model.model_id,
        artifact_sha256=model.artifact_sha256,
        engine=model.engine_version,
        trained_at=about["trained_at"],
        data_end=model.data_end,
        training_days=about["data"]["n_days"],
        inputs=about["feature_cols"],
        evaluation=[_cell(cell, about["evaluation"]["span"]) for cell in about["evaluation"]["cells"]],
        pooled=[_pooled(one) for one in about["evaluation"]["pooled"] if one["target"] in tuple(types.Target)],
        record=None if isinstance(record, str) else record,
        record_reason=sentences.error(record, server.pipeline.plan) if isinstance(record, str) else None,
    )


def _record(found: ModelRecord | str) -> answers.ModelRecord | str:
    """What the record says of a model, or why that is nothing."""
    if isinstance(found, str):
        return found
    contradicts = found.evidence.contradicts
    if found.last_day is None or (found.days < LEAST_DAYS and contradicts is None):
        return (
            f"too few days for any figure: {found.days} of this model have a known outcome, and {LEAST_DAYS} are needed"
        )
    return answers.ModelRecord(
        days=found.days,
        last_day=found.last_day,
        signals=found.signals,
        signals_without_outcome=found.unknown,
        traded=None if found.traded is None else _traded(found.traded),
        contradicted_since=None if contradicts is None else contradicts.day,
        contradiction=None if contradicts is None else contradicts.side,
    )


def _traded(traded: Traded) -> answers.TradedSignals:
    interval = traded.interval
    return answers.TradedSignals(
        signals=traded.signals,
        days=traded.days,
        stated=traded.stated,
        right=traded.right,
        right_low=None if interval is None else interval.low,
        right_high=None if interval is None else interval.high,
    )


def _cell(cell: Mapping[str, Any], span: str) -> answers.Cell:
    return answers.Cell(
        **dict(hit_rate_of(cell, span)),
        log_loss=cell["log_loss"],
        baseline_log_loss=cell["b2_log_loss"],
        skill=cell["skill"],
        skill_low=cell["skill_low"],
        skill_high=cell["skill_high"],
        brier=cell["brier"],
        expected_calibration_error=cell["ece"],
        **_beyond_volatility(cell),
    )


def _pooled(figures: Mapping[str, Any]) -> answers.PooledCells:
    return answers.PooledCells(
        target=types.Target(figures["target"]),
        decisions=figures["n"],
        days=figures["days"],
        log_loss=figures["log_loss"],
        baseline_log_loss=figures["b2_log_loss"],
        skill=figures["skill"],
        skill_low=figures["skill_low"],
        skill_high=figures["skill_high"],
        verdict=verdict_of_record(figures),
        expected_calibration_error=figures["ece"],
        covered=figures["covered"],
        covered_hit_rate=figures["covered_hit_rate"],
        covered_stated=figures["covered_stated"],
        **_beyond_volatility(figures),
    )


def _beyond_volatility(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a cell, or of pooled ones, beside the random walk that is given the forecast of the volatility (B2v)."""
    return {
        "skill_beyond_volatility": record["beyond_v"],
        "skill_beyond_volatility_low": record["beyond_v_low"],
        "skill_beyond_volatility_high": record["beyond_v_high"],
        "verdict_beyond_volatility": verdict_beyond_variance(record),
    }


def calendar_of(calendar: Calendar, at: datetime, first: date, last: date) -> answers.CalendarAnswer:
    """The trading days first .. last."""
    sessions = [calendar.session(day) for day in calendar.trading_days(first, last)]
    return answers.CalendarAnswer(
        generated_at=at,
        market_open=calendar.is_open(at),
        sessions=[session_of(session) for session in sessions if session is not None],
    )


def session_of(session: Session) -> answers.Session:
    """A trading day."""
    return answers.Session(
        day=session.day,
        open=session.open,
        close=session.close,
        early_close=session.is_short,
        decision_hours=list(decision_hours(session)),
    )


def status_of(server: Services) -> answers.Status:
    at, plan, why = server.clock(), server.pipeline.plan, server.ready()
    hours = server.calendar.hours_at(at)
    return answers.Status(
        generated_at=at,
        market_open=hours.is_open,
        next_open=None if hours.is_open else hours.upcoming.open,
        source=plan.market,
        plan=plan.shown_name,
        delay_seconds=int(plan.delay.total_seconds()),
        ready=why is None,
        reason=why,
        degraded=server.degraded(),
        tickers=SUPPORTED,
        versions=types.Versions(policy=SPEC_VERSION, engine=ENGINE_VERSION),
        server=server.version,
    )
