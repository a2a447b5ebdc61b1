"""Every bound has its metric, and the text of a scrape is valid in both formats."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from tests.support import FakeClock, FakeTimer, ScriptedMarket, new_york, settle
from tests.telemetry.metrics.scraping import (
    AT,
    ONE_TICKER,
    REQUESTS,
    Build,
    Labels,
    Scrape,
    ask,
    scrape,
    stages,
    started,
)
from tests.waiting import PATIENCE_S

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
PROMTOOL = "promtool"
MISSING = f"{PROMTOOL} is missing; to install it: `sudo apt-get install prometheus` (Debian), `brew install prometheus` (macOS)"
BOUNDED = {
    "fetches under way or queued": "predict_fetches_waiting",
    "jobs of the follower": "predict_follower_jobs",
    "series of bars in memory": "predict_series_kept",
    "kept answers": "predict_kept_answers",
    "bytes of kept answers": "predict_kept_answer_bytes",
    "clients whose requests are counted": "predict_limit_windows",
    "replays under way": "predict_under_way",
    "requests under way": "predict_requests_in_flight",
    "access lines not written yet": "predict_access_lines_waiting",
    "access lines that did not fit": "predict_access_lines_lost",
    "spans not sent yet": "predict_spans_waiting",
    "spans that were lost": "predict_spans",
    "calls of the budget": "predict_budget_calls",
    "calls that were not made": "predict_polygon_calls_withheld",
    "requests over a limit": "predict_limit_decisions",
    "decisions that drift rests on": "predict_drift_decisions",
}


def test_every_bound_has_its_metric(build: Build) -> None:
    app = build(otlp_endpoint="http://127.0.0.1:9")
    found = scrape(app)
    assert [what for what, name in BOUNDED.items() if name not in found.families] == []
    for _ in range(2):
        ask(app, "/swing")
        settle(app)
    now = scrape(app)
    for name, least in (("series_kept", 2), ("kept_answers", 1), ("kept_answer_bytes", 100), ("limit_windows", 1)):
        assert (found.value(f"predict_{name}") or 0) < least <= (now.value(f"predict_{name}") or 0)
    app.extensions["predict-server"].close()


def test_without_a_collector_nothing_is_said_of_spans(build: Build) -> None:
    assert not [name for name in scrape(build()).families if name.startswith("predict_spans")]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """One for all tests that only read the metrics."""
    clock = FakeClock(new_york(AT))
    return busied(started(tmp_path_factory.mktemp("busy"), clock, ScriptedMarket(clock), FakeTimer(hasty=True)))


def busied(app: Flask) -> Flask:
    """A server that has something to say of everything."""
    for path in ("/rpe", "/rpe", "/replay?date=2025-03-10&time=11:00", "/nothing", "/breaks"):
        ask(app, path)
    settle(app)
    return app


@pytest.mark.parametrize("accept", [None, "*/*", "text/plain", "text/plain;version=0.0.4", "text/html,*/*;q=0.8"])
def test_plain_text_is_given_to_whoever_does_not_ask_for_more(busy: Flask, accept: str | None) -> None:
    answer = ask(busy, "/metrics", headers={} if accept is None else {"Accept": accept})
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert "# EOF" not in answer.text
    assert REQUESTS in Scrape(answer.text).families


@pytest.mark.parametrize("more", ["", ",text/plain;version=0.0.4;q=0.5,*/*;q=0.1"])
def test_open_metrics_are_given_to_whoever_asks_for_them(busy: Flask, more: str) -> None:
    answer = ask(busy, "/metrics", headers={"Accept": OPENMETRICS + more})
    assert answer.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("\n# EOF\n")
    assert answer.text.count("# EOF") == 1


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("text/plain", text_string_to_metric_families), (OPENMETRICS, openmetrics.text_string_to_metric_families)],
    ids=["plain", "openmetrics"],
)
def test_both_texts_can_be_read_and_say_of_each_metric_what_it_is(
    build: Build, accept: str, parse: Callable[[str], Iterator[Metric]]
) -> None:
    text = ask(busied(build()), "/metrics", headers={"Accept": accept}).text
    families = list(parse(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)) > 40
    assert {family.type for family in families} == {"histogram", "counter", "gauge"}
    said = {kind: re.findall(rf"^# {kind} (\S+) \S", text, re.MULTILINE) for kind in ("HELP", "TYPE")}
    assert said["HELP"] == said["TYPE"]
    assert len(said["HELP"]) == len(families)
    ours = [name for name in names if not name.startswith(("process_", "python_"))]
    assert all(name.startswith("predict_") for name in ours)
    assert (
        sum(sample.value for f in families if f.name == REQUESTS for sample in f.samples if "_count" in sample.name)
        == 5
    )


def test_both_texts_say_the_same(busy: Flask) -> None:
    metrics = busy.extensions["predict-server"].metrics

    def said(text: str, parse: Callable[[str], Iterator[Metric]]) -> dict[tuple[str, Labels], float]:
        samples = [sample for family in parse(text) for sample in family.samples]
        return {(s.name, frozenset(s.labels.items())): s.value for s in samples if s.name.startswith("predict_")}

    plain = said(metrics(None, [])[0], text_string_to_metric_families)
    assert said(metrics(OPENMETRICS, [])[0], openmetrics.text_string_to_metric_families) == plain


@pytest.mark.parametrize("name", ["predict_info", "predict_events_total", f"{REQUESTS}_count", "process_open_fds"])
@pytest.mark.parametrize("accept", ["text/plain", OPENMETRICS])
def test_who_names_a_metric_gets_that_one(busy: Flask, name: str, accept: str) -> None:
    text = ask(busy, f"/metrics?name[]={name}", headers={"Accept": accept}).text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines
    assert {re.split(r"[{ ]", line)[0] for line in lines} == {name}


def test_who_names_several_gets_these_and_who_names_none_that_there_is_nothing(busy: Flask) -> None:
    several = Scrape(ask(busy, "/metrics?name[]=predict_info&name[]=predict_market_open").text)
    assert set(several.families) == {"predict_info", "predict_market_open"}
    assert ask(busy, "/metrics?name[]=nothing").text == ""


def test_promtool_finds_nothing_to_mend(busy: Flask) -> None:
    if shutil.which(PROMTOOL) is None:
        pytest.skip(MISSING)
    text = ask(busy, "/metrics").text
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_follower_with_nothing_to_fetch_measures_no_fetch(build: Build, market: ScriptedMarket) -> None:
    app = build()
    ask(app, ONE_TICKER)
    before, calls = stages(app)["fetch-data"], len(market.calls)
    core = app.extensions["predict-server"].pipeline
    for _ in range(20):
        core._source.refresh("SPY", core.clock())
    assert len(market.calls) == calls
    assert stages(app)["fetch-data"] == before
