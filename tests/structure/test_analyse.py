"""The two doors of the package: what `analyse` and `analyse_swing` put together."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from datetime import time

import pytest

from app.market.bars import no_bars
from app.structure import Activity, Probabilities, analyse, analyse_swing, quote_of
from app.structure.measured import MeasuredTruth
from tests.structure.making import days, minutes, night, view
from tests.structure.plain import plain

UP = [100.0 + i / 10 for i in range(60)]
DAILY_UP = [50.0 + i for i in range(50)]
LOUD = [1000.0] * 55 + [5000.0] * 5


def test_both_engines_read_one_truth() -> None:
    found = analyse("SPY", view(minutes(UP, v=LOUD), days(DAILY_UP), opened=100.0))
    ours, theirs = found.northstar.phase1, found.rpe.phase1_truth
    assert ours.range.state is theirs.range_state.state
    assert ours.participation.conviction is theirs.participation.conviction
    assert found.northstar.phase2.dimensions is found.rpe.phase2_signal_health.conditions
    assert found.northstar.timestamp == found.rpe.timestamp
    assert found.northstar.symbol == found.rpe.symbol == "SPY"


def test_a_model_changes_phase_five_alone() -> None:
    seen = view(minutes(UP, v=LOUD), days(DAILY_UP), opened=100.0)
    bare = analyse("SPY", seen)
    told = analyse("SPY", seen, v6=Probabilities(0.9, 0.8, early=False))
    assert told.northstar == bare.northstar
    assert replace(told.rpe, phase5_learning_forecasting=bare.rpe.phase5_learning_forecasting) == bare.rpe
    assert told.rpe.phase5_learning_forecasting != bare.rpe.phase5_learning_forecasting


def test_signals_of_the_last_minutes_reach_both_engines() -> None:
    seen = view(minutes(UP, v=LOUD), days(DAILY_UP), opened=100.0)
    found = analyse("SPY", seen, activity=Activity(signals_last_10m=4))
    assert found.northstar.phase3.density_score == 60
    assert found.rpe.phase3_signal_density.cooldown.active
    assert found.rpe.phase3_signal_density.budget.used_today == 4


@pytest.mark.parametrize("count", [0, 1, 29])
def test_below_thirty_bars_both_are_unresolved(count: int) -> None:
    bars = minutes(UP[:count]) if count else no_bars()
    seen = view(bars, days(DAILY_UP), at=view(minutes(UP)).at)
    found = analyse("SPY", seen)
    assert not seen.resolved
    assert not found.northstar.phase1.resolved
    rpe = found.rpe
    assert rpe.phase1_truth == MeasuredTruth()
    assert rpe.phase1_truth.core12.relative_volume == 1.0
    assert rpe.phase2_signal_health.tier == "HEALTHY"
    assert rpe.phase2_signal_health.integrity.data_quality_score == (100 if count else 0)
    assert rpe.phase4_execution_posture.stand_down_logic.active
    assert rpe.phase5_learning_forecasting.entry_exit.optimal_entry_level == 0.0


def test_the_quote_rounds_price_open_and_change() -> None:
    quote = quote_of(view(minutes([*UP[:59], 105.905]), days(DAILY_UP), opened=100.004))
    assert (quote.current_price, quote.today_open, quote.bars_analyzed) == (round(105.905, 2), 100.0, 60)
    assert quote.today_change_pct == round((105.905 - 100.004) / 100.004 * 100, 2)


def test_no_change_is_zero_not_unknown() -> None:
    assert quote_of(view(minutes([100.0] * 30), opened=100.0)).today_change_pct == 0.0


def test_what_is_unknown_is_none() -> None:
    before = quote_of(view(minutes(UP, start=time(8, 0)), days(DAILY_UP)))
    assert (before.today_open, before.today_change_pct) == (None, None)
    nothing = quote_of(view(no_bars(), no_bars(), at=view(minutes(UP)).at))
    assert (nothing.current_price, nothing.bars_analyzed) == (None, 0)
    assert quote_of(night(days(DAILY_UP))).current_price == 99.0


def test_answers_are_frozen() -> None:
    found = analyse("SPY", view(minutes(UP)))
    with pytest.raises(FrozenInstanceError):
        found.northstar.phase4.allowed = True  # type: ignore[misc]


def test_names_are_those_of_the_specification() -> None:
    found = analyse("SPY", view(minutes(UP), days(DAILY_UP), opened=100.0))
    northstar, rpe = plain(found.northstar), plain(found.rpe)
    assert set(northstar) == {"timestamp", "symbol", "phase1", "phase2", "phase3", "phase4"}
    assert set(northstar["phase1"]) == {
        *("resolved", "direction", "dominant_timeframe", "confidence_band", "acceptance", "range", "mtf"),
        *("participation", "memory", "failure", "key_levels", "volatility_expansion"),
    }
    assert set(rpe) == {
        *("meta", "invariants", "timestamp", "symbol", "phase1_truth", "phase2_signal_health"),
        *("phase3_signal_density", "phase4_execution_posture", "phase5_learning_forecasting"),
    }
    assert rpe["meta"]["instrument_universe"] == ["SPY", "QQQ", "IWM"]
    assert all(rpe["invariants"].values())
    swing = plain(analyse_swing("SPY", night(days(DAILY_UP))))
    assert set(swing) == {"timestamp", "symbol", "timeframe", "phase1", "phase2", "phase3", "phase4", "v6_swing"}
