"""policy.md as numbers: thresholds, rounding, buckets, sizing, levels, ranking."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.market.bars import Span
from app.model.features import Features
from app.model.v6 import Prediction
from app.signals import policy
from app.signals.lock import validity
from app.signals.policy import Basis, Decision, decide
from tests.support import CALENDAR, some_bars

DAY = date(2025, 3, 11)
POLICY_FINGERPRINT = ("2026-01-03", "9ec5166d")


def basis(hour: int = 13, ticker: str = "SPY", price: float = 100.0, atr: float | None = 2.0) -> Basis:
    session = CALENDAR.session(DAY)
    assert session is not None
    features = Features(np.zeros(29), np.zeros(32), price, None if hour < 11 else 99.0, 0.01, 42)
    return Basis(ticker, session, hour, features, 98.0, atr, "v6-test", "V6.1", False, *validity(session, hour))


def decision(p_a: float, p_b: float = 0.5, hour: int = 13, **more: object) -> Decision:
    return decide(basis(hour, **more), Prediction(p_a, p_b))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("p", "action"),
    [
        (0.75, "NO_TRADE"),
        (0.25, "NO_TRADE"),
        (0.7500000001, "LONG"),
        (0.2499999999, "SHORT"),
        (0.7499999999, "NO_TRADE"),
        (0.2500000001, "NO_TRADE"),
        (0.5, "NO_TRADE"),
        (math.nextafter(0.75, 1), "LONG"),
        (math.nextafter(0.25, 0), "SHORT"),
    ],
)
def test_neutral_zone_is_closed_at_both_ends(p: float, action: str) -> None:
    assert decision(0.5, p).action == action
    assert decision(p, 0.5, hour=10).action == action


def test_early_trades_on_a_and_late_on_b() -> None:
    assert decision(0.9, 0.5, hour=10).action == "LONG"
    assert decision(0.9, 0.5, hour=11).action == "NO_TRADE"
    assert decision(0.5, 0.1, hour=11).action == "SHORT"
    assert decision(0.5, 0.1, hour=10).action == "NO_TRADE"


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (0.75, 0.749),
        (0.25, 0.251),
        (0.7496, 0.749),
        (0.7500000001, 0.751),
        (0.2499999999, 0.249),
        (0.9999, 0.999),
        (0.00001, 0.001),
        (0.5555, 0.555),
        (0.61449, 0.614),
    ],
)
def test_shown_probability(p: float, shown: float) -> None:
    assert policy.shown_active(p) == shown


@given(st.floats(min_value=1e-9, max_value=1 - 1e-9))
def test_every_client_side_derivation_agrees_with_the_server(p: float) -> None:
    shown, action = policy.shown_active(p), policy.action_of(p)
    inclusive = "LONG" if shown >= 0.75 else "SHORT" if shown <= 0.25 else "NO_TRADE"
    strict = "LONG" if shown > 0.75 else "SHORT" if shown < 0.25 else "NO_TRADE"
    assert inclusive == strict == action
    assert 0 < shown < 1
    assert abs(shown - min(0.999, max(0.001, p))) <= 0.001 + 1e-12
    assert 0 < policy.shown_other(p) < 1
    assert round(shown, 3) == shown


@given(st.floats(min_value=1e-6, max_value=1 - 1e-6))
def test_neutral_bucket_if_and_only_if_no_trade(p: float) -> None:
    bucket, size = policy.bucket_of(p)
    assert (bucket == "neutral") == (policy.action_of(p) == "NO_TRADE") == (size == 0)


@pytest.mark.parametrize(
    ("p", "bucket", "size"),
    [
        (0.90, "very_strong_bull", 1.0),
        (0.8999, "strong_bull", 0.75),
        (0.85, "strong_bull", 0.75),
        (0.8499, "moderate_bull", 0.5),
        (0.80, "moderate_bull", 0.5),
        (0.7999, "weak_bull", 0.25),
        (0.75, "neutral", 0),
        (0.25, "neutral", 0),
        (0.2001, "weak_bear", 0.25),
        (0.20, "moderate_bear", 0.5),
        (0.15, "strong_bear", 0.75),
        (0.10, "very_strong_bear", 1.0),
    ],
)
def test_buckets_are_symmetric(p: float, bucket: str, size: float) -> None:
    assert policy.bucket_of(p) == (bucket, size)


@pytest.mark.parametrize(
    ("p", "tier"),
    [
        (0.85, "very_high"),
        (0.15, "very_high"),
        (0.76, "high"),
        (0.24, "high"),
        (0.75, "medium"),
        (0.60, "medium"),
        (0.40, "medium"),
        (0.59, "low"),
        (None, "low"),
    ],
)
def test_confidence_tiers(p: float | None, tier: str) -> None:
    assert policy.confidence_tier(p) == tier


def test_confidence_is_truncated_and_zero_without_a_trade() -> None:
    assert policy.confidence(0.7788, "LONG") == 55
    assert policy.confidence(0.2, "SHORT") == 60
    assert policy.confidence(0.7, "NO_TRADE") == 0


@pytest.mark.parametrize(
    ("hour", "multiplier"),
    [(4, 0.7), (9, 0.7), (10, 0.7), (11, 0.7), (12, 1.0), (13, 1.2), (14, 1.2), (15, 0.8), (16, 0.5), (23, 0.5)],
)
def test_time_multiplier_by_hour(hour: int, multiplier: float) -> None:
    assert policy.time_multiplier_of(hour) == multiplier


@pytest.mark.parametrize(
    ("p_a", "p_b", "multiplier"),
    [(0.6, 0.9, 1.2), (0.4, 0.1, 1.2), (0.6, 0.4, 0.6), (0.4, 0.6, 0.6), (0.9, 0.5, 1.0), (0.5, 0.9, 1.0)],
)
def test_agreement(p_a: float, p_b: float, multiplier: float) -> None:
    assert policy.agreement_of(Prediction(p_a, p_b)) == multiplier


def test_position_is_the_product_to_one_decimal_capped_at_fifty() -> None:
    assert decision(0.6, 0.8, hour=13).position_pct == round(25 * 0.8 * 0.5 * 1.2 * 1.2, 1)
    assert decision(0.9, 0.5, hour=10).position_pct == round(25 * 0.9 * 1.0 * 0.7 * 1.0, 1)
    assert policy.position_pct(0.99, 4.0, 1.2, 1.2) == 50.0
    assert decision(0.6, 0.6).position_pct == 0


@pytest.mark.parametrize(
    ("ticker", "tp", "sl"), [("SPY", 0.0025, 0.0033), ("QQQ", 0.0034, 0.0045), ("IWM", 0.0045, 0.006)]
)
def test_levels_come_from_the_decision_price_and_mirror(ticker: str, tp: float, sl: float) -> None:
    long, short = decision(0.6, 0.9, ticker=ticker), decision(0.4, 0.1, ticker=ticker)
    assert (long.take_profit, long.stop_loss) == (100 * (1 + tp), 100 * (1 - sl))
    assert (short.take_profit, short.stop_loss) == (100 * (1 - tp), 100 * (1 + sl))


@pytest.mark.parametrize("p", [0.5, 0.75, 0.25, 0.76, 0.91, 0.24, 0.08])
def test_levels_entry_and_size_if_and_only_if_there_is_a_trade(p: float) -> None:
    found = decision(0.5, p)
    traded = found.action != "NO_TRADE"
    present = [found.take_profit, found.stop_loss, found.entry_price, found.entry_type]
    assert [value is not None for value in present] == [traded] * 4
    assert (found.position_pct > 0) == traded


def test_strong_enters_at_the_market_weak_by_a_limit_a_quarter_atr_better() -> None:
    assert (decision(0.6, 0.9).entry_type, decision(0.6, 0.9).entry_price) == ("MARKET", 100.0)
    assert (decision(0.6, 0.8).entry_type, decision(0.6, 0.8).entry_price) == ("LIMIT", 99.5)
    assert (decision(0.4, 0.2).entry_type, decision(0.4, 0.2).entry_price) == ("LIMIT", 100.5)
    assert decision(0.6, 0.8, atr=None).entry_type == "MARKET"


def test_atr_is_the_mean_true_range_of_fourteen_days() -> None:
    bars = some_bars(15, span=Span.DAY)
    ranges = [
        max(bars.h[i] - bars.l[i], abs(bars.h[i] - bars.c[i - 1]), abs(bars.l[i] - bars.c[i - 1])) for i in range(1, 15)
    ]
    assert policy.atr(bars) == pytest.approx(sum(ranges) / 14, rel=1e-12)
    assert policy.atr(bars[:14]) is None


@pytest.mark.parametrize(("day", "stop"), [(date(2025, 3, 11), "15:50"), (date(2025, 11, 28), "12:50")])
def test_time_stop(day: date, stop: str) -> None:
    session = CALENDAR.session(day)
    assert session is not None
    assert policy.time_stop(session).strftime("%H:%M") == stop


def test_best_is_the_highest_score_ties_by_order_none_without_a_trade() -> None:
    weak, strong = decision(0.6, 0.8), decision(0.6, 0.9, ticker="QQQ")
    assert policy.best([weak, strong]) is strong
    tied = replace(strong, ticker="SPY")
    assert policy.best([tied, strong]) is tied
    assert policy.best([decision(0.5, 0.5)]) is None
    assert policy.best([]) is None


def test_score_weighs_distance_agreement_and_hour() -> None:
    assert decision(0.6, 0.8, hour=13).score == pytest.approx(0.3 * 1.2 * 1.2)
    assert decision(0.6, 0.7, hour=13).score == 0


def test_a_change_of_any_number_must_change_the_spec_version() -> None:
    numbers = [
        policy.LONG_ABOVE,
        policy.SHORT_BELOW,
        policy.EDGE,
        policy.BUCKETS,
        policy.VERY_HIGH,
        policy.MEDIUM,
        policy.MARKET_ORDERS,
        policy.HOUR_MULTIPLIERS,
        policy.BEFORE_TEN,
        policy.AFTER_CLOSE,
        (policy.AGREE, policy.DISAGREE, policy.UNDECIDED),
        (policy.BASE_PCT, policy.CAP_PCT, policy.RISK_MULTIPLIER),
        (policy.LIMIT_ATR_SHARE, policy.ATR_DAYS, policy.TIME_STOP_BEFORE_CLOSE.total_seconds()),
        {ticker: asdict(level) for ticker, level in policy.EXIT_DISTANCES.items()},
    ]
    fingerprint = hashlib.sha256(json.dumps(numbers).encode()).hexdigest()[:8]
    assert (policy.SPEC_VERSION, fingerprint) == POLICY_FINGERPRINT


def test_the_swing_thresholds_are_those_of_the_policy_and_change_with_its_version() -> None:
    assert (policy.SPEC_VERSION, policy.SWING_ABOVE, policy.SWING_BELOW) == ("2026-01-03", 0.80, 0.20)


@pytest.mark.parametrize(
    ("p", "signal"), [(0.8, "NEUTRAL"), (0.8001, "BULLISH"), (0.2, "NEUTRAL"), (0.1999, "BEARISH")]
)
def test_swing_thresholds_are_strict(p: float, signal: str) -> None:
    assert policy.swing_signal_of(p) == signal
