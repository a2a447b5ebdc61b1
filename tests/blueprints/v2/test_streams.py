"""The streams of v2: lines in their order, each before the next one is computed, and the same signal as the plain answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.factory import create_app
from tests.blueprints.v2.calls import ask, call, lines_of
from tests.support import FakeClock, ScriptedMarket, new_york, settings
from tests.waiting import PATIENCE_S

Serve = Callable[..., Flask]
STREAM = "/trading-directions/SPY/stream"
STAGES = ["status", "data", "rpe", "v6", "signal", "status"]
EVENTS = {"Accept": "text/event-stream"}
DAY = "2025-03-10"


def lines(app: Flask, path: str, **options: Any) -> list[Any]:
    """The lines of a stream, each as the document promises it."""
    return lines_of(call(app, path, **options))


def names(found: list[dict[str, Any]]) -> list[str]:
    return [next(iter(line)) for line in found]


def series(first: str, last: str, **more: object) -> str:
    parameters = {"from": f"{DAY}T{first}-04:00", "to": f"{DAY}T{last}-04:00", **more}
    return "/replay/SPY?" + "&".join(f"{name}={value}" for name, value in parameters.items())


@pytest.mark.parametrize("moment", ["2025-03-11 09:00", "2025-03-11 10:30", "2025-03-11 11:30", "2025-03-11 17:00"])
def test_the_stages_come_in_their_order_and_end_in_the_signal_of_the_plain_answer(
    serve: Serve, clock: FakeClock, moment: str
) -> None:
    clock.set(moment)
    app = serve()
    found = lines(app, STREAM)
    assert names(found) == STAGES
    assert (found[0]["status"], found[-1]["status"]) == ("computing", "complete")
    signal = found[4]["signal"]
    assert signal == ask(app, "/trading-directions/SPY")
    assert found[0]["generated_at"] == signal["generated_at"]
    assert found[2]["rpe"] == {"structure": signal["structure"], "swing": signal["swing"]}
    assert found[3]["v6"] | {"in_sample": None} == {
        **{name: signal[name] for name in ("decision_hour", "probability_a", "probability_b")},
        "in_sample": None,
    }
    assert (found[1]["data"]["as_of"], found[1]["data"]["price"]) == (signal["as_of"], signal["prices"]["now"])
    assert found[-1]["seconds"]["total"] >= found[-1]["seconds"]["rpe"]


def test_each_line_is_given_before_what_comes_after_it_is_computed(serve: Serve, market: ScriptedMarket) -> None:
    app = serve()
    computed: list[str] = []
    pipeline = app.extensions["predict-server"].pipeline
    steps = pipeline.current_steps

    def watched(*arguments: Any) -> Any:
        for part in steps(*arguments):
            computed.append(part.part)
            yield part

    pipeline.current_steps = watched
    response = app.test_client().get(f"/v2{STREAM}")
    seen = []
    for piece in filter(None, response.iter_encoded()):
        seen.append((names([json.loads(piece)])[0], len(computed)))
        if len(seen) == 1:
            assert market.calls == []
    assert seen == [("status", 0), ("data", 1), ("rpe", 2), ("v6", 3), ("signal", 4), ("status", 4)]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/jsonl"),
        ("*/*", "application/jsonl"),
        ("application/json", "application/jsonl"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/event-stream, */*;q=0.5", "text/event-stream; charset=utf-8"),
    ],
)
def test_the_format_is_the_one_that_the_client_prefers(serve: Serve, accept: str | None, content_type: str) -> None:
    response = call(serve(), STREAM, headers={} if accept is None else {"Accept": accept})
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Cache-Control"] == "no-store, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Accept" in ", ".join(response.headers.getlist("Vary"))
    assert "Content-Encoding" not in response.headers


def test_an_event_stream_carries_the_same_objects(serve: Serve) -> None:
    app = serve()
    events = lines(app, STREAM, headers=EVENTS)
    found = [json.loads(event["data"]) for event in events]
    plain = lines(app, STREAM)
    assert [line for line in found if "signal" in line] == [line for line in plain if "signal" in line]
    assert names(found) == STAGES
    assert [event.get("id") for event in events] == [None] * 5 + ["complete"]


def test_a_browser_that_opens_a_complete_stream_again_is_told_to_stop(serve: Serve) -> None:
    app = serve()
    assert call(app, STREAM, headers={**EVENTS, "Last-Event-ID": "complete"}).status_code == 204
    assert call(app, STREAM, headers={"Last-Event-ID": "complete"}).status_code == 200


def test_the_first_line_says_whether_the_bars_are_in_memory(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    app = serve()
    assert lines(app, STREAM)[0]["cached"] is False
    calls = len(market.calls)
    assert lines(app, STREAM)[0]["cached"] is True
    assert len(market.calls) == calls
    clock.forward(minutes=1)
    assert lines(app, STREAM)[0]["cached"] is False


def test_a_closed_market_causes_no_call(serve: Serve, clock: FakeClock, market: ScriptedMarket) -> None:
    clock.set("2025-03-08 12:00")
    found = lines(serve(), STREAM)
    assert found[0]["cached"] is True
    assert found[4]["signal"]["freshness"] == "closed"
    assert market.calls == []


def test_without_a_key_the_last_line_is_the_problem_that_the_plain_answer_is(clock: FakeClock, tmp_path: Path) -> None:
    app = create_app(settings(market="polygon", data_dir=tmp_path), clock=clock)
    plain = call(app, "/trading-directions/SPY")
    assert plain.status_code == 503
    found = lines(app, STREAM)
    assert [line.get("status") for line in found] == ["computing", "error"]
    shared = ("type", "title", "status", "detail", "error_code")
    assert [found[1]["problem"][name] for name in shared] == [plain.get_json()[name] for name in shared]


def test_an_unforeseen_error_tells_nothing_but_where_to_look(serve: Serve) -> None:
    app = serve()

    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    app.extensions["predict-server"].pipeline.current_steps = broken
    response = call(app, STREAM)
    problem = lines_of(response)[-1]["problem"]
    assert (problem["status"], problem["error_code"]) == (500, "INTERNAL")
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert "secret" not in response.get_data(as_text=True)


def test_faults_of_the_request_are_plain_problems(serve: Serve) -> None:
    app = serve()
    assert call(app, "/trading-directions/AAPL/stream").status_code == 404
    assert call(app, f"{STREAM}?what=1").get_json()["errors"][0]["pointer"] == "/what"


@pytest.mark.parametrize(("per_client", "in_all"), [(1, 10), (10, 1)])
def test_streams_at_a_time_are_bounded_and_a_stream_that_ends_makes_room(
    serve: Serve, per_client: int, in_all: int
) -> None:
    app = serve(streams_per_client=per_client, streams_in_all=in_all)
    first = app.test_client().get(f"/v2{STREAM}")
    refused = call(app, STREAM)
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "30"
    first.close()
    assert call(app, STREAM).status_code == 200


def test_a_series_is_the_replays_of_its_moments(serve: Serve) -> None:
    app = serve()
    found = lines(app, series("09:00:00", "16:30:00", step=45))
    assert names(found) == ["status", *["signal"] * 11, "status"]
    assert (found[0]["cached"], lines(app, series("10:00:00", "11:00:00"))[0]["cached"]) == (False, True)
    assert found[-1] == {"status": "complete", "signals": 11}
    for line in found[1:-1]:
        signal = line["signal"]
        assert signal["mode"] == "replay"
        assert signal == ask(app, f"/replay/SPY?at={signal['generated_at']}")
    moments = [line["signal"]["generated_at"][11:16] for line in found[1:-1]]
    assert moments == [
        "09:00",
        "09:45",
        "10:30",
        "11:15",
        "12:00",
        "12:45",
        "13:30",
        "14:15",
        "15:00",
        "15:45",
        "16:30",
    ]


def test_a_series_of_a_day_without_trading_says_so(serve: Serve) -> None:
    found = lines(serve(), "/replay/SPY?from=2025-03-09T10:00:00-04:00&to=2025-03-09T10:01:00-04:00")
    assert [line["signal"]["session_date"] for line in found[1:-1]] == [None, None]


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("", ["/at"]),
        ("from=2025-03-10T10:00:00-04:00", ["/to"]),
        ("to=2025-03-10T10:00:00-04:00", ["/from"]),
        ("at=2025-03-10T10:00:00-04:00&step=5", ["/step"]),
        ("from=2025-03-10T10:00:00-04:00&to=2025-03-10T09:59:00-04:00", ["/to"]),
        ("from=2025-03-07T10:00:00-05:00&to=2025-03-10T10:00:00-04:00", ["/to"]),
        ("from=2025-03-10T10:00:00-04:00&to=2025-03-10T11:00:00-04:00&step=0", ["/step"]),
        ("from=2025-03-11T10:00:00-04:00&to=2025-03-11T18:00:00-04:00", ["/to"]),
        ("from=2025-03-10&to=x", ["/from", "/to"]),
    ],
)
def test_a_query_that_names_no_moments_of_one_past_day_is_refused(
    serve: Serve, query: str, pointers: list[str]
) -> None:
    response = call(serve(), f"/replay/SPY?{query}")
    assert response.status_code == 400
    assert [error["pointer"] for error in response.get_json()["errors"]] == pointers


def test_a_series_up_to_now_ends_in_the_live_signal(serve: Serve, clock: FakeClock, tmp_path: Path) -> None:
    clock.at = new_york("2025-03-11 11:30:00")
    app = serve()
    live = ask(app, "/trading-directions/SPY")
    found = lines(app, "/replay/SPY?from=2025-03-11T11:00:00-04:00&to=2025-03-11T11:30:00-04:00&step=30")
    last = found[-2]["signal"]
    for name in ("action", "probability_a", "probability_b", "levels", "prices", "structure", "swing", "as_of"):
        assert last[name] == live[name], name


def test_a_series_that_waits_for_its_bars_holds_up_no_other(serve: Serve, market: ScriptedMarket) -> None:
    app = serve()
    lines(app, series("10:00:00", "10:00:00"))
    free = threading.Event()

    def held(path: str) -> None:
        if "QQQ" in path:
            assert free.wait(PATIENCE_S)

    market.fault = held
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lines, app, series("10:00:00", "11:00:00", step=30).replace("SPY", "QQQ"))
        while not any("QQQ" in path for path in market.calls):
            assert not waiting.done()
        assert len(lines(app, series("10:00:00", "11:00:00", step=30))) == 5
        assert not waiting.done()
        free.set()
        assert len(waiting.result(PATIENCE_S)) == 5
