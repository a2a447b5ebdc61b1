"""RPE phase 5: horizons, regimes, entry and exit (rpe.md 6, R6, R7, R11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import time

import pytest

from app.errors import BrokenData
from app.market.bars import no_bars
from app.market.calendar import ny
from app.structure import Probabilities, view_at
from app.structure.forecast import Forecast, forecast_of
from app.structure.measured import Core12, MeasuredRange, MeasuredTruth, MtfContinuity
from app.structure.posture import ConfidenceRisk, Play, Posture, PostureBias, StandDown
from app.structure.terms import Bias, EntryType, PlayType, RangeState
from tests.structure.making import CALENDAR, DAY, HALF_DAY, minutes, view
from tests.structure.plain import plain

AT_NOON = view(minutes([90.0] * 149 + [100.0]))  # 09:30-12:00
TREND = MeasuredTruth(
    core12=Core12(atr_14=0.5),
    range_state=MeasuredRange(state=RangeState.TREND),
    mtf_continuity=MtfContinuity(aligned=True),
)


def standing(bias: Bias, *, allowed: bool = True, play: PlayType = PlayType.SCALP) -> Posture:
    return Posture(
        stand_down_logic=StandDown(),
        bias=PostureBias(bias, 0.7),
        play_type=Play(play),
        confidence_risk=ConfidenceRisk(confidence=80),
        allowed=allowed,
    )


def forecast(bias: Bias = Bias.LONG, v6: Probabilities | None = None, measured: MeasuredTruth = TREND) -> Forecast:
    return forecast_of(AT_NOON, measured, standing(bias), v6)


@pytest.mark.parametrize(
    ("bias", "chances", "sign"),
    [(Bias.LONG, (0.55, 0.25, 0.20), 1), (Bias.SHORT, (0.25, 0.55, 0.20), -1), (Bias.NEUTRAL, (0.33, 0.33, 0.34), 0)],
)
def test_horizons_come_from_the_bias(bias: Bias, chances: tuple[float, float, float], sign: int) -> None:
    found = forecast(bias).horizons
    assert [horizon.horizon_name for horizon in found] == ["15m", "1h", "EOD"]
    assert [horizon.horizon_bars for horizon in found] == [15, 60, 240]
    for horizon in found:
        assert tuple(plain(horizon.direction_prob).values()) == chances
        assert horizon.confidence == 0.8
    moves = [horizon.expected_move_pct for horizon in found]
    assert moves == pytest.approx([sign * 0.0005, sign * 0.002, sign * 0.008])


@pytest.mark.parametrize(
    ("day", "clock", "left"),
    [
        (DAY, time(8, 0), 390),
        (DAY, time(9, 30), 390),
        (DAY, time(15, 59, 30), 0),
        (DAY, time(18, 0), 0),
        (HALF_DAY, time(12, 0), 60),
    ],
)
def test_the_end_of_day_is_as_far_as_the_close(day: object, clock: time, left: int) -> None:
    session = CALENDAR.session(day)  # type: ignore[arg-type]
    assert session is not None
    seen = view_at(no_bars(), no_bars(), session, ny(session.day, clock))
    assert forecast_of(seen, TREND, standing(Bias.LONG, allowed=False), None).horizons[2].horizon_bars == left


def test_without_a_session_nothing_of_the_day_is_left() -> None:
    seen = view_at(no_bars(), no_bars(), None, ny(DAY, time(12)))
    assert forecast_of(seen, TREND, standing(Bias.LONG, allowed=False), None).horizons[2].horizon_bars == 0


@pytest.mark.parametrize(
    ("v6", "up", "confidence", "sign"),
    [
        (Probabilities(0.9, 0.7, early=False), (0.55 + 0.9) / 2, 0.8, 1),
        (Probabilities(0.9, 0.7, early=True), (0.55 + 0.9) / 2, 0.9, 1),
        (Probabilities(0.9, None, early=False), (0.55 + 0.9) / 2, 0.9, 1),
        (Probabilities(0.1, 0.2, early=False), (0.55 + 0.1) / 2, 0.15, -1),
    ],
)
def test_a_model_blends_into_the_end_of_day_alone(v6: Probabilities, up: float, confidence: float, sign: int) -> None:
    found, without = forecast(v6=v6), forecast()
    assert found.horizons[:2] == without.horizons[:2]
    assert found.forecast == without.forecast
    last = found.horizons[2]
    assert plain(last.direction_prob) == pytest.approx({"UP": up, "DOWN": 0.9 - up, "FLAT": 0.1})
    assert last.confidence == pytest.approx(confidence)
    assert last.expected_move_pct == pytest.approx(sign * 0.008)


def test_a_model_without_target_a_is_no_model() -> None:
    assert forecast(v6=Probabilities(None, 0.9, early=False)) == forecast()


@pytest.mark.parametrize("probability", [float("nan"), -0.1, 1.1, float("inf")])
def test_what_is_no_probability_is_broken_data(probability: float) -> None:
    with pytest.raises(BrokenData):
        Probabilities(probability, None, early=True)
    with pytest.raises(BrokenData):
        Probabilities(0.5, probability, early=False)


@pytest.mark.parametrize(
    ("state", "aligned", "dominant", "chances", "strength"),
    [
        ("TREND", True, "TREND", (0.6, 0.15, 0.15, 0.1), 0.7),
        ("TREND", False, "TREND", (0.6, 0.15, 0.15, 0.1), 0.5),
        ("BALANCE", True, "MR", (0.15, 0.5, 0.25, 0.1), 0.2),
        ("FAILED_EXPANSION", True, "CHOP", (0.2, 0.2, 0.5, 0.1), 0.2),
    ],
)
def test_regimes_come_from_the_range(
    state: str, aligned: bool, dominant: str, chances: tuple[float, ...], strength: float
) -> None:
    measured = MeasuredTruth(
        range_state=MeasuredRange(state=RangeState(state)), mtf_continuity=MtfContinuity(aligned=aligned)
    )
    found = forecast(measured=measured).forecast
    probs = plain(found.regime_probs)
    assert probs.pop("dominant") == dominant
    assert tuple(probs.values()) == chances
    assert sum(probs.values()) == pytest.approx(1.0)
    assert found.trend_strength == strength


@pytest.mark.parametrize(
    ("bias", "move", "confidence"), [("LONG", "UP", 0.7), ("SHORT", "DOWN", 0.7), ("NEUTRAL", "FLAT", 0.3)]
)
def test_the_next_bar_follows_the_bias(bias: str, move: str, confidence: float) -> None:
    found = forecast(Bias(bias)).forecast
    assert (found.next_bar_direction, found.next_bar_confidence) == (move, confidence)


@pytest.mark.parametrize(("bias", "target", "stop"), [(Bias.LONG, 101.0, 99.5), (Bias.SHORT, 99.0, 100.5)])
def test_the_barrier_is_two_atrs_against_one(bias: Bias, target: float, stop: float) -> None:
    found = forecast(bias).entry_exit
    barrier = found.triple_barrier
    assert (found.optimal_entry_level, found.expected_hold_bars) == (100.0, 30)
    assert (barrier.entry_price, barrier.profit_target, barrier.stop_loss) == (100.0, target, stop)
    assert (barrier.time_limit_bars, barrier.expected_outcome) == (60, "PROFIT_TARGET")
    chances = {"PROFIT_TARGET": 0.56, "STOP_LOSS": 0.22, "TIME_EXIT": 0.22}
    assert plain(barrier.outcome_probabilities) == pytest.approx(chances)


def test_without_atr_the_barrier_is_in_percents() -> None:
    barrier = forecast(measured=replace(TREND, core12=Core12())).entry_exit.triple_barrier
    assert (barrier.profit_target, barrier.stop_loss) == (102.0, 99.0)


def test_only_a_trend_is_entered_at_the_market() -> None:
    trending = forecast_of(AT_NOON, TREND, standing(Bias.LONG, play=PlayType.TREND_CONTINUATION), None)
    assert trending.entry_exit.optimal_entry_type is EntryType.MARKET
    assert forecast().entry_exit.optimal_entry_type is EntryType.LIMIT


@pytest.mark.parametrize("posture", [standing(Bias.LONG, allowed=False), standing(Bias.NEUTRAL)])
def test_without_permission_or_side_there_is_no_entry(posture: Posture) -> None:
    found = forecast_of(AT_NOON, TREND, posture, None).entry_exit
    assert (found.optimal_entry_level, found.expected_hold_bars) == (0.0, 0)
    assert found.triple_barrier.expected_outcome == "PENDING"
