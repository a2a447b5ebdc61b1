"""The client over real HTTP messages (polygon.md 1-6); `responses` plays the provider."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import requests
import responses

from app.errors import BudgetSpent, NotEntitled, PredictError, Unavailable, Upstream
from app.market.bars import Span, to_ms
from app.market.calendar import Calendar, midnight_ms
from app.market.polygon import MAX_PAGES, Aggregates, HttpTransport, Polygon, ProviderNotFound, no_key
from tests.support import new_york

BASE = "https://api.massive.com"
KEY = "k-very-secret"
DAY = date(2025, 3, 11)
T0 = midnight_ms(DAY) + 34_200_000
URL = f"{BASE}/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}"
SNAPSHOT = f"{BASE}/v2/snapshot/locale/us/markets/stocks/tickers/SPY"


def row(i: int = 0, **changed: Any) -> dict[str, Any]:
    return {"t": T0 + 60_000 * i, "o": 10.0, "h": 11.0, "l": 9.0, "c": 10.5, "v": 3.25, **changed}


def page(*rows: Any, **more: Any) -> dict[str, Any]:
    return {"ticker": "SPY", "status": "OK", "results": list(rows), **more}


def client() -> Polygon:
    return Polygon(HttpTransport(BASE, KEY), Calendar(), BASE)


def minutes() -> Aggregates:
    return client().aggregates("SPY", Span.MINUTE, DAY, DAY)


@pytest.fixture
def web() -> Any:
    with responses.RequestsMock() as mock:
        yield mock


def test_it_asks_as_documented_and_keeps_the_key_out_of_the_address(web: responses.RequestsMock) -> None:
    web.get(URL, json=page(row()))
    minutes()
    request = web.calls[0].request
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(request.url)
    assert request.params == {"adjusted": "true", "sort": "asc", "limit": "50000"}  # type: ignore[attr-defined]


def test_bars_come_with_their_ends_and_fractional_volume(web: responses.RequestsMock) -> None:
    web.get(URL, json=page(row(0), row(1)))
    bars = minutes().bars
    assert (bars.end - bars.t).tolist() == [60_000, 60_000]
    assert bars.v.tolist() == [3.25, 3.25]


def test_a_daily_bar_ends_at_its_sessions_close(web: responses.RequestsMock) -> None:
    short = date(2025, 11, 28)
    web.get(f"{BASE}/v2/aggs/ticker/SPY/range/1/day/{short}/{short}", json=page(row(t=midnight_ms(short))))
    bars = client().aggregates("SPY", Span.DAY, short, short).bars
    assert bars.end[0] - bars.t[0] == 13 * 3_600_000


def test_delayed_is_a_good_answer_that_is_marked(web: responses.RequestsMock) -> None:
    web.get(URL, json=page(row(), status="DELAYED"))
    found = minutes()
    assert len(found.bars) == 1
    assert found.delayed


@pytest.mark.parametrize("results", [{}, {"results": None}, {"results": []}])
def test_no_results_is_an_empty_series_not_a_failure(web: responses.RequestsMock, results: dict[str, Any]) -> None:
    web.get(URL, json={"ticker": "SPY", "status": "OK", "resultsCount": 0, **results})
    assert len(minutes().bars) == 0


def test_it_follows_pages_on_both_hosts_with_the_key_attached(web: responses.RequestsMock) -> None:
    second = f"https://api.polygon.io/v2/aggs/ticker/SPY/range/1/minute/{T0 + 60_000}/{DAY}?cursor=abc&apiKey=leak"
    web.get(URL, json=page(row(0), next_url=second))
    web.get(f"{BASE}/v2/aggs/ticker/SPY/range/1/minute/{T0 + 60_000}/{DAY}", json=page(row(1)))
    assert len(minutes().bars) == 2
    assert web.calls[1].request.headers["Authorization"] == f"Bearer {KEY}"
    assert web.calls[1].request.params == {"cursor": "abc"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("url", ["https://[oops", "https://api.polygon.io:port/v2/x"])
def test_a_next_page_that_is_no_address_is_the_providers_failure(web: responses.RequestsMock, url: str) -> None:
    web.get(URL, json=page(row(0), next_url=url))
    with pytest.raises(Upstream, match="no address"):
        minutes()


@pytest.mark.parametrize(
    "url", ["https://evil.example/v2/x", "http://api.polygon.io/v2/x", "https://api.polygon.io:444/v2/x"]
)
def test_it_never_follows_a_page_to_a_foreign_host(web: responses.RequestsMock, url: str) -> None:
    web.get(URL, json=page(row(0), next_url=url))
    with pytest.raises(Upstream, match="foreign host"):
        minutes()
    assert len(web.calls) == 1


def test_pages_in_a_circle_end(web: responses.RequestsMock) -> None:
    web.get(URL, json=page(row(0), next_url=f"{URL}?cursor=a"))
    with pytest.raises(Upstream, match="circle"):
        minutes()
    assert len(web.calls) <= 3


def test_pages_without_end_are_cut(web: responses.RequestsMock) -> None:
    def endless(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        n = int(request.params.get("cursor", 0)) + 1  # type: ignore[attr-defined]
        return 200, {}, json.dumps(page(row(n), next_url=f"{URL}?cursor={n}"))

    web.add_callback(responses.GET, URL, callback=endless)
    with pytest.raises(Upstream, match="pages"):
        minutes()
    assert len(web.calls) == MAX_PAGES


@pytest.mark.parametrize("name", ["t", "c", "v"])
@pytest.mark.parametrize("value", [1e16, 10**16, 10**400, -(10**400), float("inf"), float("nan"), True])
def test_a_number_that_no_bar_can_have_costs_its_row_alone(
    name: str, value: float, web: responses.RequestsMock
) -> None:
    web.get(URL, json=page(row(0), row(1, **{name: value}), row(2)))
    found = minutes()
    assert found.bars.t.tolist() == [T0, T0 + 120_000]
    assert found.rejected.total() == 1


def test_broken_rows_are_dropped_and_counted_by_reason(web: responses.RequestsMock) -> None:
    bad = [row(1, c=None), row(2, h=1.0), row(3, o=-5), row(4, v="7"), {"t": "soon"}, "bar", row(0, c=10.6)]
    web.get(URL, json=page(row(5), row(0), *bad))
    found = minutes()
    assert found.bars.t.tolist() == [T0, T0 + 300_000]
    assert found.bars.c[0] == 10.6
    assert found.rejected == {
        "price not a positive number": 2,
        "volume not a number >= 0": 1,
        "low or high does not enclose open and close": 1,
        "not a bar": 2,
        "same time as a later row": 1,
    }


def test_nan_in_the_body_is_a_broken_row(web: responses.RequestsMock) -> None:
    web.get(URL, body=json.dumps(page(row(0), row(1, c=float("nan")))))
    found = minutes()
    assert len(found.bars) == 1
    assert found.rejected.total() == 1


def test_yesterdays_bars_for_today_are_not_todays(web: responses.RequestsMock) -> None:
    web.get(URL, json=page(row(0, t=T0 - 86_400_000), row(1)))
    found = minutes()
    assert found.bars.t.tolist() == [T0 + 60_000]
    assert found.rejected == {"outside the days asked for": 1}


FAILURES: list[tuple[str, dict[str, Any], type[PredictError], str]] = [
    ("unknown key", {"status": 401, "json": {"status": "ERROR", "error": "Unknown API Key"}}, Unavailable, "API key"),
    ("unknown key without JSON", {"status": 401, "body": "no"}, Unavailable, "API key"),
    ("not in the plan", {"status": 403, "json": {"message": "You are not entitled"}}, NotEntitled, "not entitled"),
    ("not found", {"status": 404, "body": ""}, ProviderNotFound, "404"),
    ("server error", {"status": 500, "body": ""}, Upstream, "500"),
    ("proxy page", {"status": 502, "body": "<html>bad gateway</html>"}, Upstream, "502"),
    ("empty 200", {"status": 200, "body": ""}, Upstream, "not JSON"),
    ("empty object", {"status": 200, "json": {}}, Upstream, "did not answer"),
    ("HTML 200", {"status": 200, "body": "<html></html>"}, Upstream, "not JSON"),
    ("truncated JSON", {"status": 200, "body": '{"status":"OK","results":[{"t":'}, Upstream, "not JSON"),
    ("list for an object", {"status": 200, "json": []}, Upstream, "not JSON"),
    ("error in a 200", {"status": 200, "json": {"status": "ERROR", "error": "bad span"}}, Upstream, "bad span"),
    ("results of another kind", {"status": 200, "json": {"status": "OK", "results": {"t": 1}}}, Upstream, "no list"),
    ("another ticker", {"status": 200, "json": page(ticker="QQQ")}, Upstream, "another ticker"),
    ("redirect", {"status": 302, "headers": {"Location": "https://evil.example/"}, "body": ""}, Upstream, "302"),
    (
        "broken gzip",
        {"status": 200, "body": gzip.compress(os.urandom(4096))[:2000], "headers": {"Content-Encoding": "gzip"}},
        Upstream,
        "",
    ),
    ("no connection", {"body": requests.ConnectionError(f"refused {URL}?apiKey={KEY}")}, Upstream, "connection"),
    ("time-out", {"body": requests.ReadTimeout(f"{URL}")}, Upstream, "in time"),
]


@pytest.mark.parametrize(("answer", "error", "words"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
def test_each_failure_is_its_own_error_without_key_or_address(
    web: responses.RequestsMock, answer: dict[str, Any], error: type[PredictError], words: str
) -> None:
    web.get(URL, **answer)
    with pytest.raises(error) as caught:
        minutes()
    assert type(caught.value) is error
    assert words in caught.value.detail
    assert KEY not in caught.value.detail
    assert KEY not in repr(caught.value)
    assert "massive" not in caught.value.message


def test_a_key_or_address_in_the_providers_own_words_is_cut_out(web: responses.RequestsMock) -> None:
    web.get(URL, status=400, json={"error": f"bad request: {URL}?apiKey={KEY} sorry apiKey={KEY}"})
    with pytest.raises(Upstream) as caught:
        minutes()
    assert KEY not in caught.value.detail
    assert "massive" not in caught.value.detail
    assert "sorry" in caught.value.detail


@pytest.mark.parametrize("status", [200, 400, 403, 500, 503])
def test_the_providers_own_words_are_for_the_log_and_not_for_clients(web: responses.RequestsMock, status: int) -> None:
    web.get(URL, status=status, json={"status": "ERROR", "error": "Upgrade your plan at our shop"})
    with pytest.raises(PredictError) as caught:
        minutes()
    assert "shop" in caught.value.detail
    assert "shop" not in caught.value.message


@pytest.mark.parametrize(
    ("header", "wait"),
    [({"Retry-After": "7"}, 7), ({}, 20), ({"Retry-After": "soon"}, 20), ({"Retry-After": "\u00b2"}, 20)],
)
def test_the_call_limit_says_how_long_to_wait(web: responses.RequestsMock, header: dict[str, str], wait: float) -> None:
    web.get(URL, status=429, headers=header, body="")
    with pytest.raises(BudgetSpent) as caught:
        minutes()
    assert caught.value.retry_after == wait
    assert caught.value.code == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("date_header", "wait"),
    [("Tue, 10 Mar 2026 15:00:00 GMT", 45), ("Tue, 10 Mar 2026 16:00:00 GMT", 0), ("yesterday", 20)],
)
def test_a_date_to_wait_for_is_read_by_the_providers_own_clock(
    web: responses.RequestsMock, date_header: str, wait: float
) -> None:
    said = {"Retry-After": "Tue, 10 Mar 2026 15:00:45 GMT", "Date": date_header}
    web.get(URL, status=429, headers=said, body="")
    with pytest.raises(BudgetSpent) as caught:
        minutes()
    assert caught.value.retry_after == wait


@pytest.mark.parametrize(
    ("body", "price"),
    [
        ({"ticker": {"day": {"o": 501.25}}}, 501.25),
        ({"ticker": {"day": {"o": 0}}}, None),
        ({"ticker": {"day": None}}, None),
        ({"ticker": {}}, None),
        ({}, None),
    ],
)
def test_the_snapshots_open_of_zero_or_nothing_is_unknown(
    web: responses.RequestsMock, body: dict[str, Any], price: float | None
) -> None:
    web.get(SNAPSHOT, json={"status": "OK", **body})
    assert client().snapshot("SPY").open == price


def in_ns(text: str) -> int:
    return to_ms(new_york(text)) * 1_000_000


@pytest.mark.parametrize(
    ("dates", "is_of_the_session"),
    [
        ({"updated": in_ns("2026-03-10 09:31:02")}, True),
        ({"updated": in_ns("2026-03-10 09:31:02"), "min": {"t": to_ms(new_york("2026-03-10 09:30"))}}, True),
        ({"updated": in_ns("2026-03-10 09:31:02"), "min": {"t": 0}}, True),
        ({"updated": in_ns("2026-03-09 16:00")}, False),
        ({"updated": in_ns("2026-03-10 09:29:59")}, False),
        ({"updated": in_ns("2026-03-11 00:00")}, False),
        ({"updated": in_ns("2026-03-10 09:31:02"), "min": {"t": to_ms(new_york("2026-03-09 15:59"))}}, False),
        ({"updated": in_ns("2026-03-10 09:31:02") // 1_000_000}, False),
        ({"updated": 0}, False),
        ({"updated": "now"}, False),
        ({}, False),
    ],
    ids=[
        *("today", "today with its minute", "no minute yet", "yesterday", "before the open", "tomorrow"),
        *("yesterday's minute", "milliseconds", "zero", "text", "undated"),
    ],
)
def test_a_snapshot_is_of_the_session_only_if_all_its_dates_say_so(
    web: responses.RequestsMock, dates: dict[str, Any], is_of_the_session: bool
) -> None:
    web.get(SNAPSHOT, json={"status": "OK", "ticker": {"day": {"o": 501.25}, **dates}})
    session = Calendar().session(date(2026, 3, 10))
    assert session is not None
    assert client().snapshot("SPY").is_of(session) is is_of_the_session


def test_a_snapshot_of_another_ticker_is_refused(web: responses.RequestsMock) -> None:
    web.get(SNAPSHOT, json={"status": "OK", "ticker": {"ticker": "QQQ", "day": {"o": 501.25}}})
    with pytest.raises(Upstream, match="another ticker"):
        client().snapshot("SPY")


def test_without_a_key_every_call_says_so() -> None:
    with pytest.raises(Unavailable, match="no market-data key"):
        Polygon(no_key, Calendar()).snapshot("SPY")


def test_a_machines_netrc_never_replaces_the_key(
    web: responses.RequestsMock, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.massive.com login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    web.get(URL, json=page(row()))
    minutes()
    assert web.calls[0].request.headers["Authorization"] == f"Bearer {KEY}"


def slow_body(chunk: Callable[[], bytes]) -> Any:
    class Trickle:
        def read1(self, amount: int, decode_content: bool) -> bytes:
            return chunk()

    class Response:
        raw = Trickle()

    return Response()


def test_a_body_that_trickles_meets_the_total_deadline() -> None:
    from app.market import polygon

    ticks = iter(range(1000))
    with pytest.raises(Upstream, match="did not finish"):
        polygon._read(slow_body(lambda: b"x"), deadline=20.0, now=lambda: float(next(ticks)))


def test_a_body_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.market import polygon

    monkeypatch.setattr(polygon, "MAX_REPLY_BYTES", 1000)
    with pytest.raises(Upstream, match="too large"):
        polygon._read(slow_body(lambda: b"x" * 600), deadline=float("inf"), now=lambda: 0.0)
