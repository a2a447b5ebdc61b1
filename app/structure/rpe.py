"""RPE: the five-phase answer on one ticker's session, put together from its phases (rpe.md 7).

Only joins: phase 1 is in measured.py, phases 2-4 in posture.py, phase 5 in forecast.py. The model's probabilities go
to phase 5 alone, so no earlier phase can depend on them, and phases 1-4 can be had before there are any.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime

from app.market.calendar import NY
from app.structure.forecast import Forecast, Probabilities, forecast_of
from app.structure.health import Health
from app.structure.levels import Levels
from app.structure.measured import MeasuredTruth, measured_truth
from app.structure.posture import Posture, SignalDensity, SignalHealth, posture_of, signal_density, signal_health
from app.structure.terms import REDUNDANT
from app.structure.truth import Truth
from app.structure.view import Activity, View


@dataclass(frozen=True, slots=True)
class ContractInfo:
    """What the answer is made for; constants of the contract (rpe.md 7)."""

    contract_version: str = "2.0"
    timezone: str = "America/New_York"
    instrument_universe: tuple[str, ...] = ("SPY", "QQQ", "IWM")
    bar_interval: str = "1min"


@dataclass(frozen=True, slots=True)
class Invariants:
    """What the answer promises; constants of the contract, kept by construction (rpe.md 7)."""

    truth_never_depends_on_decisions: bool = True
    no_repainting: bool = True
    predictions_only_in_phase5: bool = True


CONTRACT_INFO = ContractInfo()
INVARIANTS = Invariants()


@dataclass(frozen=True, slots=True)
class RpePhases:
    """Phases 1 to 4, which read no model (rpe.md 7); timestamp in New York time (N2)."""

    meta: ContractInfo = field(metadata=REDUNDANT)
    invariants: Invariants = field(metadata=REDUNDANT)
    timestamp: datetime = field(metadata=REDUNDANT)
    symbol: str = field(metadata=REDUNDANT)
    phase1_truth: MeasuredTruth
    phase2_signal_health: SignalHealth
    phase3_signal_density: SignalDensity
    phase4_execution_posture: Posture


@dataclass(frozen=True, slots=True)
class Rpe(RpePhases):
    """The whole answer (rpe.md 7)."""

    phase5_learning_forecasting: Forecast


def rpe_phases(
    symbol: str,
    view: View,
    levels: Levels | None,
    truth: Truth,
    health: Health,
    activity: Activity,
) -> RpePhases:
    """Phases 1 to 4; levels is None where the view is unresolved."""
    measured = MeasuredTruth() if levels is None else measured_truth(view.minutes, levels, truth)
    checked = signal_health(view.minutes, view.session, levels, health)
    density = signal_density(measured, activity.signals_last_10m)
    posture = posture_of(measured, checked, density)
    return RpePhases(
        meta=CONTRACT_INFO,
        invariants=INVARIANTS,
        timestamp=view.at.astimezone(NY),
        symbol=symbol,
        phase1_truth=measured,
        phase2_signal_health=checked,
        phase3_signal_density=density,
        phase4_execution_posture=posture,
    )


def with_forecast(phases: RpePhases, view: View, v6: Probabilities | None) -> Rpe:
    """The five phases of a view. v6: the model's probabilities, None without any."""
    forecast = forecast_of(view, phases.phase1_truth, phases.phase4_execution_posture, v6)
    return Rpe(
        **{each.name: getattr(phases, each.name) for each in fields(phases)}, phase5_learning_forecasting=forecast
    )
