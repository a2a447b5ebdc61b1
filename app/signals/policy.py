"""The signal policy (policy.md): probabilities to action, size and levels. One set of numbers for live, replay and
evaluation. Pure: a decision is a function of its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal

import numpy as np

from app.market.bars import Bars
from app.market.calendar import Session
from app.model.features import LATE_FROM, Features
from app.model.ranges import PriceRange
from app.model.v6 import Prediction

SPEC_VERSION = "2026-01-03"
"""Date of the last change of any number below (policy.md 12); a test holds the two together."""

SUPPORTED = ("SPY", "QQQ", "IWM")
FEAR_TICKER = "VIXY"

SessionName = Literal["early", "late"]
Action = Literal["LONG", "SHORT", "NO_TRADE"]
SwingSignal = Literal["BULLISH", "BEARISH", "NEUTRAL"]

LONG_ABOVE, SHORT_BELOW = 0.75, 0.25
EDGE = 0.001
"""Distance from a threshold, and from 0 and 1, that a shown probability keeps (policy.md 4)."""

SWING_ABOVE, SWING_BELOW = 0.80, 0.20
"""Thresholds of the swing signals, strict (policy.md 11)."""

BUCKETS = ((0.90, "very_strong", 1.00), (0.85, "strong", 0.75), (0.80, "moderate", 0.50), (LONG_ABOVE, "weak", 0.25))
"""(p of the favoured side from, name, size multiplier); the last one from above its edge (policy.md 5)."""

VERY_HIGH, MEDIUM = 0.85, 0.60
"""Edges of `confidence_tier` (policy.md 5)."""

MARKET_ORDERS = ("very_strong", "strong")
HOUR_MULTIPLIERS = {10: 0.7, 11: 0.7, 12: 1.0, 13: 1.2, 14: 1.2, 15: 0.8}
BEFORE_TEN, AFTER_CLOSE = 0.7, 0.5
AGREE, DISAGREE, UNDECIDED = 1.2, 0.6, 1.0
BASE_PCT, CAP_PCT = 25.0, 50.0
RISK_MULTIPLIER = 1.0
"""Constant in v1 (policy.md 7): no generation of the existing app applied a risk state."""

LIMIT_ATR_SHARE = 0.25
ATR_DAYS = 14
DAY_LEVEL = 0.8
"""The level of the forecast range that the daily signal aims at: four of five days go no further (v6.md 10)."""
TIME_STOP_BEFORE_CLOSE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class ExitDistances:
    """Distances from the decision price, as shares of it (policy.md 8)."""

    take_profit: float
    stop_loss: float


EXIT_DISTANCES: Mapping[str, ExitDistances] = {
    "SPY": ExitDistances(0.0025, 0.0033),
    "QQQ": ExitDistances(0.0034, 0.0045),
    "IWM": ExitDistances(0.0045, 0.0060),
}


class Gate(StrEnum):
    """Why there is no signal; the values are v1's reason codes (policy.md 3, ruling M7)."""

    MARKET_CLOSED = "MARKET_CLOSED"
    UNSUPPORTED_TICKER = "UNSUPPORTED_TICKER"
    MISSING_DAILY_BAR = "MISSING_DAILY_BAR"
    MISSING_DAILY_OPEN = "MISSING_DAILY_OPEN"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"
    NO_MARKET_DATA = "NO_MARKET_DATA"
    DATA_FETCH_ERROR = "DATA_FETCH_ERROR"
    RATE_LIMITED = "RATE_LIMITED"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"

    @property
    def is_fault(self) -> bool:
        """Whether the answer carries an `error`: something broke, rather than the market having nothing to say."""
        return self in (Gate.UNSUPPORTED_TICKER, Gate.DATA_FETCH_ERROR, Gate.RATE_LIMITED, Gate.MODEL_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is locked for a decision hour: everything but what floats with the price (policy.md 10).

    p_a, p_b    raw probabilities; the active one is p_a in the early session, p_b in the late one
    price       P, USD, the decision price; levels are in USD, unrounded, None with NO_TRADE (ruling S5)
    position_pct  per cent of capital, 1 decimal
    ranges      where the price stays until the close, USD, unrounded; none in records from before there were any
    """

    ticker: str
    day: date
    hour: int
    session: SessionName
    action: Action
    reason_code: Literal["SIGNAL", "NEUTRAL_ZONE"]
    reason: str
    p_a: float
    p_b: float
    bucket: str
    time_multiplier: float
    agreement: float
    position_pct: float
    price: float
    today_open: float
    price_11am: float | None
    take_profit: float | None
    stop_loss: float | None
    entry_type: Literal["MARKET", "LIMIT"] | None
    entry_price: float | None
    time_limit: datetime
    bars_analyzed: int
    model_id: str
    engine_version: str
    spec_version: str
    features_sha256: str
    in_sample: bool
    locked_at: datetime
    expires_at: datetime
    ranges: tuple[PriceRange, ...] = ()

    @property
    def p_active(self) -> float:
        return self.p_a if self.session == "early" else self.p_b

    def range_at(self, level: float) -> PriceRange | None:
        """The forecast range of a level, where there is one."""
        return next((found for found in self.ranges if found.level == level), None)

    @property
    def score(self) -> float:
        """What tickers are ranked by (policy.md 9); 0 without a trade."""
        return 0.0 if self.action == "NO_TRADE" else abs(self.p_active - 0.5) * self.agreement * self.time_multiplier


@dataclass(frozen=True, slots=True)
class Basis:
    """What a decision rests on besides the probabilities."""

    ticker: str
    session: Session
    hour: int
    features: Features
    official_open: float
    atr: float | None
    model_id: str
    engine_version: str
    in_sample: bool
    locked_at: datetime
    expires_at: datetime


def decide(basis: Basis, prediction: Prediction) -> Decision:
    """The decision of an hour. Gates come before this (pipeline); the neutral zone is in it."""
    name = session_of_hour(basis.hour)
    p = prediction.p_a if name == "early" else prediction.p_b
    action = action_of(p)
    bucket, size = bucket_of(p)
    time_multiplier, agreement = time_multiplier_of(basis.hour), agreement_of(prediction)
    price = basis.features.price
    take_profit, stop_loss = exit_levels(basis.ticker, action, price)
    entry_type, entry_price = entry(action, bucket, price, basis.atr)
    return Decision(
        ticker=basis.ticker,
        day=basis.session.day,
        hour=basis.hour,
        session=name,
        action=action,
        reason_code="NEUTRAL_ZONE" if action == "NO_TRADE" else "SIGNAL",
        reason=_reason(action, name, p, bucket, basis.hour),
        p_a=prediction.p_a,
        p_b=prediction.p_b,
        bucket=bucket,
        time_multiplier=time_multiplier,
        agreement=agreement,
        position_pct=position_pct(p, size, time_multiplier, agreement),
        price=price,
        today_open=basis.official_open,
        price_11am=basis.features.price_11am,
        take_profit=take_profit,
        stop_loss=stop_loss,
        entry_type=entry_type,
        entry_price=entry_price,
        time_limit=time_stop(basis.session),
        bars_analyzed=basis.features.bars,
        model_id=basis.model_id,
        engine_version=basis.engine_version,
        spec_version=SPEC_VERSION,
        features_sha256=basis.features.sha256,
        in_sample=basis.in_sample,
        locked_at=basis.locked_at,
        expires_at=basis.expires_at,
        ranges=prediction.ranges,
    )


def session_of_hour(hour: int) -> SessionName:
    """By the New York wall-clock hour alone, open or closed (policy.md 2)."""
    return "early" if hour < LATE_FROM else "late"


def action_of(p: float) -> Action:
    """Strict thresholds: a probability on the edge does not trade (policy.md 4)."""
    if p > LONG_ABOVE:
        return "LONG"
    return "SHORT" if p < SHORT_BELOW else "NO_TRADE"


def shown_active(p: float) -> float:
    """The active probability as emitted: 3 decimals that lead every client to the same action, whether it compares with
    `>` or `>=` (policy.md 4)."""
    return _shown(p, LONG_ABOVE, SHORT_BELOW)


def _shown(p: float, above: float, below: float) -> float:
    """3 decimals, off 0 and 1, and off the thresholds on the side on which the unrounded probability is."""
    if p > above:
        low, high = above + EDGE, 1 - EDGE
    elif p < below:
        low, high = EDGE, below - EDGE
    else:
        low, high = below + EDGE, above - EDGE
    return round(min(high, max(low, round(p, 3))), 3)


def swing_signal_of(p: float) -> SwingSignal:
    """What a swing probability says; it is not for trading within the day (policy.md 11)."""
    if p > SWING_ABOVE:
        return "BULLISH"
    return "BEARISH" if p < SWING_BELOW else "NEUTRAL"


def shown_swing(p: float) -> float:
    """A swing probability as emitted: 3 decimals on its own side of the thresholds, whatever a client compares with."""
    return _shown(p, SWING_ABOVE, SWING_BELOW)


def shown_other(p: float) -> float:
    """A probability that is not the active one as emitted: 3 decimals, off 0 and 1."""
    return round(min(1 - EDGE, max(EDGE, round(p, 3))), 3)


def bucket_of(p: float) -> tuple[str, float]:
    """Name and size multiplier of a raw active probability (policy.md 5)."""
    if action_of(p) == "NO_TRADE":
        return "neutral", 0.0
    side = "bull" if p > 0.5 else "bear"
    for edge, name, size in BUCKETS:
        if _reaches(p, edge):
            return f"{name}_{side}", size
    raise AssertionError("every probability outside the neutral zone has a bucket")


def _reaches(p: float, edge: float) -> bool:
    """Whether the favoured side's probability is at least `edge`, the same on both sides."""
    return p >= edge or p <= round(1 - edge, 2)


def confidence_tier(p: float | None) -> str:
    """`very_high` .. `low` of an active probability; `low` where there is none."""
    if p is None:
        return "low"
    if _reaches(p, VERY_HIGH):
        return "very_high"
    if action_of(p) != "NO_TRADE":
        return "high"
    return "medium" if _reaches(p, MEDIUM) else "low"


def confidence(p: float, action: Action) -> int:
    """0-100: distance from a coin, truncated; 0 without a trade."""
    return 0 if action == "NO_TRADE" else int(abs(p - 0.5) * 200)


def time_multiplier_of(hour: int) -> float:
    """By the New York hour of the decision (policy.md 6)."""
    if hour < min(HOUR_MULTIPLIERS):
        return BEFORE_TEN
    return HOUR_MULTIPLIERS.get(hour, AFTER_CLOSE)


def agreement_of(prediction: Prediction) -> float:
    """Whether both targets point the same way (policy.md 7)."""
    a, b = prediction.p_a - 0.5, prediction.p_b - 0.5
    if a * b == 0:
        return UNDECIDED
    return AGREE if a * b > 0 else DISAGREE


def position_pct(p: float, size: float, time_multiplier: float, agreement: float) -> float:
    """Per cent of capital, one decimal; 0 where the size multiplier is 0 (policy.md 7)."""
    product = BASE_PCT * (0.5 + abs(p - 0.5)) * size * time_multiplier * agreement * RISK_MULTIPLIER
    return round(min(CAP_PCT, product), 1)


def exit_levels(ticker: str, action: Action, price: float) -> tuple[float | None, float | None]:
    """(take profit, stop loss), USD, unrounded; None without a trade (policy.md 8)."""
    if action == "NO_TRADE":
        return None, None
    sign = 1 if action == "LONG" else -1
    distance = EXIT_DISTANCES[ticker]
    return price * (1 + sign * distance.take_profit), price * (1 - sign * distance.stop_loss)


def entry(
    action: Action, bucket: str, price: float, atr: float | None
) -> tuple[Literal["MARKET", "LIMIT"] | None, float | None]:
    """How to enter: at the market when strong, else a limit a quarter of the daily ATR better (policy.md 8)."""
    if action == "NO_TRADE":
        return None, None
    if atr is None or bucket.startswith(MARKET_ORDERS):
        return "MARKET", price
    sign = 1 if action == "LONG" else -1
    return "LIMIT", price - sign * LIMIT_ATR_SHARE * atr


def atr(daily: Bars) -> float | None:
    """Mean true range of the last 14 daily bars, USD; None if fewer than 15 are known."""
    if len(daily) < ATR_DAYS + 1:
        return None
    x = daily[len(daily) - ATR_DAYS - 1 :]
    before = x.c[:-1]
    ranges = np.maximum(x.h[1:] - x.l[1:], np.maximum(np.abs(x.h[1:] - before), np.abs(x.l[1:] - before)))
    return float(ranges.mean())


def time_stop(session: Session) -> datetime:
    """When a position is closed at the latest: 15:50, on early closes 12:50 (policy.md 8)."""
    return session.close - TIME_STOP_BEFORE_CLOSE


def best(decisions: Sequence[Decision]) -> Decision | None:
    """The actionable decision with the highest score; ties by the order SPY, QQQ, IWM (policy.md 9)."""
    return max(actionable(decisions), key=lambda d: d.score, default=None)


def actionable(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions that trade, in the order SPY, QQQ, IWM."""
    return sorted((d for d in decisions if d.action != "NO_TRADE"), key=lambda d: SUPPORTED.index(d.ticker))


def _reason(action: Action, session: SessionName, p: float, bucket: str, hour: int) -> str:
    """In words. The percentage is the probability as it is emitted; a SHORT's is that of its own side."""
    target = "above its open" if session == "early" else "above its 11:00 price"
    shown = shown_active(p)
    if action == "SHORT":
        chance = f"{(1 - shown) * 100:.1f}% that it does not close {target}"
    else:
        chance = f"{shown * 100:.1f}% that it closes {target}"
    if action == "NO_TRADE":
        return f"Neutral at {hour}:00: {chance}, between the thresholds of 25% and 75%."
    return f"{action} since {hour}:00: {chance} ({bucket.replace('_', ' ')})."
