"""What a scrape says of cached responses, bars, the record, and the stages of a request."""

from __future__ import annotations

from flask import Flask

from app.telemetry.spans import MEASURED
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settle
from tests.telemetry.metrics.scraping import ONE_TICKER, STAGES, Build, ask, scrape, stages


def lookups(app: Flask, cache: str) -> tuple[float | None, float | None]:
    found = scrape(app)
    hit, miss = (found.value("predict_cache_lookups_total", cache=cache, outcome=how) for how in ("hit", "miss"))
    return hit, miss


def test_an_answer_given_again_is_a_hit_and_one_made_to_be_kept_a_miss(build: Build) -> None:
    app = build()
    assert lookups(app, "answers") == (0, 0)
    ask(app, "/swing")
    assert lookups(app, "answers") == (0, 1)
    settle(app)
    ask(app, "/swing")  # what the first one fetched has ended it
    hits, misses = lookups(app, "answers")
    assert hits is not None
    ask(app, "/swing")
    ask(app, "/swing", headers={"If-None-Match": "*"})
    assert lookups(app, "answers") == (hits + 2, misses)
    ask(app, "/livez")
    assert lookups(app, "answers") == (hits + 2, misses), "what is never kept is neither"


def test_a_signal_out_of_the_record_is_a_hit(build: Build, clock: FakeClock) -> None:
    app = build()
    ask(app, ONE_TICKER)
    assert lookups(app, "record") == (0, 1)
    clock.forward(minutes=1)
    ask(app, ONE_TICKER)
    assert lookups(app, "record") == (1, 1)


def test_bars_in_memory_are_hits(build: Build) -> None:
    app = build()
    ask(app, ONE_TICKER)
    hits, misses = lookups(app, "memory")
    assert hits is not None
    ask(app, "/mtf?ticker=SPY")
    more_hits, as_many_misses = lookups(app, "memory")
    assert more_hits is not None
    assert more_hits > hits
    assert as_many_misses == misses


def test_past_days_on_disk_are_hits_of_a_server_that_starts_anew(build: Build) -> None:
    replay = "/replay?ticker=SPY&date=2025-03-07&time=11:00"
    first = build()
    ask(first, replay)
    settle(first)
    hits, misses = lookups(first, "disk")
    assert misses is not None
    assert (hits, misses > 0) == (0, True)
    second = build()
    ask(second, replay)
    settle(second)
    assert lookups(second, "disk") == (misses, 0)


WAITING = {"await-data"}
"""Where a fetch that is under way is waited for, which is a matter of moments."""


def test_a_stage_is_measured_by_the_requests_that_have_it_and_by_no_others(build: Build) -> None:
    app = build()
    for path in ("/livez", "/versions", "/nothing", "/metrics"):
        ask(app, path)
    assert stages(app) == {}
    ask(app, "/models")
    assert stages(app) == {"shape": 1}
    ask(app, ONE_TICKER)
    assert set(stages(app)) - WAITING == {"fetch-data", "compute-v6", "policy", "shape"}
    assert (stages(app)["compute-v6"], stages(app)["policy"], stages(app)["shape"]) == (1, 1, 2)
    ask(app, "/rpe?ticker=SPY")
    assert set(stages(app)) | WAITING == MEASURED
    assert len(MEASURED) == 7
    assert stages(app)["compute-structure"] == stages(app)["compute-rpe"] == 1
    assert stages(app)["compute-v6"] == 1, "the signal is in the record"
    before = stages(app)
    ask(app, "/rpe?ticker=SPY")
    assert stages(app) == before, "a kept answer has no stages"


def test_a_stage_takes_as_long_as_it_does(build: Build, market: ScriptedMarket, timer: FakeTimer) -> None:
    def slowly(path: str) -> None:
        if "/minute/" in path:
            timer.forward(0.75)

    market.fault = slowly  # type: ignore[assignment]
    app = build()
    ask(app, ONE_TICKER)
    settle(app)
    took = scrape(app).by(f"{STAGES}_sum", "stage")
    assert took["fetch-data"] >= 0.75
    assert took["compute-v6"] == took["policy"] == took["shape"] == 0.0
