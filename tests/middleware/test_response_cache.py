"""For how long an answer may be kept, and which ones are given again."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import count, cycle
from pathlib import Path
from typing import Any

import http_sf
import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, TestResponse

from app.factory import create_app
from app.live.events import Events
from app.market.polygon import Reply
from app.pipeline import Pipeline
from tests.middleware.servers import FLOATING, KEPT, NOT_KEPT, Build
from tests.support import FakeClock, ScriptedMarket, new_york, settings, settle

pytestmark = pytest.mark.usefixtures("warm_market")


def cache_control(headers: Headers) -> dict[str, Any]:
    (value,) = headers.getlist("Cache-Control")
    members: Any = http_sf.parse(value.encode(), tltype="dictionary")
    return {name: item for name, (item, _) in members.items()}


@pytest.mark.parametrize("path", [*NOT_KEPT, "/nothing", "/v2/ping", "/v2/nothing", "/swing?ticker=XYZ", "/v3"])
def test_what_is_not_kept_is_not_to_be_stored(shared: Build, path: str) -> None:
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        answer = shared().test_client().open(path, method=method)
        assert cache_control(answer.headers) == {"no-store": True}
        assert "ETag" not in answer.headers


@pytest.mark.parametrize("path", KEPT)
def test_what_is_kept_is_private_and_has_a_strong_tag(build: Build, clock: FakeClock, path: str) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build().test_client()
    first, second = client.get(path), client.get(path)
    for answer in (first, second):
        told = cache_control(answer.headers)
        assert set(told) == {"private", "max-age"}
        (tag,) = answer.headers.getlist("ETag")
        assert re.fullmatch(r'"[!#-~]+"', tag)
    assert first.data == second.data
    assert first.headers["ETag"] == second.headers["ETag"]


ROUND = 100
SECONDS = [0, 0.5, 1, 4, 4.999, 5, 5.001, 7, 19.9, 20, 30.5, 58, 59, 59.001, 59.999]


def test_no_cache_keeps_an_answer_beyond_the_minute_or_the_moment_bars_turn_final(
    build: Build, clock: FakeClock
) -> None:
    """Bars of this plan turn final five seconds after their end."""
    client = build().test_client()
    for minute, second in enumerate(SECONDS, 20):
        clock.set(f"2025-03-11 11:{minute}:00")
        clock.forward(seconds=second)
        left = 5 - second if second < 5 else 60 - second
        for path in ("/trading_directions?ticker=SPY", "/swing"):
            for _ in range(3):
                told = cache_control(client.get(path).headers)["max-age"]
                assert 0 <= told <= left, f"{path} at second {second}"
                assert isinstance(told, int)


def test_soon_after_bars_turned_final_an_answer_is_good_for_a_while(build: Build, clock: FakeClock) -> None:
    client = build().test_client()
    clock.set("2025-03-11 11:30:06")
    client.get("/mtf")
    told = []
    for _ in range(4):
        told.append(cache_control(client.get("/mtf").headers)["max-age"])
        clock.forward(seconds=2)
    assert told[0] >= 5
    assert told == [told[0], told[0] - 2, told[0] - 4, told[0] - 6]


@pytest.mark.parametrize(
    ("wish", "unchanged"),
    [
        ("{tag}", True),
        ("W/{tag}", True),
        ('"other", {tag}', True),
        ('"other",{tag},"third"', True),
        ('W/"other" , W/{tag}', True),
        ("*", True),
        ('"other"', False),
        ('W/"other"', False),
        ("", False),
        ("{bare}", True),  # not what RFC 9110 writes; werkzeug reads it as the tag, as other servers do
        ("{bare}x", False),
        ('"{bare}x"', False),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_known_answer_is_not_sent_again(shared: Build, wish: str, unchanged: bool, method: str) -> None:
    client = shared().test_client()
    client.get("/trading_directions")
    known = client.get("/trading_directions")
    tag = known.headers["ETag"]
    header = wish.replace("{tag}", tag).replace("{bare}", tag.strip('"'))
    answer = client.open("/trading_directions", method=method, headers={"If-None-Match": header})
    assert answer.status_code == (304 if unchanged else 200)
    assert answer.data == (b"" if unchanged or method == "HEAD" else known.data)
    assert answer.headers["ETag"] == tag
    assert set(cache_control(answer.headers)) == {"private", "max-age"}
    (quota,) = http_sf.parse(answer.headers["RateLimit"].encode(), tltype="list")  # type: ignore[misc]
    assert quota[0] == "directions"
    left = int(known.headers["X-RateLimit-Remaining"]) - 1
    assert quota[1]["r"] == left
    assert answer.headers["X-RateLimit-Remaining"] == str(left)
    assert "X-API-Version" in answer.headers["Vary"]
    assert answer.headers["X-API-Version"] == "1"


def test_a_first_answer_may_be_known_too(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build().test_client()
    tag = client.get("/swing").headers["ETag"]
    clock.forward(minutes=1)
    moved = client.get("/swing", headers={"If-None-Match": tag})
    assert moved.status_code == 200
    assert moved.headers["ETag"] != tag


def test_kept_answers_are_limited_like_others(build: Build, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:06")
    client = build(rate_limit_directions=3).test_client()
    tag = client.get("/trading_directions").headers["ETag"]
    codes = [client.get("/trading_directions", headers={"If-None-Match": tag}).status_code for _ in range(3)]
    assert codes == [304, 304, 429]


class Watched:
    """A kept answer that is asked for again and again; its `generated_at` says when it was made."""

    def __init__(self, app: Flask, clock: FakeClock, path: str = "/trading_directions?ticker=SPY") -> None:
        self.app, self.client, self.clock, self.path = app, app.test_client(), clock, path

    def __call__(self) -> TestResponse:
        settle(self.app)
        answer = self.client.get(self.path)
        settle(self.app)
        assert answer.status_code == 200
        return answer

    def is_kept_for(self, seconds: float) -> bool:
        before = self().data
        self.clock.forward(seconds=seconds)
        return self().data == before


@pytest.fixture
def watched(build: Build, clock: FakeClock) -> Watched:
    """At 11:30:06, with what it needs in memory, so that asking changes nothing any more."""
    clock.set("2025-03-11 11:30:06")
    found = Watched(build(), clock)
    found()
    assert found.is_kept_for(1)
    return found


def test_bytes_stand_while_nothing_happens(watched: Watched) -> None:
    assert watched.is_kept_for(3)
    assert watched.is_kept_for(0.5)
    assert watched().get_json()["generated_at"].endswith("11:30:06-04:00")


def test_bytes_end_at_the_next_minute_in_new_york(watched: Watched, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:30:40")
    before = watched()
    clock.set("2025-03-11 11:30:59.999")
    assert watched().data == before.data
    clock.set("2025-03-11 11:31:00")
    after = watched()
    assert after.data != before.data
    assert after.get_json()["generated_at"].startswith("2025-03-11T11:31:00")


def test_bytes_end_when_a_bar_turns_final(watched: Watched, clock: FakeClock) -> None:
    clock.set("2025-03-11 11:31:01")
    before = watched()
    clock.set("2025-03-11 11:31:04.999")
    assert watched().data == before.data
    clock.set("2025-03-11 11:31:05")
    after = watched()
    assert after.get_json()["generated_at"].startswith("2025-03-11T11:31:05")
    assert after.get_json()["data_status"]["as_of"] > before.get_json()["data_status"]["as_of"]


def test_bytes_end_when_bars_come_in(watched: Watched, clock: FakeClock, market: ScriptedMarket) -> None:
    calls = len(market.calls)
    assert watched.client.get("/price_ranges?ticker=SPY").status_code == 200
    assert len(market.calls) > calls
    clock.forward(seconds=1)
    assert watched().get_json()["generated_at"].endswith("11:30:08-04:00")


def test_bytes_stand_when_an_answer_out_of_memory_is_given(watched: Watched, market: ScriptedMarket) -> None:
    watched.client.get("/rpe?ticker=SPY")
    watched()
    calls, before = len(market.calls), watched().data
    watched.client.get("/rpe?ticker=SPY&again=1")
    watched.clock.forward(seconds=1)
    assert len(market.calls) == calls
    assert watched().data == before


def test_bytes_end_when_a_signal_locks(build: Build, clock: FakeClock, market: ScriptedMarket) -> None:
    """QQQ's bars are here before; its lock alone happens, without a call."""
    clock.set("2025-03-11 11:59:50")
    app = build()
    client = app.test_client()
    client.get("/mtf")
    clock.set("2025-03-11 12:00:06")
    store, day = app.extensions["predict-server"].pipeline.store, date(2025, 3, 11)
    watched = Watched(app, clock, "/volatility_meter?ticker=QQQ")
    watched()
    client.get("/trading_directions?ticker=SPY")
    client.get("/price_ranges")
    client.get("/price_ranges?b=1")
    assert watched.is_kept_for(1)
    assert (store.get("SPY", day, 12) is None, store.get("QQQ", day, 12) is None) == (False, True)
    calls = len(market.calls)
    client.get("/trading_directions?ticker=QQQ")
    assert store.get("QQQ", day, 12) is not None
    clock.forward(seconds=1)
    assert watched().get_json()["generated_at"].endswith("12:00:08-04:00")
    assert len(market.calls) - calls <= 1


def test_bytes_end_when_the_provider_begins_to_fail(watched: Watched, clock: FakeClock, market: ScriptedMarket) -> None:
    market.fault = lambda path: Reply(500, None)
    watched.client.get("/price_ranges?ticker=SPY")
    clock.forward(seconds=1)
    assert watched().get_json()["generated_at"].endswith("11:30:08-04:00")


def test_an_answer_about_a_failure_ends_with_it(build: Build, clock: FakeClock, market: ScriptedMarket) -> None:
    clock.set("2025-03-11 11:30:06")
    app = build()
    client = app.test_client()
    market.fault = lambda path: Reply(500, None)
    assert client.get("/trading_directions?ticker=SPY").get_json()["tickers"]["SPY"]["error_code"]
    settle(app)
    market.fault = lambda path: None
    clock.forward(seconds=60)
    assert client.get("/trading_directions?ticker=SPY").get_json()["tickers"]["SPY"]["locked"] is True


@pytest.mark.parametrize(("turn", "open_then"), [("09:30:00", True), ("16:00:00", False)])
@pytest.mark.parametrize("path", ["/trading_directions?ticker=SPY", "/mtf"])
def test_bytes_end_at_open_and_close(build: Build, clock: FakeClock, path: str, turn: str, open_then: bool) -> None:
    at = new_york(f"2025-03-11 {turn}")
    clock.at = at - timedelta(seconds=1)
    watched = Watched(build(), clock, path)
    for _ in range(2):
        before = watched()
    clock.at = at - timedelta(microseconds=1)
    assert watched().data == before.data
    clock.at = at
    assert (before.get_json()["market_open"], watched().get_json()["market_open"]) == (not open_then, open_then)


def test_wrong_parameters_are_refused_before_it_is_computed_how_long_an_answer_lasts(
    build: Build, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.set("2025-03-11 11:30:06")
    moments, steady_until = [], Pipeline.steady_until

    def recorded(pipeline: Pipeline, at: datetime) -> datetime:
        moments.append(at)
        return steady_until(pipeline, at)

    monkeypatch.setattr(Pipeline, "steady_until", recorded)
    client = build().test_client()
    assert client.get("/trading_directions?ticker=XYZ").status_code == 400
    assert moments == []
    assert client.get("/trading_directions?ticker=SPY").status_code == 200
    assert len(moments) == 1


@pytest.mark.parametrize(("length", "is_kept"), [(512, True), (513, False)])
def test_an_answer_to_a_query_that_is_too_long_is_not_kept(
    build: Build, clock: FakeClock, length: int, is_kept: bool
) -> None:
    """Clients choose the query, so that the memory of the cache would be theirs to choose, too."""
    clock.set("2025-03-11 11:30:06")
    app = build()
    query = "ticker=SPY&unused=".ljust(length, "x")
    for _ in range(2):  # the first one sees bars come in
        assert app.test_client().get(f"/swing?{query}").status_code == 200
        settle(app)
    text = app.extensions["predict-server"].metrics(None, ["predict_kept_answers"])[0]
    assert f"predict_kept_answers {float(is_kept)}\n" in text


def test_a_query_of_its_own_has_an_answer_of_its_own(shared: Build) -> None:
    client = shared().test_client()
    client.get("/mtf")
    tickers = {path: set(client.get(path).get_json()["tickers"]) for path in ("/mtf?ticker=SPY", "/mtf?ticker=QQQ")}
    assert tickers == {"/mtf?ticker=SPY": {"SPY"}, "/mtf?ticker=QQQ": {"QQQ"}}
    assert client.get("/mtf?ticker=SPY&_=1").status_code == 200


def without_floating(value: object) -> object:
    """An answer without what moves with every second."""
    if isinstance(value, dict):
        return {name: without_floating(member) for name, member in value.items() if name not in FLOATING}
    return [without_floating(member) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("start", "minutes"),
    [
        ("2025-03-11 09:29:00", 4),
        ("2025-03-11 10:58:31", 3),
        ("2025-03-11 11:09:01", 4),
        ("2025-03-11 15:58:30", 3),
        pytest.param("2025-03-11 09:27:00", 9, marks=pytest.mark.soak),
        pytest.param("2025-03-11 10:55:01", 40, marks=pytest.mark.soak),
        pytest.param("2025-03-11 15:54:30", 12, marks=pytest.mark.soak),
    ],
)
def test_at_every_moment_a_kept_answer_says_what_a_server_that_never_keeps_says(
    build: Build, clock: FakeClock, market: ScriptedMarket, start: str, minutes: int
) -> None:
    """Stepping by odd seconds over open, the turn of an hour, close, and faults on the way; in the soak over an hour in all."""
    app, fresh, kept = build(), count(), 0
    client = app.test_client()
    clock.set(start)
    ends = clock.at + timedelta(minutes=minutes)
    others = cycle(KEPT)
    bodies: dict[str, bytes] = {}
    for step in cycle((1.3, 7, 3.7, 11, 2, 17.5, 0.9)):
        settle(app)
        clock.forward(seconds=step)
        if clock.at >= ends:
            break
        failing = 10 <= clock.at.minute % 20 < 12
        market.fault = (lambda path: Reply(500, None)) if failing else (lambda path: None)
        for path in ("/trading_directions?ticker=SPY", f"{next(others)}?ticker=SPY"):
            calls = len(market.calls)
            given = client.get(path)
            settle(app)
            of_one_state = bodies.get(path) == given.data or len(market.calls) == calls
            made = client.get(f"{path}&_={next(fresh)}")
            settle(app)
            assert (given.status_code, made.status_code) == (200, 200)
            same = not of_one_state or without_floating(given.get_json()) == without_floating(made.get_json())
            assert same, f"{path} at {clock.at}"
            kept += bodies.get(path) == given.data
            bodies[path] = given.data
    assert kept > minutes, "answers were given again on the way"


def test_a_kept_answer_leaves_nothing_to_the_garbage_collector(serve: Callable[..., Flask]) -> None:
    """A circle per request would stop all of them again and again while it is collected. Circles of other tests' threads may
    be among those of a round."""
    app = serve()
    app.test_client().get("/mtf?ticker=SPY")
    environ = EnvironBuilder("/mtf", query_string="ticker=SPY", headers={"Origin": "https://a.example"}).get_environ()
    gc.collect()
    gc.disable()
    try:
        assert any(circles_of(app, environ, ROUND) < ROUND for _ in range(20))
    finally:
        gc.enable()


def circles_of(app: Flask, environ: dict[str, object], requests: int) -> int:
    """How many objects so many requests leave to the garbage collector."""
    for _ in range(requests):
        list(app.wsgi_app(dict(environ), lambda status, headers, exc_info=None: lambda _: None))
    return gc.collect()


def test_an_answer_that_took_its_time_is_not_promised_beyond_its_end(
    serve: Callable[..., Flask], clock: FakeClock, market: ScriptedMarket
) -> None:
    clock.set("2025-03-11 11:30:48")
    market.fault = lambda path: clock.set("2025-03-11 11:31:00")
    answer = serve().test_client().get("/mtf?ticker=SPY")
    assert answer.headers["Cache-Control"] == "private, max-age=0"


def made_to_be_kept(client: FlaskClient) -> float:
    """How many answers were made to be kept so far."""
    shown = client.get("/metrics").text
    [line] = [
        x for x in shown.splitlines() if x.startswith('predict_cache_lookups_total{cache="answers",outcome="miss"}')
    ]
    return float(line.split()[1])


def test_replays_of_old_days_end_no_kept_answer(serve: Callable[..., Flask]) -> None:
    app = serve()
    client = app.test_client()
    for _ in range(4):
        client.get("/mtf?ticker=SPY")
        settle(app)
    made = made_to_be_kept(client)
    assert made >= 1
    assert client.get("/replay?date=2025-02-03&time=11:00&ticker=SPY").status_code == 200
    settle(app)
    client.get("/mtf?ticker=SPY")
    assert made_to_be_kept(client) == made


def test_what_happens_to_one_ticker_ends_no_answer_about_another(
    tmp_path: Path, clock: FakeClock, market: ScriptedMarket
) -> None:
    events, values = Events(), settings(market="polygon", polygon_api_key="k", data_dir=tmp_path)
    app = create_app(values, clock=clock, transport=market, events=events)
    client = app.test_client()
    paths = ("/mtf?ticker=SPY", "/mtf?ticker=QQQ", "/mtf")
    for path in paths * 2:
        client.get(path)
        settle(app)
    made = made_to_be_kept(client)
    events("open_learned", ticker="QQQ", day="2025-03-11", source="daily")
    for path in paths:
        client.get(path)
    assert made_to_be_kept(client) == made + 2, "of QQQ, and of all tickers"
    events("store_degraded", error="full")
    for path in paths:
        client.get(path)
    assert made_to_be_kept(client) == made + 2 + len(paths)
