"""From the states of the pipeline to v2's analyses of the session and of the days."""

from __future__ import annotations

from typing import Any

from app.errors import PredictError
from app.market.calendar import TradingHours
from app.market.plan import Plan
from app.pipeline import State, SwingOutlook
from app.structure import ENOUGH_DAYS
from blueprints.shared import sentences
from blueprints.shared.values import age_s, change_pct
from blueprints.v2 import answers
from blueprints.v2.outlooks import probabilities_of
from blueprints.v2.signals import freshness_of


def structure_of(state: State, hours: TradingHours, plan: Plan) -> answers.Structure:
    """Both analyses of the session."""
    intraday = state.intraday
    return answers.Structure(
        **_dated(state, hours, plan),
        price=state.data.today_price,
        session_open=state.data.today_open,
        change_percent=change_pct(state.data.today_price, state.data.today_open),
        minute_bars=state.data.minutes,
        northstar=None if intraday is None else intraday.northstar,
        rpe=None if intraday is None else intraday.rpe,
        reason=None if intraday is not None else _why_no_session(state, hours, plan),
    )


def swing_of(
    state: State, outlook: SwingOutlook | PredictError, hours: TradingHours, plan: Plan
) -> answers.SwingAnswer:
    """The analysis of the days, and the probabilities beside it."""
    return answers.SwingAnswer(
        **_dated(state, hours, plan),
        price=state.data.price,
        daily_bars=state.data.days,
        swing=state.swing,
        reason=None if state.swing is not None else _why_no_swing(state, plan),
        probabilities=probabilities_of(outlook, plan) if isinstance(outlook, SwingOutlook) else None,
        probabilities_reason=None if isinstance(outlook, SwingOutlook) else sentences.error(outlook.message, plan),
    )


def _dated(state: State, hours: TradingHours, plan: Plan) -> dict[str, Any]:
    """What both analyses share: of which ticker they are, and how old."""
    return {
        "ticker": state.ticker,
        "generated_at": hours.at,
        "as_of": state.as_of,
        "age_seconds": age_s(state.as_of, hours.at),
        "freshness": freshness_of(state, hours, plan),
        "source": plan.market,
    }


def _why_no_session(state: State, hours: TradingHours, plan: Plan) -> str:
    if state.data.broken is not None:
        return sentences.error(state.data.broken.message, plan)
    return sentences.too_few_minutes(state.data.minutes, hours, plan)


def _why_no_swing(state: State, plan: Plan) -> str:
    if state.data.fault is not None:
        return sentences.error(state.data.fault.message, plan)
    return sentences.error(f"{state.data.days} daily bars are known; {ENOUGH_DAYS} are needed", plan)
