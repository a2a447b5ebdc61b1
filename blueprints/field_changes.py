"""What version 2 changed against version 1, field by field: the one table from which come `/docs/versions` and the `changes` of
`GET /versions`. A test compares it with the documents of both versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from app.model.swing import HORIZONS

PAGE: Final = "/docs/versions"
BELOW: Final = ".**"
"""At the end of a field: all fields below it, each under its own name, but those that have a row of their own."""

SIGNAL, BOARD = "/v2/trading-directions/{ticker}", "/v2/trading-directions"
STRUCTURE, SWING, REPLAY = "/v2/structure/{ticker}", "/v2/swing/{ticker}", "/v2/replay/{ticker}"
MODEL, STATUS = "/v2/models/{ticker}", "/v2/status"
TICKER: Final = "tickers.{ticker}."


class Change(NamedTuple):
    """A field of v1, and what became of it. route, field: in version 1; new_route, new_field: in version 2, None where it
    is gone; note: why it is gone, or what is different."""

    route: str
    field: str
    new_route: str | None
    new_field: str | None
    note: str = ""


def _moved(route: str, new_route: str, fields: Mapping[str, str], prefix: str = "") -> Iterator[Change]:
    """Fields that version 2 has under another name, or at another place. A note stands behind a semicolon."""
    for field, new in fields.items():
        name, _, note = new.partition("; ")
        yield Change(route, prefix + field, new_route, name, note)


def _gone(route: str, fields: Mapping[str, str], prefix: str = "") -> Iterator[Change]:
    """Fields that version 2 does not have, each with the reason."""
    return (Change(route, prefix + field, None, None, why) for field, why in fields.items())


CLOCK: Final = "`generated_at` says it"
VERSIONED: Final = {"spec_version": "versions.policy", "engine_version": "versions.engine"}
STATUS_OF_DATA: Final = {
    "data_status.source": "source",
    "data_status.stale": "freshness; `stale`",
    "data_status.delayed": "freshness; `delayed`",
    "data_status.as_of": "as_of",
    "data_status.age_s": "age_seconds",
}
PLAN: Final = {"data_status.plan": "plan"}
ONE_TICKER: Final = "the signal itself has it: one ticker has a route of its own"
FAULT: Final = "a signal says it at the gate that failed; what cannot be answered at all is a problem"
FROM_PATH: Final = "the path names it"
AT_OF_STRUCTURE: Final = "`generated_at` and `ticker` stand beside the analysis"
CONSTANT: Final = "it is the same whatever the bars are"
TEXT: Final = "it is a text of version 1's dashboard"
OF_PROBABILITY: Final = "a horizon without one has null there"
LOADED_SWING: Final = "`swing` of `/v2/models` says it, `missing` why not"
OUTLOOK: Final = {
    **{f"prob_{horizon}d_up": "probabilities.horizons.probability" for horizon in HORIZONS},
    **{f"signal_{horizon}d": "probabilities.horizons.signal" for horizon in HORIZONS},
}

DIRECTIONS: Final = (
    *_moved(
        "/trading_directions",
        BOARD,
        {"generated_at": "generated_at", "market_open": "market_open", "best_ticker": "best"},
    ),
    *_moved("/trading_directions", SIGNAL, {**STATUS_OF_DATA, **VERSIONED, "time_multiplier": "size.time_multiplier"}),
    *_moved("/trading_directions", STATUS, PLAN),
    *_gone(
        "/trading_directions",
        {
            "current_hour": CLOCK,
            "current_time_et": CLOCK,
            "session": "`active_target` says it: A before 11:00, B from then on",
            "message": "`reason` says it",
            "summary.recommendation": TEXT,
            "summary.actionable_tickers": "they are the signals whose `action` is not `NO_TRADE`",
            "summary.best_opportunity": "it repeated `best_ticker`",
            "trading_rules.entry": TEXT,
            "trading_rules.exit.{name}": TEXT,
            "trading_rules.sizing.{name}": TEXT,
            "model_accuracy.late_target_a": "each signal has `hit_rates` of its own model and hour",
            "model_accuracy.late_target_b": "each signal has `hit_rates` of its own model and hour",
            "model_accuracy.peak_hours": "each signal has `hit_rates` of its own model and hour",
            **dict.fromkeys(
                (
                    *("ticker", "action", "reason", "action_label", "direction", "probability_a", "probability_b"),
                    *("bucket", "position_pct", "entry.price", "entry.type"),
                    *("exit.stop_loss", "exit.take_profit", "exit.time_limit"),
                ),
                ONE_TICKER,
            ),
        },
    ),
    *_moved(
        "/trading_directions",
        SIGNAL,
        {
            "action": "direction; `NEUTRAL` where version 1 has `NO_TRADE`",
            "action_label": "action; `BUY_CALL`, `BUY_PUT` or `NO_TRADE`",
            "direction": "direction",
            "reason": "reason",
            "reason_code": "gates.code; at the gate that failed",
            "probability": "probability",
            "probability_a": "probability_a",
            "probability_b": "probability_b; null before 11:00, where v1 has 0.5",
            "active_target": "active_target",
            "bucket": "strength; without the side, which `direction` says",
            "position_pct": "size.percent_of_capital",
            "multipliers.time": "size.time_multiplier",
            "multipliers.agreement": "size.agreement_multiplier",
            "entry.price": "levels.entry_price",
            "entry.type": "levels.entry_type",
            "exit.stop_loss": "levels.stop_loss",
            "exit.take_profit": "levels.take_profit",
            "exit.time_limit": "levels.time_stop",
            "current_price": "prices.now",
            "today_open": "prices.session_open",
            "today_change_pct": "prices.change_percent",
            "price_11am": "prices.at_11",
            "locked": "lock.state",
            "locked_at": "lock.locked_at",
            "lock_expires_at": "expires_at",
            "in_sample": "model.in_sample",
            "model_accuracy.early": "hit_rates.hit_rate; with its baselines beside it",
            "model_accuracy.late_a": "hit_rates.hit_rate; of the hour, not pooled",
            "model_accuracy.late_b": "hit_rates.hit_rate; of the hour, not pooled",
            "bars_analyzed": "structure.minute_bars",
            **VERSIONED,
        },
        TICKER,
    ),
    *_gone(
        "/trading_directions",
        {
            "target_a_prob": "it repeated `probability_a`",
            "target_b_prob": "it repeated `probability_b`",
            "probability_raw": "probabilities are given as the policy reads them, once",
            "confidence": "it was the active probability in other words",
            "confidence_tier": "`strength` says it",
            "session": "`active_target` says it",
            "stop_loss": "it repeated `exit.stop_loss`",
            "take_profit": "it repeated `exit.take_profit`",
            "multipliers.combined": "it is the product of the two",
            "thresholds.long": CONSTANT,
            "thresholds.short": CONSTANT,
            "thresholds.neutral_high": CONSTANT,
            "thresholds.neutral_low": CONSTANT,
            "error": FAULT,
            "error_code": FAULT,
        },
        TICKER,
    ),
)

ENVELOPE: Final = {"current_hour": CLOCK, "current_time_et": CLOCK, "session": "`active_target` of the signal says it"}
NO_LIST: Final = "it listed the tickers again, and version 2 answers one"
DESCRIPTION: Final = "the document of version 2 describes its fields"
ANALYSIS: Final = {"generated_at": "generated_at", **STATUS_OF_DATA}
SESSION_PRICES: Final = {
    "current_price": "price",
    "today_open": "session_open",
    "today_change_pct": "change_percent",
    "bars_available": "minute_bars",
    "bars_analyzed": "minute_bars",
}


def _analysis_of_session(route: str, name: str, constant: Mapping[str, str]) -> Iterator[Change]:
    """What `/northstar` and `/rpe` share. name: of the analysis in version 2; constant: fields of it that are gone."""
    yield from _moved(route, STRUCTURE, ANALYSIS)
    yield from _moved(route, STATUS, {**PLAN, **VERSIONED, "market_open": "market_open"})
    yield from _gone(route, ENVELOPE)
    yield from _moved(route, STRUCTURE, SESSION_PRICES, TICKER)
    yield from _moved(route, STRUCTURE, {"error": "reason"}, TICKER)
    yield from _gone(route, {"error_code": FAULT, "symbol": AT_OF_STRUCTURE, "timestamp": AT_OF_STRUCTURE}, TICKER)
    yield from _gone(route, constant, TICKER)
    yield Change(route, f"{TICKER[:-1]}{BELOW}", STRUCTURE, f"{name}{BELOW}")


ANALYSES: Final = (
    *_analysis_of_session("/northstar", "northstar", {}),
    *_gone(
        "/northstar",
        {
            f"analysis{BELOW}": ONE_TICKER,
            "ticker": FROM_PATH,
            "pipeline_version": "`versions` of the signal says it",
            f"phase_descriptions{BELOW}": DESCRIPTION,
            f"summary{BELOW}": NO_LIST,
        },
    ),
    *_analysis_of_session(
        "/rpe",
        "rpe",
        {
            f"meta{BELOW}": CONSTANT,
            f"invariants{BELOW}": CONSTANT,
            "phase1_truth.core12.internals_advance_decline": CONSTANT,
            "phase1_truth.core12.internals_tick": CONSTANT,
            "phase1_truth.core12.vpoc_developing": CONSTANT,
            "phase1_truth.session_memory.overnight_range_atr": CONSTANT,
            "phase2_signal_health.integrity.duplicate_bars": CONSTANT,
            "phase2_signal_health.integrity.feed_latency_ms": CONSTANT,
            "phase2_signal_health.risk_state.correlation_breakdown": CONSTANT,
            "phase2_signal_health.risk_state.vix_level": CONSTANT,
            "phase3_signal_density.cooldown.last_signal_bars_ago": CONSTANT,
            "phase3_signal_density.mode.regime_duration_bars": CONSTANT,
            "phase5_learning_forecasting.last_training_date": CONSTANT,
            "phase5_learning_forecasting.model_version": CONSTANT,
            f"v6_signals{BELOW}": "the signal has it: `/v2/trading-directions/{ticker}`",
        },
    ),
    *_gone(
        "/rpe", {"contract_version": CONSTANT, f"phase_descriptions{BELOW}": DESCRIPTION, f"summary{BELOW}": NO_LIST}
    ),
    *_moved("/swing", SWING, ANALYSIS),
    *_moved("/swing", STATUS, {**PLAN, **VERSIONED}),
    *_gone("/swing", {"analysis_type": CONSTANT, "timeframes": CONSTANT, "current_time_et": CLOCK}),
    *_moved("/swing", SWING, {"current_price": "price", "bars_available": "daily_bars", "error": "reason"}, TICKER),
    *_gone(
        "/swing",
        {
            "error_code": FAULT,
            "symbol": AT_OF_STRUCTURE,
            "timestamp": AT_OF_STRUCTURE,
            "timeframe": CONSTANT,
            "v6_swing.unavailable_horizons": OF_PROBABILITY,
        },
        TICKER,
    ),
    *_moved("/swing", SWING, OUTLOOK, f"{TICKER}v6_swing."),
    Change("/swing", f"{TICKER[:-1]}{BELOW}", SWING, f"swing{BELOW}"),
)
BOTH: Final = (
    *_moved(
        "/mtf",
        STRUCTURE,
        {**ANALYSIS, f"{TICKER}intraday{BELOW}": f"northstar{BELOW}", f"{TICKER}current_price": "price"},
    ),
    *_moved("/mtf", SWING, {f"{TICKER}swing{BELOW}": f"swing{BELOW}"}),
    *_moved("/mtf", SWING, OUTLOOK, f"{TICKER}swing.v6_swing."),
    *_moved("/mtf", STATUS, {**PLAN, **VERSIONED, "market_open": "market_open"}),
    *_moved(
        "/mtf",
        SIGNAL,
        {
            "action": "direction",
            "confidence": "probability",
            "price_11am": "prices.at_11",
            "probability_a": "probability_a",
            "probability_b": "probability_b; null before 11:00",
            "v6.in_sample": "model.in_sample",
            "v6.signal": "direction",
            "v6.target_a_prob": "probability_a",
            "v6.target_b_prob": "probability_b",
        },
        f"{TICKER}intraday.",
    ),
    *_gone(
        "/mtf",
        {
            "analysis_type": CONSTANT,
            "pipeline_version": "`versions` of the signal says it",
            "current_time_et": CLOCK,
            "session": "`active_target` of the signal says it",
            f"summary{BELOW}": NO_LIST,
            f"{TICKER}alignment": "the signal has both summaries, `structure` and `swing`, side by side",
            f"{TICKER}alignment_detail{BELOW}": "the signal has both summaries, `structure` and `swing`, side by side",
            f"{TICKER}error": FAULT,
            f"{TICKER}error_code": FAULT,
            f"{TICKER}intraday.model": CONSTANT,
            f"{TICKER}intraday.v6.session": "`active_target` of the signal says it",
            f"{TICKER}intraday.symbol": AT_OF_STRUCTURE,
            f"{TICKER}intraday.timestamp": AT_OF_STRUCTURE,
            f"{TICKER}swing.symbol": AT_OF_STRUCTURE,
            f"{TICKER}swing.timestamp": AT_OF_STRUCTURE,
            f"{TICKER}swing.timeframe": CONSTANT,
            f"{TICKER}swing.v6_swing.unavailable_horizons": OF_PROBABILITY,
        },
    ),
)
PAST: Final = (
    *_moved("/replay", REPLAY, {**STATUS_OF_DATA, **VERSIONED, "as_of": "as_of", "mode": "mode", "source": "source"}),
    *_moved("/replay", REPLAY, {"replay_date": "session_date", "simulated_time_et": "generated_at"}),
    *_moved("/replay", STATUS, PLAN),
    *_gone(
        "/replay",
        {
            **dict.fromkeys(("replay_hour", "replay_time", "simulated_hour", "simulated_minute"), CLOCK),
            "market_open": "`gates` say it",
            "session": "`active_target` says it",
            f"summary{BELOW}": NO_LIST,
            f"northstar{BELOW}": "`structure` of the signal sums it up; it was the same as `tickers.{ticker}.northstar`",
            f"v6_signals{BELOW}": "it was the same as `tickers.{ticker}.v6`",
            f"{TICKER}northstar{BELOW}": "`structure` of the signal sums it up",
            f"{TICKER}session": "`active_target` says it",
            f"{TICKER}error": FAULT,
            f"{TICKER}error_code": FAULT,
            f"{TICKER}v6.session": "`active_target` says it",
        },
    ),
    *_moved(
        "/replay",
        REPLAY,
        {
            "bars_analyzed": "structure.minute_bars",
            "current_price": "prices.now",
            "price_11am": "prices.at_11",
            "target_a_prob": "probability_a",
            "target_b_prob": "probability_b; null before 11:00",
            "today_change_pct": "prices.change_percent",
            "today_open": "prices.session_open",
            "v6.action": "direction",
            "v6.bucket": "strength; without the side, which `direction` says",
            "v6.in_sample": "model.in_sample",
            "v6.price_11am": "prices.at_11",
            "v6.probability_a": "probability_a",
            "v6.probability_b": "probability_b; null before 11:00",
            "v6.reason": "reason",
            "v6.reason_code": "gates.code; at the gate that failed",
        },
        TICKER,
    ),
)
ABOUT: Final = (
    *_moved("/models", STATUS, {**VERSIONED, "supported_tickers": "tickers"}),
    *_gone("/models", {"active_version": "`model_id` says it", "recommended_threshold": CONSTANT}),
    *_moved(
        "/models",
        MODEL,
        {
            "artifact_sha256": "artifact_sha256",
            "data_end": "data_end",
            "trained_at": "trained_at",
            "version": "model_id",
            "feature_count": "inputs; as their names",
            "v6_accuracy.early": "evaluation.hit_rate; of each hour",
            "v6_accuracy.late_a": "evaluation.hit_rate; of each hour",
            "v6_accuracy.late_b": "evaluation.hit_rate; of each hour",
            "metrics.evaluated": "evaluation.span",
            "metrics.cells.accuracy": "evaluation.hit_rate",
            "metrics.cells.b2_accuracy": "evaluation.baseline_hit_rate",
            "metrics.cells.up_accuracy": "evaluation.always_up_hit_rate",
            "metrics.cells.b2_log_loss": "evaluation.baseline_log_loss",
            "metrics.cells.ece": "evaluation.expected_calibration_error",
            "metrics.cells.hour": "evaluation.decision_hour",
            "metrics.cells.n": "evaluation.days",
            **{
                f"metrics.cells.{name}": f"evaluation.{name}"
                for name in ("brier", "log_loss", "skill", "target", "verdict")
            },
            "metrics.cells.skill_high": "evaluation.skill_high",
            "metrics.cells.skill_low": "evaluation.skill_low",
        },
        "models.{ticker}.",
    ),
    *_gone(
        "/models",
        {
            **dict.fromkeys(
                (
                    *("auc", "b0_log_loss", "b1_accuracy", "b2_brier", "b3_accuracy", "b3_log_loss", "b4_accuracy"),
                    *("b4_b0_log_loss", "b4_base_rate", "b4_log_loss", "base_rate", "covered"),
                    *("covered_hit_rate", "ties"),
                ),
                "version 2 compares with the random walk and with always up; `make evaluate` prints the rest",
            )
        },
        "models.{ticker}.metrics.cells.",
    ),
    *_gone(
        "/models",
        {
            "baselines.{name}": "they stand beside each cell",
            **dict.fromkeys(("swing_1d_loaded", "swing_3d_loaded", "swing_loaded"), LOADED_SWING),
            "v6_loaded": "`missing` of `/v2/models` says it",
        },
        "models.{ticker}.",
    ),
)
CHANGES: Final = (*DIRECTIONS, *ANALYSES, *BOTH, *PAST, *ABOUT)
"""All changes. Routes of version 1 that are not named here (`/health`, `/daily_signals` and those of the daily bars) have no
counterpart in version 2."""


def as_json() -> dict[str, object]:
    """All changes, for `GET /versions`."""
    return {"from": 1, "to": 2, "page": PAGE, "fields": [change._asdict() for change in CHANGES]}
