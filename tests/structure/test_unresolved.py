"""The bodies of rule 0, written out from the specification: what is sent when there are too few bars."""

from __future__ import annotations

from typing import Any

from app.market.bars import no_bars
from app.structure import analyse, analyse_swing
from tests.structure.making import minutes, view
from tests.structure.plain import plain

SEEN = view(no_bars(), at=view(minutes([100.0] * 90)).at)  # 11:00


def without_text(body: dict[str, Any]) -> dict[str, Any]:
    """Sentences by their number."""
    return {
        key: len(value)
        if key in ("reasons", "blockers", "invalidation_context", "invalidation_levels")
        else without_text(value)
        if isinstance(value, dict)
        else value
        for key, value in body.items()
    }


DIMENSIONS = {
    "structural_integrity": 60,
    "time_persistence": 100,
    "volatility_alignment": 100,
    "participation_consistency": 65,
    "failure_risk": 100,
}


def test_northstar_without_bars() -> None:
    body = without_text(plain(analyse("SPY", SEEN).northstar))
    zero = ("recent_high", "recent_low", "mid_point", "pivot", "pivot_r1", "pivot_s1", "current_price", "today_open")
    assert body == {
        "timestamp": "2025-12-05T11:00:00-05:00",
        "symbol": "SPY",
        "phase1": {
            "resolved": False,
            "direction": "BALANCED",
            "dominant_timeframe": "INTRADAY",
            "confidence_band": "NO_TRADE",
            "acceptance": {
                "accepted": False,
                "acceptance_strength": "WEAK",
                "acceptance_reason": "",
                "failed_levels": [],
            },
            "range": {"state": "BALANCE", "rotation_complete": False, "expansion_quality": "NONE"},
            "mtf": {"aligned": False, "dominant_tf": "INTRADAY", "conflict_tf": None},
            "participation": {"conviction": "LOW", "effort_result_match": False},
            "memory": {"memory": "RESET", "gap_behavior": None},
            "failure": {"present": False, "failure_types": []},
            "key_levels": dict.fromkeys((*zero, "prev_close", "retest_high", "retest_low"), 0.0),
            "volatility_expansion": {"probability": 0.0, "signal": "NONE", "expansion_likely": False, "reasons": 0},
        },
        "phase2": {
            "health_score": 81,
            "tier": "HEALTHY",
            "stand_down": False,
            "reasons": 4,
            "dimensions": DIMENSIONS,
        },
        "phase3": {"density_score": 100, "throttle": "OPEN", "allowed_signals": 999, "reasons": 0},
        "phase4": {
            "allowed": False,
            "bias": "NEUTRAL",
            "execution_mode": "NO_TRADE",
            "risk_state": "DEFENSIVE",
            "invalidation_context": 1,
        },
    }


def test_rpe_truth_without_bars() -> None:
    body = plain(analyse("SPY", SEEN).rpe)["phase1_truth"]
    zeros = ("vwap", "vwap_slope", "poc", "val", "vah", "atr_14", "delta", "cumulative_delta")
    constants = {"vpoc_developing": False, "internals_advance_decline": 0.0, "internals_tick": 0.0}
    prior = ("gap_size_atr", "overnight_range_atr", "prior_day_close", "prior_day_high", "prior_day_low")
    assert body == {
        "core12": {**dict.fromkeys(zeros, 0.0), "relative_volume": 1.0, **constants},
        "acceptance": {
            "accepted": False,
            "strength": "WEAK",
            "at_level": None,
            "time_held_bars": 0,
            "failed_levels": [],
        },
        "range_state": {
            "state": "BALANCE",
            "rotation_complete": False,
            "expansion_quality": "NONE",
            **dict.fromkeys(("range_high", "range_low", "range_width_atr"), 0.0),
        },
        "mtf_continuity": {"aligned": False, "dominant_tf": "INTRADAY", "conflict_tf": None, "alignment_score": 0},
        "participation": {
            "conviction": "LOW",
            "effort_result_match": False,
            "volume_profile_shape": "NORMAL",
            "institutional_footprint": False,
        },
        "session_memory": {"memory": "RESET", "gap_behavior": None, **dict.fromkeys(prior, 0.0)},
        "failures": {
            "present": False,
            "failure_types": [],
            "most_recent_failure_bars_ago": None,
            "failed_breakout_level": None,
        },
        "aggregation": {
            "resolved": False,
            "direction": "BALANCED",
            "dominant_timeframe": "INTRADAY",
            "truth_score": 0,
            "confidence_tier": "NO_TRADE",
        },
    }


def test_rpe_health_and_density_without_bars() -> None:
    body = without_text(plain(analyse("SPY", SEEN).rpe))
    assert body["phase2_signal_health"] == {
        "integrity": {
            "missing_bars": 0,
            "duplicate_bars": 0,
            "time_alignment_ok": False,
            "feed_latency_ms": 0.0,
            "data_quality_score": 0,
        },
        "conditions": DIMENSIONS,
        "risk_state": {
            "state": "NORMAL",
            "volatility_regime": "NORMAL",
            "vix_level": None,
            "correlation_breakdown": False,
        },
        "health_score": 81,
        "tier": "HEALTHY",
        "blockers": 5,
        "stand_down": False,
    }
    assert body["phase3_signal_density"] == {
        "mode": {"mode": "QUIET", "mode_confidence": 0.6, "regime_duration_bars": 0},
        "cooldown": {
            "active": False,
            "remaining_bars": 0,
            "signals_in_window": 0,
            "last_signal_bars_ago": None,
            "window_size_bars": 10,
        },
        "budget": {"used_today": 0, "remaining": 10, "throttle": "OPEN", "daily_budget": 10},
        "material_change": {"detected": False, "change_type": None, "magnitude": 0.0, "bars_since_change": 0},
        "density_score": 100,
        "allow_signal": True,
        "reasons": 0,
    }


def test_rpe_posture_without_bars() -> None:
    assert without_text(plain(analyse("SPY", SEEN).rpe))["phase4_execution_posture"] == {
        "stand_down_logic": {"active": True, "reasons": 1, "duration_recommendation_bars": 10},
        "bias": {"bias": "NEUTRAL", "strength": 0.0, "reasons": 0},
        "play_type": {"play_type": "NO_TRADE", "suitability_score": 0, "alternatives": []},
        "confidence_risk": {
            "confidence": 0,
            "risk_reward_ratio": 0.0,
            "position_size_modifier": 0.0,
            "max_loss_atr": 1.0,
        },
        "invalidation": {"price_levels": [], "time_limit_bars": None, "conditions": []},
        "allowed": False,
    }


def test_rpe_forecast_without_bars() -> None:
    body = plain(analyse("SPY", SEEN).rpe)["phase5_learning_forecasting"]
    neutral = {"UP": 0.33, "DOWN": 0.33, "FLAT": 0.34}
    assert body == {
        "horizons": [
            {
                "horizon_name": name,
                "horizon_bars": bars,
                "direction_prob": neutral,
                "expected_move_pct": 0.0,
                "confidence": 0.0,
            }
            for name, bars in (("15m", 15), ("1h", 60), ("EOD", 300))
        ],
        "forecast": {
            "regime_probs": {"TREND": 0.15, "MR": 0.5, "CHOP": 0.25, "EVENT": 0.1, "dominant": "MR"},
            "next_bar_direction": "FLAT",
            "next_bar_confidence": 0.3,
            "trend_strength": 0.2,
        },
        "entry_exit": {
            "optimal_entry_level": 0.0,
            "optimal_entry_type": "LIMIT",
            "expected_hold_bars": 0,
            "triple_barrier": {
                "entry_price": 0.0,
                "profit_target": 0.0,
                "stop_loss": 0.0,
                "time_limit_bars": 0,
                "expected_outcome": "PENDING",
                "outcome_probabilities": {"PROFIT_TARGET": 0.33, "STOP_LOSS": 0.33, "TIME_EXIT": 0.34},
            },
        },
        "model_version": "v6_time_split",
        "last_training_date": None,
    }


def test_swing_without_days() -> None:
    levels = ("weekly_high", "weekly_low", "weekly_mid", "daily_high_5d", "daily_low_5d", "sma_20", "sma_50")
    assert without_text(plain(analyse_swing("SPY", SEEN))) == {
        "timestamp": "2025-12-05T11:00:00-05:00",
        "symbol": "SPY",
        "timeframe": "SWING",
        "phase1": {
            "resolved": False,
            "direction": "NEUTRAL",
            "dominant_timeframe": "DAILY",
            "confidence": "NO_TRADE",
            "levels": dict.fromkeys((*levels, "current_price", "atr_14"), 0.0),
            "trend_alignment": {
                "weekly_trend": "SIDEWAYS",
                "daily_trend": "SIDEWAYS",
                "aligned": False,
                "conflict_reason": "",
            },
            "momentum": {
                "rsi_14": 50.0,
                "weekly_rsi": 50.0,
                "macd_signal": "NEUTRAL",
                "momentum_5d": 0.0,
                "momentum_10d": 0.0,
            },
            "volume": {"volume_trend": "NORMAL", "volume_confirmation": False, "avg_volume_20d": 0.0},
            "structure_notes": [],
        },
        "phase2": {
            "health_score": 51,
            "health_tier": "MIXED",
            "stand_down": False,
            "reasons": 1,
            "dimensions": {"trend_strength": 40, "momentum_quality": 70, "volume_support": 50, "failure_risk": 50},
        },
        "phase3": {"density_score": 50, "is_clean_setup": False, "wait_for": "", "reasons": 2},
        "phase4": {
            "allowed": False,
            "bias": "NEUTRAL",
            "mode": "NO_TRADE",
            "holding_period": "N/A",
            "invalidation_levels": 2,
        },
        "v6_swing": None,
    }
