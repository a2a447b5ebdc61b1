"""No client can make the memory of the metrics grow: every label has a closed set of values."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

from flask import Flask

from app.live.events import EVENTS
from app.market import announcements
from app.market.polygon import Reply
from app.signals.policy import SUPPORTED, Gate
from app.telemetry.core_metrics import ACTIONS, CACHES, OUTCOMES, STATES, WITHHELD
from app.telemetry.live_metrics import KINDS
from app.telemetry.metrics import METHODS, OTHER, Latencies
from app.telemetry.spans import MEASURED
from app.version import VERSION
from blueprints.socket_io.socket_types import ByeReason
from serving import connections, engine_refusals
from serving.outbox import Slow
from tests.support import FakeClock, ScriptedMarket
from tests.telemetry.metrics.scraping import ERRORS, ONE_TICKER, Build, ask, scrape


def test_whatever_is_asked_for_there_is_a_closed_set_of_series(build: Build) -> None:
    app = build()

    def ask_odd_things(n: int) -> None:
        ask(app, f"/x{n}?q{n}={n}", f"M{n}")
        ask(app, f"/v{n + 10}/swing")
        ask(app, f"/livez?k{n}=v{n}")
        ask(app, "/swing", f"M{n}", headers={"X-API-Version": str(n + 10), "X-Request-Id": f"r{n}"})

    def ask_odd_tickers(n: int) -> None:
        ask(app, f"/trading_directions?ticker=ZZ{n}")
        ask(app, f"/replay?ticker=ZZ{n}&date=2025-03-10&time=11:{n % 60:02}")

    ask_odd_things(0)
    ask_odd_tickers(0)
    before = scrape(app).series
    for n in range(1, 101):
        ask_odd_things(n)
    for n in range(1, 20):
        ask_odd_tickers(n)
    assert scrape(app).series == before


def test_methods_that_are_none_cost_no_memory() -> None:
    latencies = Latencies()
    for n in range(1000):
        asked = {"trace": SimpleNamespace(span=None), "method": f"M{n}", "version": 1, "route": None}
        latencies.answered(SimpleNamespace(**asked, status=405, code="METHOD_NOT_ALLOWED"), 0.001)
    assert len(latencies._children) == 1


def known_values(app: Flask) -> Mapping[str, set[str]]:
    """The closed set of each label."""
    return {
        "route": {rule.rule for rule in app.url_map.iter_rules()} | {"none"},
        "method": {*METHODS, OTHER},
        "status": {"200", "304", "400", "401", "403", "404", "405", "429", "500", "503"},
        "version": {"1", "2", VERSION},
        "stage": set(MEASURED),
        "kind": {"bars", "days", "snapshot", "status", *KINDS},
        "outcome": {"ok", "slow", "limited", "refused", "failed", "allowed", *OUTCOMES},
        "cache": {"answers", *CACHES},
        "reason": {
            *WITHHELD,
            *announcements.REASONS,
            *connections.REASONS,
            *Slow,
            *ByeReason,
            "idle",
            *engine_refusals.REASONS,
        },
        "transport": {"websocket", "polling"},
        "recovered": {"True", "False"},
        "state": {*STATES, "spent", "left"},
        "ticker": set(SUPPORTED),
        "action": set(ACTIONS),
        "gate": {gate.value for gate in Gate},
        "result": {"served", "refused"},
        "event": set(EVENTS),
        "group": {"directions", "analysis", "replay", "streams", "other", "sockets"},
        "code": {*ERRORS, *(gate.value for gate in Gate)},
        "market": {"polygon", "recorded", "demo"},
        "region": {"us-west2"},
        "replica": {""},
        "generation": {"0", "1", "2"},
    }


def test_every_label_value_is_one_of_its_set(build: Build, market: ScriptedMarket, clock: FakeClock) -> None:
    app = build(rate_limit_other=200, railway_region="us-west2")
    ask(app, "/rpe?ticker=SPY")
    market.fault = lambda path: Reply(429, {}) if "QQQ" in path else Reply(500, None) if "IWM" in path else None
    clock.forward(minutes=1)
    for path in (
        ONE_TICKER,
        "/trading_directions",
        "/mtf?tickers=SPY,QQQ,IWM,UVXY",
        "/replay?date=2025-03-10&time=11:00",
    ):
        ask(app, path)
    for method, path, more in ERRORS.values():
        ask(app, path, method, **more)
    found, known, met = scrape(app), known_values(app), set()
    for name, labels in found.series:
        for label, value in labels:
            if label != "le":
                assert value in known[label], f"{name} has {label}={value}"
                met.add(label)
    assert met >= {"route", "method", "stage", "kind", "outcome", "cache", "ticker", "gate", "event", "group", "code"}
