"""What a scrape says of calls to the provider, its circuits and the budget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import middleware
from app.errors import BudgetSpent, Unavailable, Upstream
from app.factory import create_app
from app.live.events import Events
from app.market.calling import kind_of, outcome
from app.market.feed_transport import FeedTransport
from app.market.polygon import Reply
from app.telemetry.core_metrics import STATES, WITHHELD
from app.telemetry.setup import build_telemetry
from app.version import VERSION
from tests.provider.world import World, world
from tests.support import CALENDAR, FakeClock, FakeTimer, ScriptedMarket, demo_feed, settings, settle
from tests.telemetry.metrics.scraping import CALLS, ONE_TICKER, Build, ask, scrape, seen
from tests.waiting import PATIENCE_S


def unreachable() -> Reply:
    raise Upstream("the provider cannot be reached")


EMPTY = {"status": "OK", "results": []}
ANSWERS: dict[str, tuple[Callable[[], Reply], str]] = {
    "good": (lambda: Reply(200, EMPTY, took_s=3.0), "ok"),
    "late": (lambda: Reply(200, EMPTY, took_s=3.1), "slow"),
    "429": (lambda: Reply(429, {}), "limited"),
    "401": (lambda: Reply(401, {}), "refused"),
    "403": (lambda: Reply(403, {}, took_s=9.0), "refused"),
    "404": (lambda: Reply(404, {}), "refused"),
    "500": (lambda: Reply(500, {}), "failed"),
    "503 and late": (lambda: Reply(503, {}, took_s=9.0), "failed"),
    "no JSON": (lambda: Reply(200, None), "failed"),
    "unreachable": (unreachable, "failed"),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_call_to_the_provider_is_counted_by_how_it_ended(
    build: Build, market: ScriptedMarket, timer: FakeTimer, what: str
) -> None:
    answer, ended = ANSWERS[what]

    def fault(path: str) -> Reply | None:
        if "/minute/" not in path:
            return None
        timer.forward(0.25)
        return answer()

    market.fault = fault
    app = build()
    ask(app, ONE_TICKER)
    settle(app)
    found = scrape(app)
    assert (found.value(f"{CALLS}_count", kind="days", outcome="ok") or 0) >= 1
    bars = {labels: n for labels, n in found.all(f"{CALLS}_count").items() if ("kind", "bars") in labels}
    calls = sum("/minute/" in path for path in market.calls)
    assert bars == {frozenset({"kind": "bars", "outcome": ended}.items()): calls}
    assert found.value(f"{CALLS}_sum", kind="bars", outcome=ended) == 0.25 * calls


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v2/aggs/ticker/SPY/range/1/minute/2025-03-11/2025-03-11", "bars"),
        ("/v2/aggs/ticker/SPY/range/1/day/2025-03-01/2025-03-10", "days"),
        ("/v2/snapshot/locale/us/markets/stocks/tickers/SPY", "snapshot"),
        ("/v1/marketstatus/now", "status"),
    ],
)
def test_calls_are_told_apart_by_kind(clock: FakeClock, timer: FakeTimer, path: str, kind: str) -> None:
    telemetry = build_telemetry(
        None, service="s", instance="i", share=0.0, emit=Events(), now=timer.timer.now, epoch=timer.timer.epoch
    )
    middleware.with_measurement(FeedTransport(demo_feed(), CALENDAR, clock), telemetry.stages, kind_of, outcome)(
        path, {}
    )
    [labels] = [
        s.labels for f in telemetry.latencies.registry.collect() for s in f.samples if s.name == f"{CALLS}_count"
    ]
    assert labels == {"kind": kind, "outcome": "ok"}


@pytest.mark.parametrize("why", [Unavailable("no key", part="api_key"), BudgetSpent("spent"), ValueError("ours")])
def test_what_never_became_a_call_is_none(build: Build, market: ScriptedMarket, why: Exception) -> None:
    def fault(path: str) -> Reply:
        raise why

    market.fault = fault
    app = build()
    ask(app, ONE_TICKER)
    settle(app)
    assert market.calls
    assert scrape(app).all(f"{CALLS}_count") == {}


def withheld(found: World) -> dict[str, float]:
    return seen(found).by("predict_polygon_calls_withheld_total", "reason")


def test_a_circuit_that_opens_is_shown_and_what_it_withholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", read_s=PATIENCE_S) as found:
        found.get(ONE_TICKER)
        assert seen(found).value("predict_breaker_state", kind="bars", state="closed") == 1
        assert withheld(found).keys() == set(WITHHELD)
        assert withheld(found)["breaker"] == 0
        assert seen(found).all("predict_breaker_changes_total") == {}
        found.provider.inject_fault("500", only="/minute/")
        for _ in range(10):
            found.step(61)
            found.get(ONE_TICKER)
        found.get("/replay?ticker=SPY&date=2025-03-06&time=11:00")
        found.get("/replay?ticker=SPY&date=2025-03-05&time=11:00")
        found.settle()
        now = seen(found)
        states = {state: now.value("predict_breaker_state", kind="bars", state=state) for state in STATES}
        assert states == {"closed": 0, "open": 1, "half_open": 0}
        assert (now.value("predict_breaker_changes_total", kind="bars", state="open") or 0) >= 1
        assert now.value("predict_breaker_state", kind="days", state="closed") == 1
        assert withheld(found)["breaker"] >= 1
        assert now.value(f"{CALLS}_count", kind="bars", outcome="failed") >= 5  # type: ignore[operator]
        found.provider.clear_fault()
        found.step(61)
        found.step(61)
        assert seen(found).value("predict_breaker_state", kind="bars", state="closed") == 1
        assert seen(found).value("predict_breaker_changes_total", kind="bars", state="closed") >= 1  # type: ignore[operator]


def test_the_budget_is_shown_as_it_is_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", read_s=PATIENCE_S, polygon_calls_per_minute=12) as found:
        found.step(3600)
        found.step(120)
        before = seen(found)
        assert before.value("predict_budget_limit_calls") == 12
        assert before.value("predict_budget_pause_seconds") == 0
        assert before.value("predict_api_key_refused") == 0
        spent, left = (before.value("predict_budget_calls", state=state) or 0 for state in ("spent", "left"))
        assert spent + left == 12
        found.get("/replay?ticker=SPY&date=2025-02-20&time=11:00")
        now = seen(found)
        assert now.value("predict_budget_calls", state="spent") > spent  # type: ignore[operator]
        for day in range(3, 8):
            found.get(f"/replay?tickers=SPY,QQQ,IWM&date=2025-02-{day:02}&time=11:00")
        found.settle()
        assert withheld(found)["budget"] >= 1
        assert seen(found).value("predict_budget_calls", state="left") == 12 - (
            seen(found).value("predict_budget_calls", state="spent") or 0
        )


def test_a_pause_that_the_provider_asks_for_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", read_s=PATIENCE_S, hasty=False) as found:
        found.core.pipeline.interest.request(["SPY"], found.clock())
        found.step(61)
        found.provider.inject_fault("429", retry_after=40)
        found.step(61)
        now = seen(found)
        assert 39 < (now.value("predict_budget_pause_seconds") or 0) < 90
        assert now.value("predict_api_key_refused") == 0
        assert now.by(f"{CALLS}_count", "outcome")["limited"] >= 1
        found.provider.clear_fault()
        found.step(90)
        assert seen(found).value("predict_budget_pause_seconds") == 0


def test_a_refused_key_is_shown_and_what_is_not_asked_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:30:10", read_s=PATIENCE_S, hasty=False) as found:
        found.core.pipeline.interest.request(["SPY"], found.clock())
        found.step(61)
        assert seen(found).value("predict_api_key_refused") == 0
        found.provider.inject_fault("401")
        found.step(61)
        refused = withheld(found)["key"]
        found.step(61)
        now = seen(found)
        assert now.value("predict_api_key_refused") == 1
        assert now.by(f"{CALLS}_count", "outcome")["refused"] >= 1
        assert 200 < (now.value("predict_budget_pause_seconds") or 0) <= 300
        assert withheld(found)["key"] > refused


def test_without_a_provider_there_is_no_budget_and_no_circuit(tmp_path: Path, clock: FakeClock) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    ask(app, ONE_TICKER)
    found = scrape(app)
    for name in ("calls", "limit_calls", "pause_seconds"):
        assert found.families[f"predict_budget_{name}"].samples == []
    for name in ("predict_api_key_refused", "predict_breaker_state"):
        assert found.families[name].samples == []
    assert found.value("predict_info", version=VERSION, market="demo", region="", replica="") == 1
