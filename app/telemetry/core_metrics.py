"""Metrics of the core: market, models, signals and the follower. Names, units and labels follow Prometheus; docs/operators.md
lists them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.core import Core, record_can_forget
from app.live.events import EVENTS
from app.market.announcements import REASONS
from app.model.drift import Drift
from app.pipeline import ModelRecord
from app.signals.evidence import THRESHOLD
from app.signals.lock import decision_hour
from app.signals.policy import SUPPORTED, Gate
from app.telemetry.metrics import Metric, Values, unlabelled
from app.version import VERSION

STATES = ("closed", "open", "half_open")
CACHES = ("memory", "disk", "record")
OUTCOMES = ("hit", "miss")
WITHHELD = ("breaker", "budget", "key")
ACTIONS = ("LONG", "SHORT", "NO_TRADE")


def core_metrics(core: Core, drift: Drift, lookups: Mapping[tuple[str, ...], float]) -> list[Metric]:
    """Everything about market, model, signals and the background. `lookups`: of cached responses, by outcome."""
    return [
        *_server(core),
        *_data(core),
        _cache_lookups(core, lookups),
        *_provider(core),
        *_signals(core),
        *_models(core, drift),
    ]


def _server(core: Core) -> list[Metric]:
    region, replica = core.settings.replica
    names = (VERSION, core.settings.market, region or "", replica or "")
    return [
        Metric(
            "predict_info",
            "The server's version, its market, and where it runs",
            lambda: {names: 1},
            ("version", "market", "region", "replica"),
        ),
        Metric("predict_events_total", "What the server had to tell, by event", lambda: _all(core, EVENTS), ("event",)),
        Metric(
            "predict_fetches_waiting", "Fetches of bars under way or queued", unlabelled(core.source.fetches.waiting)
        ),
        Metric("predict_follower_jobs", "Jobs of the follower under way or queued", unlabelled(core.follower.waiting)),
        Metric("predict_redis_connections", "Connections to Redis that are open", lambda: _redis_connections(core)),
        Metric("predict_follower_alive", "1 while the follower steps; absent without a key", lambda: _follower(core)),
        Metric(
            "predict_follower_leads",
            "1 while this process brings the market for all that share the running day",
            unlabelled(lambda: core.follower.status().role != "reader"),
        ),
        Metric(
            "predict_follower_takeovers_total",
            "How often this process took the follower's lease",
            unlabelled(lambda: core.follower.status().takeovers),
        ),
        Metric(
            "predict_running_day_unshared",
            "1 while processes cannot share bars",
            unlabelled(lambda: core.follower.status().role == "unshared"),
        ),
    ]


def _redis_connections(core: Core) -> Values:
    return {} if core.redis is None else {(): core.redis.connections()}


def _data(core: Core) -> list[Metric]:
    return [
        Metric(
            "predict_market_open",
            "1 in a regular session",
            unlabelled(lambda: core.calendar.is_open(core.market.clock())),
        ),
        Metric(
            "predict_calendar_exceptions",
            "Days whose hours the provider or the operator names against the rules",
            unlabelled(lambda: len(core.calendar.overrides)),
        ),
        Metric(
            "predict_calendar_rows_refused_total",
            "Announced holidays that cannot be right",
            lambda: _counted(core, "announcement_refused", [(reason,) for reason in REASONS]),
            ("reason",),
        ),
        Metric("predict_ticker_followed", "1 while a ticker is kept current", lambda: _followed(core), ("ticker",)),
        Metric(
            "predict_data_age_seconds",
            "Market time since the end of the newest bar, of followed tickers",
            lambda: _ages(core),
            ("ticker",),
        ),
        Metric(
            "predict_data_age_allowed_seconds",
            "How old that may be",
            unlabelled(lambda: core.source.expectations.age_allowed_s()),
        ),
        Metric("predict_series_kept", "Series of bars kept in memory", unlabelled(lambda: len(core.source.memory))),
    ]


def _cache_lookups(core: Core, responses: Mapping[tuple[str, ...], float]) -> Metric:
    def lookups() -> Values:
        counts = _counted(core, "looked_up", [(cache, outcome) for cache in CACHES for outcome in OUTCOMES])
        return {**counts, **{("answers", outcome): responses.get((outcome,), 0) for outcome in OUTCOMES}}

    help = "Lookups of kept answers, of bars in memory, of past days on disk, of locked signals in the record"
    return Metric("predict_cache_lookups_total", help, lookups, ("cache", "outcome"))


def _provider(core: Core) -> list[Metric]:
    return [
        Metric(
            "predict_polygon_calls_withheld_total",
            "Calls to the provider that were not made",
            lambda: _counted(core, "call_withheld", [(reason,) for reason in WITHHELD]),
            ("reason",),
        ),
        Metric(
            "predict_breaker_state", "1 for the state of a kind's circuit", lambda: _circuits(core), ("kind", "state")
        ),
        Metric(
            "predict_breaker_changes_total",
            "Changes of a kind's circuit to a state",
            lambda: _counted(core, "breaker_changed", []),
            ("kind", "state"),
        ),
        *_budget_metrics(core),
    ]


def _budget_metrics(core: Core) -> list[Metric]:
    return [
        Metric(
            "predict_budget_calls",
            "Calls of the budget's window, spent and left",
            lambda: _budget_calls(core),
            ("state",),
        ),
        Metric("predict_budget_limit_calls", "Calls that the window has", lambda: _budget(core, "limit")),
        Metric(
            "predict_budget_pause_seconds",
            "Rest of the pause that the provider asked for",
            lambda: _budget(core, "pause"),
        ),
        Metric("predict_api_key_refused", "1 while the provider refuses the key", lambda: _budget(core, "refused")),
    ]


def _signals(core: Core) -> list[Metric]:
    return [
        Metric(
            "predict_signal_current",
            "1 while the running hour's signal is locked",
            lambda: {(ticker,): _has_signal(core, ticker) for ticker in SUPPORTED},
            ("ticker",),
        ),
        Metric(
            "predict_signals_locked_total",
            "Signals locked by this process",
            lambda: _counted(core, "signal_locked", [(t, action) for t in SUPPORTED for action in ACTIONS]),
            ("ticker", "action"),
        ),
        Metric(
            "predict_gates_total",
            "Answers without a signal, by the gate before it",
            lambda: _counted(core, "gated", [(gate.value,) for gate in Gate]),
            ("gate",),
        ),
        Metric(
            "predict_record_changes_total", "Locked signals that were found changed", unlabelled(core.store.changes)
        ),
        Metric(
            "predict_record_failing",
            "1 while the track record cannot be written",
            unlabelled(lambda: core.store.degraded() is not None),
        ),
        Metric(
            "predict_record_can_forget",
            "1 while the disk or the Redis that keeps the record may lose it; absent while that is unknown",
            lambda: _can_forget(core),
        ),
    ]


def _models(core: Core, drift: Drift) -> list[Metric]:
    counts = core.events.counts
    return [
        Metric(
            "predict_model_loaded",
            "1 for a ticker with a model",
            lambda: {(ticker,): ticker in core.pipeline.models.models for ticker in SUPPORTED},
            ("ticker",),
        ),
        Metric(
            "predict_model_reloads_total",
            "Changes of the model set that is served, and promoted sets that were refused",
            lambda: {("served",): counts["models_changed",], ("refused",): counts["models_refused",]},
            ("result",),
        ),
        Metric(
            "predict_model_set_refused",
            "1 while the promoted model set is not served because it cannot be",
            unlabelled(lambda: core.models.status().refused is not None),
        ),
        Metric(
            "predict_drift_outside_ratio",
            "Share of the values that the model read which lie outside their training range",
            lambda: _by_ticker(drift.outside()),
            ("ticker",),
        ),
        Metric(
            "predict_drift_psi",
            "Population stability index of the inputs that the model reads against training, their mean",
            lambda: _by_ticker(drift.stability()),
            ("ticker",),
        ),
        Metric(
            "predict_drift_decisions",
            "Decisions that the two rest on",
            lambda: _by_ticker(drift.decisions()),
            ("ticker",),
        ),
        *_promises(core),
    ]


def _promises(core: Core) -> list[Metric]:
    return [
        Metric(
            "predict_record_days",
            "Days of the record with a known outcome, of the loaded model; absent before the record was read",
            lambda: {(ticker,): record.days for ticker, record in _model_records(core).items()},
            ("ticker",),
        ),
        Metric(
            "predict_promise_evidence_ratio",
            "Evidence of the record against the probabilities of the model, as a share of what raises an alarm",
            lambda: {(ticker,): record.evidence.level / THRESHOLD for ticker, record in _model_records(core).items()},
            ("ticker",),
        ),
        Metric(
            "predict_promise_contradicted",
            "1 while the record contradicts the probabilities of the model",
            lambda: {(t,): record.evidence.contradicts is not None for t, record in _model_records(core).items()},
            ("ticker",),
        ),
    ]


def _model_records(core: Core) -> Mapping[str, ModelRecord]:
    found = {ticker: core.live_promise.of(ticker) for ticker in SUPPORTED}
    return {ticker: record for ticker, record in found.items() if not isinstance(record, str)}


def _all(core: Core, events: Iterable[str]) -> Values:
    return {(event,): core.events.counts[event,] for event in sorted(events)}


def _counted(core: Core, event: str, known: Sequence[tuple[str, ...]]) -> Values:
    """The counts of an event. Those that are known begin at 0, so that a rate is correct from the first event on."""
    return {**dict.fromkeys(known, 0.0), **core.events.counts_by_field[event]}


def _by_ticker(values: Mapping[str, float]) -> Values:
    return {(ticker,): value for ticker, value in values.items()}


def _follower(core: Core) -> Values:
    return {} if "no_api_key" in core.market.degraded else {(): core.follower.status().alive}


def _can_forget(core: Core) -> Values:
    can_forget = record_can_forget(core)
    return {} if can_forget is None else {(): can_forget}


def _followed(core: Core) -> Values:
    return {(ticker,): core.source.is_followed(ticker) for ticker in SUPPORTED}


def _ages(core: Core) -> Values:
    now = core.market.clock()
    ages = {ticker: core.source.age_s(ticker, now) for ticker in SUPPORTED if core.source.is_followed(ticker)}
    return {(ticker,): age for ticker, age in ages.items() if age is not None}


def _circuits(core: Core) -> Values:
    circuits = {} if core.market.breaker is None else core.market.breaker.states()
    return {(kind, state): circuit.state == state for kind, circuit in circuits.items() for state in STATES}


def _budget_calls(core: Core) -> Values:
    if core.market.budget is None:
        return {}
    status = core.market.budget.status()
    return {("spent",): status.spent, ("left",): status.left}


def _budget(core: Core, value: str) -> Values:
    if core.market.budget is None:
        return {}
    status = core.market.budget.status()
    return {(): {"limit": status.limit.calls, "pause": status.paused_s, "refused": status.key_refused}[value]}


def _has_signal(core: Core, ticker: str) -> bool:
    at = core.market.clock()
    session = core.calendar.session_at(at)
    hour = decision_hour(session, at) if session is not None and session.is_open(at) else None
    return session is not None and hour is not None and core.store.get(ticker, session.day, hour) is not None
