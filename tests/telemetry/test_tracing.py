"""Traces as a real collector gets them: their trees, who is recorded, what must never be in them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response

from app.errors import SettingsError, Upstream
from app.factory import create_app
from app.market.bars import Span
from app.telemetry import otlp
from app.telemetry.tracing import RECORDED_PER_SECOND, TokenBucket, Trace, parent_of, state_of, trace_headers
from middleware.request_context import RequestContext
from tests.collector import Collector, Seen, collecting
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings, settle
from tests.waiting import PATIENCE_S, wait_for

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
RECORD = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
Make = Callable[..., Flask]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def make(
    tmp_path: Path, collector: Collector, clock: FakeClock, market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """A traced server; closed at the end, so that its threads are gone. It waits for its collector as long as a busy machine
    needs."""
    monkeypatch.setattr(otlp, "SEND_S", PATIENCE_S)
    monkeypatch.setattr(otlp, "CLOSE_S", PATIENCE_S)
    made = []

    def build(timer: FakeTimer | None = None, **values: Any) -> Flask:
        values = {"traces_share": 0.0, "otlp_endpoint": collector.address, "data_dir": tmp_path, **values}
        chosen = settings(market="polygon", polygon_api_key="k-secret", **values)
        app = create_app(chosen, clock=clock, transport=market, timer=timer and timer.timer)
        made.append(app)
        return app

    yield build
    for app in made:
        close(app)


def close(app: Flask) -> None:
    """Send all spans, those of fetches too that outlast their answers."""
    settle(app)
    app.extensions["predict-server"].close()


def ask(app: Flask, path: str = "/trading_directions", **headers: str) -> Any:
    return plain(app, path, {**RECORD, **headers})


def plain(app: Flask, path: str, headers: dict[str, str] | None = None) -> Any:
    """A request whose answer is read to its end."""
    return app.test_client().get(path, headers=headers, buffered=True)


def only(spans: list[Seen]) -> Seen:
    (span,) = spans
    return span


# --- trees ---


def test_a_cold_request_shows_the_fetch_its_calls_the_model_the_policy_and_the_shape(
    make: Make, collector: Collector
) -> None:
    app = make()
    assert ask(app, "/trading_directions?ticker=SPY").status_code == 200
    close(app)
    root = only(collector.roots())
    assert (root.name, root.trace, root.parent) == ("GET /trading_directions", TRACE, SPAN)
    (inner,) = [span for span in collector.spans if span.parent == root.id]
    assert inner.name == "trading-directions"
    stages = [span.name for span in collector.spans if span.parent == inner.id]
    assert {"fetch-data", "compute-v6", "policy", "shape"} <= set(stages)
    calls = [span for span in collector.spans if span.name.startswith("polygon ")]
    fetch = only([span for span in collector.named("fetch-data") if span.attributes.get("predict.ticker") == "SPY"])
    assert {span.name for span in calls} == {"polygon days", "polygon bars"}
    assert {span.parent for span in calls} == {fetch.id}
    assert all(fetch.began <= span.began and span.seconds <= fetch.seconds for span in calls)
    assert all(span.attributes["predict.outcome"] == "ok" for span in calls)
    assert len({span.trace for span in collector.spans}) == 1


def test_spans_say_ticker_hour_model_source_and_cache(make: Make, collector: Collector) -> None:
    app = make()
    ask(app, "/trading_directions?ticker=SPY")
    close(app)
    fetch, model = only(collector.named("fetch-data")), only(collector.named("compute-v6"))
    assert fetch.attributes["predict.cache"] == "miss"
    found = {name.removeprefix("predict."): value for name, value in model.attributes.items()}
    assert (found["ticker"], found["hour"], found["source"]) == ("SPY", 11, "polygon")
    assert found["model"].startswith("v6-SPY-")
    board = only(collector.named("trading-directions")).attributes
    assert (board["predict.tickers"], board["predict.hour"], board["predict.source"]) == ("SPY", 11, "polygon")
    root = only(collector.roots()).attributes
    assert root["http.route"] == "/trading_directions"
    assert root["http.response.status_code"] == 200
    assert root["predict.version"] == 1
    assert root["predict.cache"] == "made"


def test_spans_say_in_which_region_and_on_which_replica(make: Make, collector: Collector) -> None:
    for values in ({"railway_region": "us-west2", "railway_replica": "r1"}, {"railway_region": "us west"}):
        app = make(**values)
        ask(app, "/livez")
        close(app)
    named, unnamed = (span.service for span in collector.named("GET /livez"))
    assert (named["cloud.region"], named["service.instance.id"]) == ("us-west2", "r1")
    assert "cloud.region" not in unnamed


def test_a_kept_answer_is_one_span(make: Make, collector: Collector) -> None:
    app = make()
    for _ in range(2):  # the first one locks a signal, which ends what was kept before
        plain(app, "/trading_directions?ticker=SPY")
        settle(app)
    assert ask(app, "/trading_directions?ticker=SPY").status_code == 200
    close(app)
    root = only(collector.spans)
    assert root.name == "GET /trading_directions"
    assert root.attributes["predict.cache"] == "kept"


def test_an_answer_made_out_of_memory_calls_nobody(make: Make, collector: Collector) -> None:
    app = make()
    plain(app, "/trading_directions?ticker=SPY")
    ask(app, "/rpe?ticker=SPY")
    close(app)
    assert not [span for span in collector.spans if span.name.startswith("polygon")]
    assert only(collector.named("fetch-data")).attributes["predict.cache"] == "hit"
    assert only(collector.named("compute-rpe")).parent == only(collector.named("compute-structure")).id


def test_of_two_that_ask_for_the_same_one_fetches_and_the_other_is_linked_to_it(
    make: Make, collector: Collector, market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gate, joined = make(), threading.Event(), threading.Semaphore(0)

    def hold(path: str) -> None:
        gate.wait(PATIENCE_S)

    market.fault = hold
    first = threading.Thread(target=ask, args=(app, "/rpe?ticker=SPY"))
    first.start()
    wait_for(lambda: len(market.calls) == 2, "both of its series are fetched")
    other = "9" * 32
    second = threading.Thread(target=lambda: ask(app, "/northstar?ticker=SPY", traceparent=f"00-{other}-{SPAN}-01"))
    stages = app.extensions["predict-server"].stages
    link = stages.link

    def linked(stage: object) -> None:
        link(stage)
        if threading.current_thread() is second:
            joined.release()

    monkeypatch.setattr(stages, "link", linked)
    second.start()
    for _ in market.calls:
        assert joined.acquire(timeout=PATIENCE_S)
    gate.set()
    first.join()
    second.join()
    close(app)
    mine, theirs = ([span for span in collector.named("fetch-data") if span.trace == trace] for trace in (TRACE, other))
    assert set(only(theirs).links) == {only(mine).id}
    assert only(theirs).attributes["predict.cache"] == "joined"
    assert {span.trace for span in collector.spans if span.name.startswith("polygon")} == {TRACE}


def test_sqlite_and_redis_are_seen(make: Make, collector: Collector, redis_url: str) -> None:
    app = make(redis_url=redis_url)
    ask(app, "/trading_directions?ticker=SPY")
    close(app)
    redis, files = collector.named("redis"), collector.named("sqlite")
    assert {span.attributes["db.system.name"] for span in redis + files} == {"redis", "sqlite"}
    assert {span.attributes["predict.operation"] for span in files} >= {"read", "write"}
    assert redis[0].trace == TRACE


def test_what_the_follower_does_is_a_trace_of_its_own(
    make: Make, collector: Collector, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = make(traces_share=1.0)
    ask(app, "/trading_directions?ticker=SPY")
    clock.set("2025-03-11 11:31:06")
    services = app.extensions["predict-server"]
    services.start()
    collector.wait(lambda spans: called_by_itself(spans))
    services.stop()
    close(app)
    fetch = called_by_itself(collector.spans)[0]
    assert (fetch.name, fetch.parent) == ("fetch", "")


def called_by_itself(spans: list[Seen]) -> list[Seen]:
    """Spans outside of TRACE that have a call to the provider in them and nothing around them."""
    callers = {span.parent for span in spans if span.name.startswith("polygon") and span.trace != TRACE}
    return [span for span in spans if span.id in callers and not span.parent]


# --- streams ---


def streaming(app: Flask, pieces: Callable[[], Iterator[bytes]]) -> Flask:
    app.add_url_rule("/stream", "stream", lambda: Response(pieces(), content_type="application/x-ndjson"))
    return app


def duration(app: Flask, **labels: str) -> tuple[float, float]:
    """How many requests to /stream were counted, and their seconds."""
    chosen = {"route": "/stream", "method": "GET", "version": "1", "status": "200", **labels}
    registry = app.extensions["predict-server"].metrics.registry
    read = [registry.get_sample_value(f"predict_request_seconds_{what}", chosen) for what in ("count", "sum")]
    return read[0] or 0.0, read[1] or 0.0


def test_a_stream_of_a_second_is_a_second_long(make: Make, collector: Collector) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"{}\n"
        time.sleep(1.0)
        yield b"{}\n"

    app = streaming(make(), pieces)
    began = time.monotonic()
    assert ask(app, "/stream").data == b"{}\n{}\n"
    close(app)
    waited = time.monotonic() - began
    count, seconds = duration(app)
    assert count == 1
    assert 1.0 <= seconds <= waited
    root = only(collector.roots())
    assert 1.0 <= root.seconds <= waited
    assert not root.failed


def test_a_stream_that_breaks_is_an_error_in_trace_metrics_and_log(
    make: Make, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"{}\n"
        raise RuntimeError("midway")

    app = streaming(make(), pieces)
    with pytest.raises(RuntimeError, match="midway"):
        ask(app, "/stream")
    close(app)
    root = only(collector.roots())
    assert root.failed
    assert root.events == ["RuntimeError"]
    assert duration(app, status="500")[0] == 1
    assert duration(app)[0] == 0
    assert 'predict_errors_total{code="INTERNAL"} 1.0' in plain(app, "/metrics").text
    told = [record for record in caplog.records if "broke on its way" in record.getMessage()]
    assert len(told) == 1


def test_a_caller_who_leaves_a_stream_ends_it_without_an_error(make: Make, collector: Collector) -> None:
    def pieces() -> Iterator[bytes]:
        while True:
            yield b"{}\n"

    app = streaming(make(), pieces)
    answer = app.test_client().get("/stream", headers=RECORD, buffered=False)
    assert next(iter(answer.response))
    answer.close()
    close(app)
    assert not only(collector.roots()).failed
    assert duration(app)[0] == 1


def test_what_a_stream_does_is_inside_its_request(make: Make, collector: Collector) -> None:
    app = make()
    stages = app.extensions["predict-server"].stages

    def pieces() -> Iterator[bytes]:
        with stages("shape"):
            yield b"{}\n"

    ask(streaming(app, pieces), "/stream").get_data()
    close(app)
    assert only(collector.named("shape")).parent == only(collector.named("GET /stream")).id


# --- who is recorded ---


def test_a_caller_that_does_not_record_is_not_recorded(make: Make, collector: Collector) -> None:
    app = make(traces_share=1.0)
    assert f"00-{TRACE}-" in ask(app, "/livez", traceparent=f"00-{TRACE}-{SPAN}-00").headers["Server-Timing"]
    close(app)
    assert collector.spans == []


def test_of_requests_without_a_trace_a_share_is_recorded(make: Make, collector: Collector) -> None:
    timer = FakeTimer()
    app = make(timer, traces_share=0.25)
    for _ in range(400):
        plain(app, "/livez")
        timer.forward(1)
    close(app)
    assert 60 <= len(collector.roots()) <= 145


def test_however_many_want_to_be_recorded_there_is_a_cap(make: Make, collector: Collector) -> None:
    timer = FakeTimer()
    app = make(timer)
    for _ in range(50):
        ask(app, "/livez")
    timer.forward(0.5)
    for _ in range(50):
        ask(app, "/livez")
    close(app)
    assert len(collector.roots()) == RECORDED_PER_SECOND * 1.5


def test_the_bucket_never_holds_more_than_a_seconds_worth() -> None:
    timer = FakeTimer()
    bucket = TokenBucket(3, timer.timer.now)
    timer.forward(1000)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]


def test_an_error_has_a_span_of_its_own_that_names_the_request(
    make: Make, collector: Collector, market: ScriptedMarket
) -> None:
    app = make()
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    answer = plain(app, "/broken", {"X-Request-Id": "mine-7"})
    assert answer.status_code == 500
    close(app)
    span = only(collector.spans)
    assert span.failed
    assert span.attributes["predict.request_id"] == "mine-7"
    assert span.attributes["predict.recorded"] == "error"
    assert span.attributes["error.type"] == "INTERNAL"
    assert f"00-{span.trace}-{span.id}-" in answer.headers["Server-Timing"]


def test_so_has_a_slow_request_with_the_time_it_took(make: Make, collector: Collector) -> None:
    timer = FakeTimer()
    app = make(timer)

    def slow() -> str:
        timer.forward(2.0)
        return "{}"

    app.add_url_rule("/slow", "slow", slow)
    plain(app, "/slow")
    plain(app, "/livez")
    close(app)
    span = only(collector.spans)
    assert span.name == "GET /slow"
    assert span.attributes["predict.recorded"] == "slow"
    assert not span.failed


def test_a_client_s_own_error_is_none(make: Make, collector: Collector) -> None:
    app = make()
    assert plain(app, "/nothing").status_code == 404
    close(app)
    assert collector.spans == []


def test_a_failed_call_to_the_provider_is_seen_with_its_reason(
    make: Make, collector: Collector, market: ScriptedMarket
) -> None:
    def fail(path: str) -> None:
        raise Upstream("the connection to the provider failed (ConnectionError)")

    market.fault = fail
    app = make()
    ask(app, "/trading_directions?ticker=SPY")
    close(app)
    calls = [span for span in collector.spans if span.name.startswith("polygon")]
    assert calls
    assert all(span.failed and span.attributes["predict.outcome"] == "failed" for span in calls)


# --- what must never be in them ---


def test_no_secret_is_ever_in_a_span(make: Make, collector: Collector) -> None:
    app = make(traces_share=1.0)
    app.add_url_rule("/broken", "broken", lambda: 1 / 0)
    for path in ("/swing?ticker=SPY&apiKey=hush-1", "/nothing?key=hush-2", "/broken?token=hush-3"):
        ask(app, path, **{"X-API-Key": "hush-4", "Authorization": "Bearer hush-5", "Cookie": "s=hush-6"})
    close(app)
    assert len(collector.spans) > 3
    for body in collector.raw:
        assert b"hush" not in body
        assert b"k-secret" not in body


def test_only_named_attributes_leave(make: Make, collector: Collector) -> None:
    app = make()
    ask(app, "/swing?ticker=SPY", **{"User-Agent": "curl of somebody"})
    close(app)
    names = {name for span in collector.spans for name in span.attributes}
    assert not [
        name for name in names if "user_agent" in name or "query" in name or name in ("http.url", "net.peer.ip")
    ]


def test_a_server_without_a_collector_does_not_even_load_the_exporter(tmp_path: Path) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path))
    assert not hasattr(app, "_is_instrumented_by_opentelemetry")
    assert plain(app, "/livez", RECORD).headers["Server-Timing"].startswith("traceparent;desc")


def test_tracing_can_be_switched_off(make: Make, collector: Collector) -> None:
    app = make(tracing_off=True, traces_share=1.0)
    ask(app, "/livez")
    close(app)
    assert collector.raw == []


# --- W3C Trace Context ---


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        pytest.param(f"00-{TRACE}-{SPAN}-01", TRACE, id="good"),
        pytest.param(f"00-{TRACE}-{SPAN}-ff", TRACE, id="unknown flags"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01", TRACE, id="future version"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", TRACE, id="future version with more"),
        pytest.param(f"cc-{TRACE}-{SPAN}-01.more", None, id="future version with no dash before more"),
        pytest.param(f"00-{TRACE}-{SPAN}-01-more", None, id="version 00 with more"),
        pytest.param(f"ff-{TRACE}-{SPAN}-01", None, id="version ff"),
        pytest.param(f"00-{'0' * 32}-{SPAN}-01", None, id="trace of zeros"),
        pytest.param(f"00-{TRACE}-{'0' * 16}-01", None, id="span of zeros"),
        pytest.param(f"00-{TRACE.upper()}-{SPAN}-01", None, id="upper case"),
        pytest.param(f"00-{TRACE}-{SPAN}", None, id="no flags"),
        pytest.param(f"00-{TRACE}-{SPAN}-0x", None, id="odd flags"),
        pytest.param(f"0-{TRACE}-{SPAN}-01", None, id="short version"),
        pytest.param(f"00-{TRACE[:-1]}-{SPAN}-01", None, id="short trace"),
        pytest.param(f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01", None, id="twice"),
        pytest.param("", None, id="empty"),
        pytest.param("x" * 8000, None, id="long nonsense"),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(make: Make, given: str, trace: str | None) -> None:
    found = parent_of(given)
    assert (found and found.trace_id) == trace
    shown = ask(make(), "/livez", traceparent=given).headers["Server-Timing"]
    assert (f"00-{TRACE}-" in shown) == (trace is not None)


@pytest.mark.parametrize(
    ("given", "members"),
    [
        pytest.param("a=1,b=2", ["a", "b"], id="good"),
        pytest.param("a=1, \tb=2,,", ["a", "b"], id="spaces and empty members"),
        pytest.param("1a@tenant=x", ["1a@tenant"], id="multi-tenant key"),
        pytest.param("a=1,b=2,a=3", ["a", "b"], id="a key twice: the first, which is the newest, stays"),
        pytest.param(",".join(["a=1"] * 40), ["a"], id="a key forty times"),
        pytest.param("A=1", [], id="a key in upper case"),
        pytest.param("nonsense", [], id="no pair"),
        pytest.param(",".join(f"k{i}=1" for i in range(32)), [f"k{i}" for i in range(32)], id="32 members"),
        pytest.param(",".join(f"k{i}=1" for i in range(33)), [], id="33 members"),
        pytest.param(
            f"long={'x' * 200},a=1,big={'y' * 250},c={'z' * 90}", ["a", "c"], id="oversized: long ones go first"
        ),
        pytest.param(",".join(f"k{i}={'x' * 100}" for i in range(9)), [f"k{i}" for i in range(4)], id="then the last"),
        pytest.param(f"a={'x' * 250},b={'y' * 255}", ["a", "b"], id="512 characters are kept"),
    ],
)
def test_a_tracestate_is_read_as_the_standard_says(given: str, members: list[str]) -> None:
    assert list(state_of(given)) == members


def handed_on(market: ScriptedMarket) -> list[dict[str, str]]:
    """The trace headers that each call to the provider is made with, from now on."""
    heard: list[dict[str, str]] = []

    def hear(path: str) -> None:
        heard.append(trace_headers())

    market.fault = hear
    return heard


@pytest.mark.parametrize("collected", [True, False])
def test_a_trace_that_is_not_recorded_is_handed_on_to_the_provider(
    make: Make, market: ScriptedMarket, collected: bool
) -> None:
    heard = handed_on(market)
    app = make() if collected else make(otlp_endpoint=None)
    asked = {"traceparent": f"00-{TRACE}-{SPAN}-00", "tracestate": "vendor=1,vendor=2"}
    plain(app, "/trading_directions?ticker=SPY", asked)
    assert heard
    for headers in heard:
        version, trace, span, flags = headers["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "00")
        assert span != SPAN, "the parent is this server's own span"
        assert headers["tracestate"] == "vendor=1"


def test_a_call_that_no_request_asked_for_hands_no_trace_on(make: Make, market: ScriptedMarket) -> None:
    heard = handed_on(market)
    make().extensions["predict-server"].pipeline._source.fetches.start("SPY", (Span.DAY,), market.clock().date())
    wait_for(lambda: heard)
    assert heard == [{}]


def test_the_state_of_a_trace_goes_along_and_without_a_valid_parent_it_does_not(
    make: Make, collector: Collector
) -> None:
    app = make(traces_share=1.0)
    ask(app, "/livez", tracestate="vendor=1")
    ask(app, "/livez", traceparent="nonsense", tracestate="vendor=1")
    close(app)
    assert sorted((span.trace == TRACE, span.state) for span in collector.roots()) == [(False, ""), (True, "vendor=1")]


# --- what the library would say ---


def test_headers_for_the_collector_that_cannot_be_read_are_quoted_nowhere(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization Bearer hush-1,api key=hush-2")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "token hush-3,a=b")
    with caplog.at_level("DEBUG"):
        ask(app := make(), "/livez")
        close(app)
    assert "hush" not in caplog.text


def test_a_variable_of_the_library_that_is_wrong_stops_the_start_with_a_sentence(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "hush")
    with pytest.raises(SettingsError, match="OTEL_ variables") as raised:
        make()
    assert "hush" not in str(raised.value)


def test_other_propagators_than_the_standard_s_change_nothing() -> None:
    environment = {**os.environ, "OTEL_PROPAGATORS": "b3"}
    command = [sys.executable, "-c", "import app.config.settings, app.factory"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


def test_long_values_of_a_caller_make_no_line(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    ask(app := make(), f"/swing?ticker=SPY&x={'y' * 2000}", **{"User-Agent": "z" * 2000})
    close(app)
    assert caplog.records == []


def test_what_an_exception_says_stays_here_and_its_kind_leaves(make: Make, collector: Collector) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"{}\n"
        raise ValueError("GET https://provider/?apiKey=hush")

    app = streaming(make(), pieces)
    with pytest.raises(ValueError, match="hush"):
        ask(app, "/stream")
    close(app)
    assert only(collector.roots()).events == ["ValueError"]
    assert not [body for body in collector.raw if b"hush" in body]


def test_a_path_that_nobody_knows_names_no_span(make: Make, collector: Collector) -> None:
    app = make()
    ask(app, "/" + "x" * 300)
    close(app)
    assert {span.name for span in collector.spans} == {"GET", "unrouted"}


@pytest.mark.parametrize("method", ["BREW", "get", "X" * 300])
def test_a_method_that_nobody_knows_names_no_span(make: Make, collector: Collector, method: str) -> None:
    app = make()
    app.test_client().open("/livez", method=method, headers=RECORD, buffered=True)
    app.test_client().open("/livez", method="PATCH", headers=RECORD, buffered=True)
    close(app)
    odd, known = collector.roots()
    assert odd.name.split(" ")[0] == "HTTP"
    assert known.name == "PATCH"
    assert odd.attributes["http.request.method"] == "_OTHER"
    assert not [span.name for span in collector.spans if method in span.name]


def test_a_slow_request_that_was_not_recorded_before_is_an_exemplar(make: Make) -> None:
    timer = FakeTimer()
    app = make(timer)

    def slow() -> str:
        timer.forward(3.0)
        return "{}"

    app.add_url_rule("/slow", "slow", slow)
    said = plain(app, "/slow").headers["Server-Timing"]
    text = plain(app, "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}).text
    (line,) = [line for line in text.splitlines() if 'le="5.0"' in line and 'route="/slow"' in line]
    assert said.split("00-")[1][:32] in line


def test_a_fetch_that_ends_while_its_answer_is_sent_breaks_nothing() -> None:
    """Fetches in other threads add their stages to the request that waits for them, or does no longer."""
    context = RequestContext("id", Trace("trace", "span"))

    class LastsUntilAnotherEnds(float):
        def __mul__(self, factor: object) -> float:
            context.stages["fetch-data"] = 0.02
            return 10.0

    context.stages = {"shape": LastsUntilAnotherEnds(0.01), "await-data": 0.03}
    assert context.server_timing().startswith("shape;dur=10.0, await-data;dur=30.0, traceparent")
