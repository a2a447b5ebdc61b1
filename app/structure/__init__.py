"""What the market is doing: Northstar, RPE and swing, pure functions of the bars known at a moment.

Make one `view_at` per ticker and moment, then ask: `analyse` for the session, `analyse_swing` for the days. `analyse` is
`analyse_session`, which needs no model, and then `with_model`. No clock, no network, no model, no JSON: frozen dataclasses come
out, named like the fields they become.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.structure.forecast import Probabilities
from app.structure.health import health_of
from app.structure.levels import measure
from app.structure.northstar import Northstar, northstar
from app.structure.rpe import Rpe, RpePhases, rpe_phases, with_forecast
from app.structure.swing import ENOUGH_DAYS, Swing, swing
from app.structure.truth import UNRESOLVED, base_truth
from app.structure.view import ENOUGH_MINUTES, QUIET, Activity, View, view_at
from app.telemetry.stages import NULL_STAGES, Stages

__all__ = [
    "ENOUGH_DAYS",
    "ENOUGH_MINUTES",
    "QUIET",
    "Activity",
    "AnalysisQuote",
    "Intraday",
    "Northstar",
    "Probabilities",
    "Rpe",
    "RpePhases",
    "SessionAnalysis",
    "Swing",
    "View",
    "analyse",
    "analyse_session",
    "analyse_swing",
    "quote_of",
    "view_at",
    "with_model",
]


@dataclass(frozen=True, slots=True)
class AnalysisQuote:
    """What the routes put beside an analysis: USD, percent units, 2 decimals; None is unknown (rpe.md 7, N9, R12)."""

    current_price: float | None
    today_open: float | None
    today_change_pct: float | None
    bars_analyzed: int


@dataclass(frozen=True, slots=True)
class SessionAnalysis:
    """Both intraday analyses of one view, over one base truth, as far as they need no model: RPE without its phase 5."""

    quote: AnalysisQuote
    northstar: Northstar
    rpe: RpePhases


@dataclass(frozen=True, slots=True)
class Intraday:
    """Both intraday analyses of one view, over one base truth."""

    quote: AnalysisQuote
    northstar: Northstar
    rpe: Rpe


def analyse(
    symbol: str,
    view: View,
    *,
    activity: Activity = QUIET,
    v6: Probabilities | None = None,
    stages: Stages = NULL_STAGES,
) -> Intraday:
    """Northstar and RPE of the session (northstar.md, rpe.md). Below 30 minute bars both are unresolved.

    v6: the intraday model's unrounded probabilities, read by RPE's phase 5 alone.
    """
    return with_model(analyse_session(symbol, view, activity=activity, stages=stages), view, v6)


def analyse_session(
    symbol: str, view: View, *, activity: Activity = QUIET, stages: Stages = NULL_STAGES
) -> SessionAnalysis:
    """Northstar, and RPE's phases 1 to 4 (northstar.md, rpe.md)."""
    levels = measure(view) if view.resolved else None
    truth = UNRESOLVED if levels is None else base_truth(view, levels)
    health = health_of(truth, activity)
    star = northstar(symbol, view, levels, truth, health, activity)
    with stages("compute-rpe", ticker=symbol):
        phases = rpe_phases(symbol, view, levels, truth, health, activity)
    return SessionAnalysis(quote_of(view), star, phases)


def with_model(found: SessionAnalysis, view: View, v6: Probabilities | None) -> Intraday:
    """The analyses of a view with RPE's phase 5, which reads the model's probabilities (rpe.md 6)."""
    return Intraday(found.quote, found.northstar, with_forecast(found.rpe, view, v6))


def analyse_swing(symbol: str, view: View) -> Swing:
    """The swing analysis of the days (swing.md). Below 30 daily bars it is unresolved."""
    return swing(symbol, view)


def quote_of(view: View) -> AnalysisQuote:
    """Last price (of the minutes, else of the days), open and change of today (v1-contract.md 4.2, 4.4)."""
    bars = view.minutes if len(view.minutes) else view.days
    price = float(bars.c[-1]) if len(bars) else None
    opened = view.today_open
    return AnalysisQuote(
        current_price=None if price is None else round(price, 2),
        today_open=None if opened is None else round(opened, 2),
        today_change_pct=_change_pct(price, opened),
        bars_analyzed=len(view.minutes),
    )


def _change_pct(price: float | None, opened: float | None) -> float | None:
    return None if price is None or opened is None else round((price - opened) / opened * 100, 2)
