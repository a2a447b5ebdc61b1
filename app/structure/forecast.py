"""RPE phase 5: a rule-made forecast with entry and exit levels, the only place that a model's probability may enter.

Fixed tables over the posture, blended with the intraday model's two probabilities for the rest of the day
(rpe.md 6). Learns nothing and permits nothing: what is allowed was decided in phase 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from app.errors import BrokenData
from app.structure.measured import MeasuredTruth
from app.structure.posture import Posture
from app.structure.terms import (
    REDUNDANT,
    BarrierOutcome,
    Bias,
    EntryType,
    HorizonName,
    Move,
    PlayType,
    RangeState,
    Regime,
)
from app.structure.view import View

QUARTER_HOUR_BARS, HOUR_BARS = 15, 60  # rpe.md 6.1
MOVE_PER_HOUR = 0.002  # rpe.md 6.1, a fraction of price
BLENDED_FLAT = 0.1  # rpe.md 6.1, with a model
LEANS = {Bias.LONG: 1, Bias.SHORT: -1, Bias.NEUTRAL: 0}  # rpe.md 6.1
MOVES = {Bias.LONG: Move.UP, Bias.SHORT: Move.DOWN, Bias.NEUTRAL: Move.FLAT}  # rpe.md 6.2
NEUTRAL_CONFIDENCE = 0.3  # rpe.md 6.2
ALIGNED_TREND, LONE_TREND, NO_TREND = 0.7, 0.5, 0.2  # rpe.md 6.2
ATR_SHARE = 0.01  # of price, where ATR is 0 (rpe.md 6.3)
TARGET_ATRS, STOP_ATRS = 2, 1  # rpe.md 6.3
HOLD_BARS, BARRIER_BARS = 30, 60  # rpe.md 6.3
TARGET_CHANCE, TARGET_GAIN = 0.4, 0.2  # rpe.md 6.3
OTHER_CHANCE, OTHER_LOSS = 0.3, 0.1  # rpe.md 6.3
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Probabilities:
    """What the intraday model says, unrounded, 0-1: target_a close above open, target_b close above the 11:00 price.

    A side that is missing is None. `early`: before 11:00, where target_b is no prediction and is not read (R11).
    Raises BrokenData if a probability is none.
    """

    target_a: float | None
    target_b: float | None
    early: bool

    def __post_init__(self) -> None:
        for probability in (self.target_a, self.target_b):
            if probability is not None and not 0 <= probability <= 1:
                raise BrokenData(f"model probability {probability} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class DirectionProb:
    """Chances of the three moves; they add up to 1. Named like the moves, as they are sent."""

    UP: float
    DOWN: float
    FLAT: float


@dataclass(frozen=True, slots=True)
class Horizon:
    """One span of the forecast (rpe.md 6.1). expected_move_pct is a FRACTION of price despite its name."""

    horizon_name: HorizonName
    horizon_bars: int
    direction_prob: DirectionProb
    expected_move_pct: float
    confidence: float


@dataclass(frozen=True, slots=True)
class RegimeProbs:
    """Chances of the regimes; they add up to 1 (rpe.md 6.2)."""

    TREND: float
    MR: float
    CHOP: float
    EVENT: float
    dominant: Regime


@dataclass(frozen=True, slots=True)
class NextMove:
    """phase5_learning_forecasting.forecast (rpe.md 6.2)."""

    regime_probs: RegimeProbs
    next_bar_direction: Move
    next_bar_confidence: float
    trend_strength: float


@dataclass(frozen=True, slots=True)
class OutcomeProbabilities:
    """Chances of the barrier's three ends; they add up to 1."""

    PROFIT_TARGET: float = 0.33
    STOP_LOSS: float = 0.33
    TIME_EXIT: float = 0.34


@dataclass(frozen=True, slots=True)
class TripleBarrier:
    """Entry, target and stop in USD, 0.0 where there is no entry (rpe.md 6.3)."""

    entry_price: float = 0.0
    profit_target: float = 0.0
    stop_loss: float = 0.0
    time_limit_bars: int = 0
    expected_outcome: BarrierOutcome = BarrierOutcome.PENDING
    outcome_probabilities: OutcomeProbabilities = OutcomeProbabilities()


@dataclass(frozen=True, slots=True)
class EntryExit:
    """phase5_learning_forecasting.entry_exit (rpe.md 6.3)."""

    optimal_entry_level: float = 0.0
    optimal_entry_type: EntryType = EntryType.LIMIT
    expected_hold_bars: int = 0
    triple_barrier: TripleBarrier = TripleBarrier()


@dataclass(frozen=True, slots=True)
class Forecast:
    """phase5_learning_forecasting (rpe.md 6)."""

    horizons: tuple[Horizon, Horizon, Horizon]
    forecast: NextMove
    entry_exit: EntryExit
    model_version: str = field(default="v6_time_split", metadata=REDUNDANT)
    last_training_date: None = field(default=None, metadata=REDUNDANT)


CHANCES = {  # rpe.md 6.1
    Bias.LONG: DirectionProb(UP=0.55, DOWN=0.25, FLAT=0.20),
    Bias.SHORT: DirectionProb(UP=0.25, DOWN=0.55, FLAT=0.20),
    Bias.NEUTRAL: DirectionProb(UP=0.33, DOWN=0.33, FLAT=0.34),
}
REGIMES = {  # rpe.md 6.2
    RangeState.TREND: RegimeProbs(TREND=0.6, MR=0.15, CHOP=0.15, EVENT=0.1, dominant=Regime.TREND),
    RangeState.BALANCE: RegimeProbs(TREND=0.15, MR=0.5, CHOP=0.25, EVENT=0.1, dominant=Regime.MR),
    RangeState.FAILED_EXPANSION: RegimeProbs(TREND=0.2, MR=0.2, CHOP=0.5, EVENT=0.1, dominant=Regime.CHOP),
}


def forecast_of(view: View, measured: MeasuredTruth, posture: Posture, v6: Probabilities | None) -> Forecast:
    """Phase 5 of a posture (rpe.md 6). v6: the intraday model's word, None without one."""
    return Forecast(
        horizons=(
            _horizon(HorizonName.QUARTER_HOUR, QUARTER_HOUR_BARS, posture),
            _horizon(HorizonName.HOUR, HOUR_BARS, posture),
            _end_of_day(_minutes_left(view), posture, v6),
        ),
        forecast=_next_move(measured, posture),
        entry_exit=_entry_exit(view, measured, posture),
    )


def _horizon(name: HorizonName, bars: int, posture: Posture) -> Horizon:
    bias = posture.bias.bias
    return Horizon(name, bars, CHANCES[bias], _expected_move(LEANS[bias], bars), _share(posture))


def _expected_move(lean: int, bars: int) -> float:
    return lean * MOVE_PER_HOUR * bars / HOUR_BARS


def _share(posture: Posture) -> float:
    return posture.confidence_risk.confidence / 100


def _minutes_left(view: View) -> int:
    """Whole minutes of the regular session still to come; all of them before the open (R7)."""
    if view.session is None:
        return 0
    left = view.session.close - max(view.at, view.session.open)
    return max(0, left // MINUTE)


def _end_of_day(bars: int, posture: Posture, v6: Probabilities | None) -> Horizon:
    """The rest of the session, blended with the model where it speaks (rpe.md 6.1, R7, R11)."""
    if v6 is None or v6.target_a is None:
        return _horizon(HorizonName.END_OF_DAY, bars, posture)
    up = (CHANCES[posture.bias.bias].UP + v6.target_a) / 2
    down = 1 - up - BLENDED_FLAT
    return Horizon(
        horizon_name=HorizonName.END_OF_DAY,
        horizon_bars=bars,
        direction_prob=DirectionProb(up, down, BLENDED_FLAT),
        expected_move_pct=_expected_move((up > down) - (up < down), bars),
        confidence=v6.target_a if v6.early or v6.target_b is None else (v6.target_a + v6.target_b) / 2,
    )


def _next_move(measured: MeasuredTruth, posture: Posture) -> NextMove:
    state, bias = measured.range_state.state, posture.bias.bias
    if state is RangeState.TREND:
        trend_strength = ALIGNED_TREND if measured.mtf_continuity.aligned else LONE_TREND
    else:
        trend_strength = NO_TREND
    return NextMove(
        regime_probs=REGIMES[state],
        next_bar_direction=MOVES[bias],
        next_bar_confidence=NEUTRAL_CONFIDENCE if bias is Bias.NEUTRAL else posture.bias.strength,
        trend_strength=trend_strength,
    )


def _entry_exit(view: View, measured: MeasuredTruth, posture: Posture) -> EntryExit:
    """rpe.md 6.3; nothing to enter when it is not allowed or has no side (R6)."""
    lean = LEANS[posture.bias.bias]
    if not posture.allowed or not lean:
        return EntryExit()
    price = float(view.minutes.c[-1])
    unit = lean * (measured.core12.atr_14 or ATR_SHARE * price)
    chances = _outcomes(_share(posture))
    outcome = BarrierOutcome.PROFIT_TARGET if chances.PROFIT_TARGET > chances.STOP_LOSS else BarrierOutcome.STOP_LOSS
    trending = posture.play_type.play_type is PlayType.TREND_CONTINUATION
    return EntryExit(
        optimal_entry_level=price,
        optimal_entry_type=EntryType.MARKET if trending else EntryType.LIMIT,
        expected_hold_bars=HOLD_BARS,
        triple_barrier=TripleBarrier(
            price, price + TARGET_ATRS * unit, price - STOP_ATRS * unit, BARRIER_BARS, outcome, chances
        ),
    )


def _outcomes(share: float) -> OutcomeProbabilities:
    other = OTHER_CHANCE - OTHER_LOSS * share
    return OutcomeProbabilities(TARGET_CHANCE + TARGET_GAIN * share, other, other)
