"""From the swing probabilities of the pipeline, and the models behind them, to v2's answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.market.plan import Plan
from app.model.swing import SwingModel
from app.pipeline import HorizonOutlook, SwingOutlook
from app.signals.policy import shown_swing
from app.structure.terms import SwingDirection
from blueprints.v2 import answers


def probabilities_of(outlook: SwingOutlook, plan: Plan) -> answers.SwingProbabilities:
    """The probabilities of all horizons, each beside its base rate and what the evaluation says of it."""
    model = outlook.model
    return answers.SwingProbabilities(
        day=outlook.day,
        as_of=outlook.as_of,
        horizons=[_horizon(found, model, plan) for found in outlook.horizons.values()],
        model_id=model.model_id,
        data_end=model.data_end,
        in_sample=outlook.in_sample,
    )


def _horizon(found: HorizonOutlook, model: SwingModel, plan: Plan) -> answers.SwingHorizon:
    fitted = model.horizons.get(found.horizon)
    return answers.SwingHorizon(
        horizon=found.horizon,
        ends=found.ends,
        probability=None if found.probability is None else shown_swing(found.probability),
        base_rate=None if fitted is None else round(fitted.base_rate, 3),
        signal=SwingDirection(found.signal),
        evaluation=_evaluation(model, found.horizon) if fitted is not None and plan.market.is_real else None,
    )


def models_of(model: SwingModel) -> answers.SwingModels:
    """The models of the days."""
    about = model.metadata
    return answers.SwingModels(
        model_id=model.model_id,
        artifact_sha256=model.artifact_sha256,
        engine=about["engine_version"],
        trained_at=about["trained_at"],
        data_end=model.data_end,
        training_days=about["data"]["n_days"],
        tickers=model.tickers,
        inputs=about["feature_cols"],
        horizons=[_model_horizon(model, horizon) for horizon in model.horizons],
    )


def _model_horizon(model: SwingModel, horizon: int) -> answers.SwingModelHorizon:
    fitted, record = model.horizons[horizon], model.evaluation_of(horizon)
    return answers.SwingModelHorizon(
        horizon=horizon,
        base_rate=fitted.base_rate,
        weight=fitted.weight,
        evaluation=_evaluation(model, horizon),
        compared=[_compared(name, found) for name, found in sorted(record["baselines"].items())],
        years=[_year(int(year), found) for year, found in sorted(record["years"].items())],
    )


def _evaluation(model: SwingModel, horizon: int) -> answers.SwingEvaluation:
    record = model.evaluation_of(horizon)
    return answers.SwingEvaluation(
        span=model.metadata["evaluation"]["span"],
        days=record["n_days"],
        hit_rate=record["accuracy"],
        base_rate_hit_rate=record["base_accuracy"],
        always_up_hit_rate=record["up_accuracy"],
        log_loss=record["log_loss"],
        baseline_log_loss=record["base_log_loss"],
        skill=record["skill"],
        skill_low=record["skill_low"],
        skill_high=record["skill_high"],
        brier=record["brier"],
        expected_calibration_error=record["ece"],
        verdict=model.verdict_of(horizon),
    )


def _compared(name: str, found: Mapping[str, Any]) -> answers.SwingComparison:
    return answers.SwingComparison(
        name=name,
        hit_rate=found["accuracy"],
        log_loss=found["log_loss"],
        gain=found["gain"],
        gain_low=found["gain_low"],
        gain_high=found["gain_high"],
    )


def _year(year: int, found: Mapping[str, Any]) -> answers.SwingYear:
    return answers.SwingYear(
        year=year,
        days=found["n_days"],
        up=found["up"],
        base_rate=found["base_rate"],
        chosen=found["chosen"],
        served=found["served"],
        hit_rate=found["accuracy"],
        log_loss=found["log_loss"],
        baseline_log_loss=found["base_log_loss"],
    )
