"""The provider's stand-in: what a client sees of every fault, and how it is commanded."""

from __future__ import annotations

import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from app.market.bars import Span, to_ms
from app.market.calendar import day_of_ms, midnight_ms
from app.market.demo import HISTORY_FROM, LAP
from app.market.polygon import HttpTransport, Polygon, Reply
from app.market.standin import FAULTS, OnOurDays, StandIn
from app.market.wire import Wire
from tests.support import CALENDAR, FakeClock, demo_feed, new_york

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent
DAY = date(2025, 3, 11)
MINUTES = f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}"
DAILY = f"/v2/aggs/ticker/SPY/range/1/day/2025-03-03/{DAY}"
SNAPSHOT = "/v2/snapshot/locale/us/markets/stocks/tickers/SPY"
STATUS = "/v1/marketstatus/now"
HELD = ("slow", "trickle", "silence")
FOR_EVER = 3600.0


@pytest.fixture
def wire(clock: FakeClock) -> Wire:
    return Wire(demo_feed(), CALENDAR, clock)


@pytest.fixture
def provider(wire: Wire) -> Iterator[StandIn]:
    with StandIn(wire) as stand_in:
        yield stand_in


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


Get = Callable[..., requests.Response]


@pytest.fixture
def get(provider: StandIn, session: requests.Session) -> Get:
    return lambda path, **kwargs: session.get(provider.address + path, **{"timeout": 10, **kwargs})


def rows(get: Get, path: str = MINUTES) -> list[dict[str, Any]]:
    body = get(path).json()
    found: list[dict[str, Any]] = body.get("results", [])
    assert body["resultsCount"] == len(found)
    return found


def test_the_good_answer_is_the_transports(get: Get, wire: Wire) -> None:
    answer = get(MINUTES, params={"limit": "50000"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == wire(MINUTES, {"limit": "50000"}).body


def test_a_refusal_of_the_transport_keeps_its_status(get: Get) -> None:
    assert get("/v9/nothing").status_code == 404


def test_the_servers_own_client_reads_it(provider: StandIn, wire: Wire) -> None:
    over_http = Polygon(HttpTransport(provider.address, "k"), CALENDAR, provider.address)
    found = over_http.aggregates("SPY", Span.MINUTE, DAY, DAY).bars
    assert found.equals(Polygon(wire, CALENDAR).aggregates("SPY", Span.MINUTE, DAY, DAY).bars)
    over_http._transport._session.close()  # type: ignore[attr-defined]


def test_a_connection_is_kept_and_its_answers_do_not_stall(get: Get) -> None:
    took = []
    for _ in range(9):
        began = time.perf_counter()
        get(STATUS)
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.03


def test_calls_are_recorded_in_order_with_their_authorization(wire: Wire, session: requests.Session) -> None:
    ticks = iter([10.0, 20.0])
    with StandIn(wire, now=lambda: next(ticks)) as provider:
        session.get(f"{provider.address}{DAILY}?limit=5", headers={"Authorization": "Bearer k1"})
        session.get(f"{provider.address}/_fault")
        session.get(f"{provider.address}{STATUS}")
    first, second = provider.calls
    assert (first.at, first.path, first.query, first.authorization) == (10.0, DAILY, "limit=5", "Bearer k1")
    assert (second.at, second.path, second.query, second.authorization) == (20.0, STATUS, "", None)


@pytest.mark.parametrize(
    ("headers", "params", "status"),
    [
        ({"Authorization": "Bearer right"}, {}, 200),
        ({}, {"apiKey": "right"}, 200),
        ({"Authorization": "Bearer wrong"}, {}, 401),
        ({}, {"apiKey": "wrong"}, 401),
        ({}, {}, 401),
    ],
)
def test_only_the_key_opens(
    wire: Wire, session: requests.Session, headers: dict[str, str], params: dict[str, str], status: int
) -> None:
    with StandIn(wire, key="right") as provider:
        answer = session.get(provider.address + MINUTES, headers=headers, params=params)
    assert answer.status_code == status
    assert answer.json().get("error") == ("Unknown API Key" if status == 401 else None)


def test_the_faults_are_these() -> None:
    assert " ".join(FAULTS) == (
        "401 403 429 429-bare 500 502-html empty-200 error-200 delayed slow truncated-json broken-gzip trickle silence "
        "reset short-body nan-prices negative-prices unsorted duplicates missing-minute cut-day "
        "midday-hole missing-row yesterday empty next-url-loop next-url-foreign clock-skew old-snapshot snapshot-500 "
        "unscheduled-closure early-close split future-bars frozen"
    )
    assert all(fault.help for fault in FAULTS.values())


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        ("401", 401, {"status": "ERROR", "error": "Unknown API Key"}),
        (
            "403",
            403,
            {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this data timeframe."},
        ),
        ("429", 429, {"status": "ERROR", "error": "You've exceeded the maximum requests per minute."}),
        ("error-200", 200, {"status": "ERROR", "error": "The request was rejected."}),
    ],
)
def test_a_refusal_is_worded_as_the_provider_words_it(
    provider: StandIn, get: Get, fault: str, status: int, said: dict[str, str]
) -> None:
    provider.misbehave(fault)
    answer = get(MINUTES)
    assert (answer.status_code, answer.json()) == (status, said)


@pytest.mark.parametrize(("fault", "status"), [("429-bare", 429), ("500", 500), ("empty-200", 200)])
def test_an_answer_without_a_body(provider: StandIn, get: Get, fault: str, status: int) -> None:
    provider.misbehave(fault)
    answer = get(MINUTES)
    assert (answer.status_code, answer.content) == (status, b"")
    assert "Retry-After" not in answer.headers


def test_a_gateways_page_is_html(provider: StandIn, get: Get) -> None:
    provider.misbehave("502-html")
    answer = get(MINUTES)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    assert answer.text.startswith("<html>")


def test_the_limit_says_for_how_long(provider: StandIn, get: Get) -> None:
    provider.misbehave("429")
    assert get(MINUTES).headers["Retry-After"] == "7"
    provider.misbehave("429", retry_after=90)
    assert get(MINUTES).headers["Retry-After"] == "90"


@pytest.mark.parametrize("path", [MINUTES, SNAPSHOT])
def test_delayed_is_the_good_answer_so_marked(provider: StandIn, get: Get, path: str) -> None:
    good = get(path).json()
    provider.misbehave("delayed")
    assert get(path).json() == {**good, "status": "DELAYED"}


def test_truncated_json_has_the_length_it_announces(provider: StandIn, get: Get) -> None:
    whole = get(MINUTES).content
    provider.misbehave("truncated-json")
    cut = get(MINUTES)
    assert int(cut.headers["Content-Length"]) == len(cut.content) < len(whole)
    assert whole.startswith(cut.content)


@pytest.mark.parametrize("fault", ["broken-gzip", "short-body", "reset"])
def test_a_cut_answer_is_a_failure_of_the_request(provider: StandIn, get: Get, fault: str) -> None:
    provider.misbehave(fault)
    with pytest.raises(requests.RequestException):
        get(MINUTES).json()


def test_broken_gzip_has_the_length_it_announces(provider: StandIn, get: Get) -> None:
    provider.misbehave("broken-gzip")
    answer = get(MINUTES, stream=True)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.raw.read(decode_content=False)) == int(answer.headers["Content-Length"])


def test_a_short_body_announces_more_than_it_sends(provider: StandIn) -> None:
    provider.misbehave("short-body")
    head, body = raw(provider, MINUTES).split(b"\r\n\r\n", 1)
    announced = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    assert 0 < len(body) < int(announced.split()[1])


def test_reset_is_a_reset_not_an_end(provider: StandIn) -> None:
    provider.misbehave("reset")
    with pytest.raises(ConnectionResetError):
        raw(provider, MINUTES)


def raw(provider: StandIn, path: str) -> bytes:
    """All bytes until the server closes."""
    port = int(provider.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), 10) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: line.recv(65_536), b""))


@pytest.mark.parametrize("fault", HELD)
def test_a_held_request_runs_into_the_clients_time_out(provider: StandIn, get: Get, fault: str) -> None:
    provider.misbehave(fault, **_as_long_as_can_be(fault))
    with pytest.raises(requests.RequestException, match="timed out"):
        get(MINUTES, timeout=0.1)


@pytest.mark.parametrize("fault", HELD)
def test_behave_releases_what_is_held(wire: Wire, fault: str) -> None:
    reached = threading.Event()
    with StandIn(_telling(wire, reached)) as provider, ThreadPoolExecutor(1) as pool:
        provider.misbehave(fault, **_as_long_as_can_be(fault))
        held = pool.submit(get_alone, provider.address + MINUTES)
        assert reached.wait(10)
        assert not held.done()
        provider.behave()
        assert held.result(10).json() == wire(MINUTES, {}).body


@pytest.mark.parametrize("fault", HELD)
def test_close_drops_what_is_held(wire: Wire, fault: str) -> None:
    reached = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with StandIn(_telling(wire, reached)) as provider:
            provider.misbehave(fault, **_as_long_as_can_be(fault))
            held = pool.submit(get_alone, provider.address + MINUTES)
            assert reached.wait(10)
        with pytest.raises(requests.RequestException):
            held.result(10)


def test_others_are_served_while_one_is_held(provider: StandIn, get: Get) -> None:
    provider.misbehave("silence", only="/SPY/")
    with pytest.raises(requests.Timeout):
        get(MINUTES, timeout=0.1)
    assert get(STATUS).status_code == 200


def test_slow_is_the_good_answer_in_the_end(provider: StandIn, get: Get) -> None:
    good = get(MINUTES).json()
    provider.misbehave("slow", seconds=0.01)
    assert get(MINUTES).json() == good


def test_a_trickle_keeps_its_last_byte_however_fast_it_is(provider: StandIn, get: Get) -> None:
    provider.misbehave("trickle", seconds=0.0)
    answer = get(STATUS, timeout=0.1, stream=True)
    length = int(answer.headers["Content-Length"])
    assert len(answer.raw.read(length - 1)) == length - 1
    with pytest.raises(requests.RequestException, match="timed out"):
        next(answer.iter_content(1))


def get_alone(address: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(address, timeout=30)


def _as_long_as_can_be(fault: str) -> dict[str, float]:
    return {"seconds": FOR_EVER} if "seconds" in FAULTS[fault].options else {}


def _telling(wire: Wire, reached: threading.Event) -> Callable[[str, Mapping[str, str]], Reply]:
    def transport(path: str, params: Mapping[str, str]) -> Reply:
        reply = wire(path, params)
        reached.set()
        return reply

    return transport


def test_nan_prices(provider: StandIn, get: Get) -> None:
    good = rows(get)
    provider.misbehave("nan-prices")
    bad = rows(get)
    assert {math.isnan(row["c"]) for row in bad} == {True, False}
    assert [row["t"] for row in bad] == [row["t"] for row in good]


def test_negative_prices(provider: StandIn, get: Get) -> None:
    provider.misbehave("negative-prices")
    assert {row["c"] < 0 for row in rows(get)} == {True, False}


def test_unsorted_rows_are_the_same_rows_every_time(provider: StandIn, get: Get) -> None:
    good = rows(get)
    provider.misbehave("unsorted")
    bad = rows(get)
    assert bad == rows(get) != good
    assert sorted(bad, key=lambda row: row["t"]) == good


def test_duplicates(provider: StandIn, get: Get) -> None:
    good = rows(get)
    provider.misbehave("duplicates")
    bad = rows(get)
    assert len(good) < len(bad) < 2 * len(good)
    assert [row for i, row in enumerate(bad) if row not in bad[:i]] == good


def test_missing_minutes_are_the_same_from_wherever_they_are_asked_for(provider: StandIn, get: Get) -> None:
    good = rows(get)
    provider.misbehave("missing-minute")
    bad = rows(get)
    start = good[10]["t"]
    assert good[-1] == bad[-1]
    assert 0.8 * len(good) < len(bad) < 0.9 * len(good)
    later = rows(get, f"/v2/aggs/ticker/SPY/range/1/minute/{start}/{DAY}")
    assert later == [row for row in bad if row["t"] >= start]
    assert len(rows(get, DAILY)) == 7


def test_yesterday(provider: StandIn, get: Get) -> None:
    good = rows(get)
    provider.misbehave("yesterday")
    assert [row["t"] + Span.DAY.ms for row in rows(get)] == [row["t"] for row in good]


def test_empty_is_what_the_provider_says_of_a_day_without_bars(provider: StandIn, get: Get) -> None:
    provider.misbehave("empty")
    assert get(MINUTES).json() == {"ticker": "SPY", "status": "OK", "adjusted": True, "resultsCount": 0}


def test_the_next_page_is_this_one(provider: StandIn, get: Get) -> None:
    provider.misbehave("next-url-loop")
    assert get(f"{MINUTES}?limit=9").json()["next_url"] == f"https://api.polygon.io{MINUTES}?limit=9"


def test_the_next_page_is_on_another_host(provider: StandIn, get: Get) -> None:
    provider.misbehave("next-url-foreign")
    assert get(MINUTES).json()["next_url"].startswith("https://evil.example/")


@pytest.mark.parametrize("seconds", [300.0, -90.0])
def test_the_clock_is_off_in_header_and_status(
    wire: Wire, clock: FakeClock, session: requests.Session, seconds: float
) -> None:
    with StandIn(wire, clock=clock) as provider:
        straight = session.get(provider.address + STATUS)
        provider.misbehave("clock-skew", seconds=seconds)
        off = session.get(provider.address + STATUS)
        minutes = session.get(provider.address + MINUTES)
    expected = clock.at + timedelta(seconds=seconds)
    assert parsedate_to_datetime(straight.headers["Date"]) == clock.at
    assert parsedate_to_datetime(off.headers["Date"]) == expected
    assert off.json()["serverTime"] == expected.isoformat()
    assert parsedate_to_datetime(minutes.headers["Date"]) == expected
    assert minutes.json()["status"] == "OK"


def test_a_split_rebases_the_rows_before_a_moment(provider: StandIn, get: Get) -> None:
    good = rows(get, DAILY)
    provider.misbehave("split", factor=4, before=midnight_ms(DAY))
    bad = rows(get, DAILY)
    assert bad[-1] == good[-1]
    assert [(4 * new["c"], new["v"] / 4) for new in bad[:-1]] == [(row["c"], row["v"]) for row in good[:-1]]
    provider.misbehave("split")
    assert [2 * row["o"] for row in rows(get, DAILY)] == [row["o"] for row in good]


def test_frozen_minutes_end_before_a_moment_and_days_go_on(provider: StandIn, get: Get) -> None:
    since = to_ms(new_york("2025-03-11 10:20"))
    good, days = rows(get), rows(get, DAILY)
    provider.misbehave("frozen", since=since)
    assert rows(get) == [row for row in good if row["t"] < since]
    assert rows(get, DAILY) == days


def test_future_bars_come_after_the_good_ones(provider: StandIn, get: Get) -> None:
    good = rows(get)
    provider.misbehave("future-bars")
    found = rows(get)
    assert found[:-2] == good
    assert [row["t"] - good[-1]["t"] for row in found[-2:]] == [3_600_000, 7_200_000]


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.edit])
def test_broken_rows_leave_other_answers_alone(provider: StandIn, get: Get, fault: str) -> None:
    good = get(SNAPSHOT).json()
    provider.misbehave(fault, times=1)
    assert get(SNAPSHOT).json() == good
    assert get(MINUTES).json() != get(MINUTES).json(), "the one hit is the first aggregates answer"


@pytest.mark.parametrize("fault", [name for name, fault in FAULTS.items() if fault.edit])
def test_broken_rows_stay_possible_where_there_are_none(provider: StandIn, get: Get, fault: str) -> None:
    provider.misbehave(fault)
    body = get("/v2/aggs/ticker/ZZZ/range/1/minute/2025-03-11/2025-03-11").json()
    assert (body["status"], body["resultsCount"]) == ("OK", 0)


def test_times_heals(provider: StandIn, get: Get) -> None:
    provider.misbehave("500", times=2)
    assert [get(STATUS).status_code for _ in range(3)] == [500, 500, 200]


def test_only_hits_what_it_names(provider: StandIn, get: Get) -> None:
    provider.misbehave("500", only="/range/1/day/", times=1)
    assert [get(path).status_code for path in (MINUTES, DAILY, DAILY)] == [200, 500, 200]


def test_behave_ends_a_fault(provider: StandIn, get: Get) -> None:
    provider.misbehave("500")
    provider.behave()
    assert get(STATUS).status_code == 200


@pytest.mark.parametrize(
    ("fault", "options", "said"),
    [
        ("flood", {}, "silence"),
        ("slow", {"minutes": 3}, r"slow has no option minutes; it has \['seconds'\]"),
        ("500", {"times": 0}, "at least 1"),
    ],
)
def test_nonsense_is_refused_and_changes_nothing(
    provider: StandIn, get: Get, fault: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        provider.misbehave(fault, **options)
    assert get(STATUS).status_code == 200


def test_faults_are_commanded_over_http(provider: StandIn, get: Get, session: requests.Session) -> None:
    control = f"{provider.address}/_fault"
    on = {"fault": "429", "only": "/SPY/", "times": 2, "options": {"retry_after": 3.0}}
    assert session.put(f"{control}/429?only=/SPY/&times=2&retry_after=3").json() == {"on": on}
    assert get(MINUTES).headers["Retry-After"] == "3"
    listed = session.get(control).json()
    assert listed["on"] == {**on, "times": 1}
    assert listed["faults"]["slow"] == {"help": FAULTS["slow"].help, "options": {"seconds": 5.0}}
    assert session.delete(control).json() == {"on": None}
    assert get(MINUTES).status_code == 200
    assert [call.path for call in provider.calls] == [MINUTES, MINUTES]


@pytest.mark.parametrize("asked", ["flood", "slow?seconds=long", "slow?seconds=nan", "500?times=x", "500?fault=1", ""])
def test_a_bad_command_gets_the_list_of_faults(provider: StandIn, session: requests.Session, asked: str) -> None:
    answer = session.put(f"{provider.address}/_fault/{asked}")
    assert answer.status_code == 400
    assert answer.json()["faults"] == list(FAULTS)
    assert provider.fault() is None


def test_only_the_fault_can_be_deleted(provider: StandIn, session: requests.Session) -> None:
    provider.misbehave("500")
    assert session.delete(provider.address + MINUTES).status_code == 404
    assert provider.fault() is not None


def test_after_close_nobody_listens(wire: Wire) -> None:
    with StandIn(wire) as provider:
        pass
    with pytest.raises(requests.ConnectionError):
        get_alone(provider.address + STATUS)


def test_it_can_come_back_on_its_port(wire: Wire, session: requests.Session) -> None:
    with StandIn(wire) as first:
        session.get(first.address + STATUS)
    with StandIn(wire, port=int(first.address.rsplit(":", 1)[1])) as second:
        assert second.address == first.address
        assert session.get(second.address + STATUS).status_code == 200


def statuses(plan: str, wire: Wire, clock: FakeClock, session: requests.Session, *paths: str) -> list[tuple[int, str]]:
    with StandIn(wire, plan=plan, clock=clock) as provider:
        answers = [session.get(provider.address + path) for path in paths]
    return [(answer.status_code, answer.json()["status"]) for answer in answers]


def days(first: str, last: str) -> str:
    return f"/v2/aggs/ticker/SPY/range/1/day/{first}/{last}"


OK, DELAYED, REFUSED = (200, "OK"), (200, "DELAYED"), (403, "NOT_AUTHORIZED")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("advanced", [OK, OK, OK, OK, OK, OK]),
        ("starter", [OK, DELAYED, DELAYED, DELAYED, DELAYED, REFUSED]),
        ("basic", [REFUSED, REFUSED, OK, OK, REFUSED, REFUSED]),
    ],
)
def test_a_plan_has_what_it_has(
    wire: Wire, clock: FakeClock, session: requests.Session, plan: str, expected: list[tuple[int, str]]
) -> None:
    yesterday, two, before_two = "2025-03-10", "2023-03-11", "2023-03-10"
    paths = [
        SNAPSHOT,
        MINUTES,
        days("2025-03-03", yesterday),
        days(two, yesterday),
        days(before_two, yesterday),
        days("2020-03-10", yesterday),
    ]
    assert statuses(plan, wire, clock, session, *paths) == expected


def test_a_plan_reads_moments_as_days(wire: Wire, clock: FakeClock, session: requests.Session) -> None:
    last_ms = to_ms(new_york("2025-03-10 23:59"))
    paths = [days(str(last_ms - 60_000), str(last_ms)), days(str(last_ms), str(last_ms + 60_000))]
    assert statuses("basic", wire, clock, session, *paths) == [OK, REFUSED]


def test_bad_dates_are_bad_dates_on_every_plan(wire: Wire, clock: FakeClock, session: requests.Session) -> None:
    assert statuses("basic", wire, clock, session, days("x", "y")) == [(400, "ERROR")]


def test_a_plan_without_its_clock_is_refused(wire: Wire) -> None:
    with pytest.raises(ValueError, match="needs a clock"):
        StandIn(wire, plan="basic")
    with pytest.raises(ValueError, match="advanced, starter, basic"):
        StandIn(wire, plan="platinum")


@pytest.fixture(scope="module")
def ours() -> OnOurDays:
    return OnOurDays(demo_feed(), CALENDAR, HISTORY_FROM, LAP[1])


TODAY = date(2026, 11, 24)


def test_a_made_up_market_has_a_today(ours: OnOurDays) -> None:
    bars = ours.bars("SPY", Span.MINUTE, midnight_ms(TODAY), midnight_ms(TODAY) + Span.DAY.ms)
    session = bars.since(new_york("2026-11-24 09:30")).until(new_york("2026-11-24 16:00"))
    assert len(session) == 390
    assert {day_of_ms(t) for t in bars.t.tolist()} == {TODAY}


def test_its_days_are_the_trading_days_each_with_its_open(ours: OnOurDays) -> None:
    past = CALENDAR.days_before(TODAY, 500)
    daily = ours.bars("SPY", Span.DAY, midnight_ms(past[0]), midnight_ms(TODAY))
    assert daily.t.tolist() == [midnight_ms(day) for day in past]
    assert daily.o.tolist() == [ours.official_open("SPY", day) for day in past]
    assert daily.end.tolist() == CALENDAR.day_ends(daily.t).tolist()


def test_a_day_shows_the_same_bars_whatever_is_asked_with_it(ours: OnOurDays) -> None:
    alone = ours.bars("QQQ", Span.MINUTE, midnight_ms(TODAY), midnight_ms(TODAY) + Span.DAY.ms)
    longer = ours.bars("QQQ", Span.MINUTE, midnight_ms(date(2026, 10, 30)), midnight_ms(date(2026, 12, 2)))
    inside = (longer.t >= alone.t[0]) & (longer.t <= alone.t[-1])
    assert longer.c[inside].tolist() == alone.c.tolist()
    part = ours.bars("QQQ", Span.MINUTE, int(alone.t[7]), int(alone.t[9]))
    assert part.t.tolist() == alone.t[7:9].tolist()


def test_it_has_nothing_before_its_first_day_nor_on_holidays(ours: OnOurDays) -> None:
    assert len(ours.bars("SPY", Span.DAY, 0, midnight_ms(HISTORY_FROM))) == 0
    assert ours.official_open("SPY", date(2026, 11, 26)) is None


def command(*args: str, data_dir: Path) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MARKET", "CLOCK", "POLYGON_API_KEY")}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "app", "polygon", *args],
        cwd=ROOT,
        env=kept | {"DATA_DIR": str(data_dir)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path, session: requests.Session) -> None:
    with command("--port", "0", "--plan", "starter", "--fault", "429", data_dir=tmp_path) as running:
        assert running.stdout is not None
        first, how = running.stdout.readline(), running.stdout.readline()
        address = first.split()[-1]
        refused = session.get(address + MINUTES)
        session.delete(f"{address}/_fault")
        answer = session.get(address + DAILY, timeout=60)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert f"make serve MARKET=polygon POLYGON_API_KEY=anything POLYGON_BASE_URL={address}" in how
    assert refused.status_code == 429
    assert answer.json()["status"] == "DELAYED"
    assert len(answer.json()["results"]) == 7
    assert (running.returncode, errors) == (0, "")


def test_the_command_says_what_is_in_its_way(provider: StandIn, tmp_path: Path) -> None:
    taken = provider.address.rsplit(":", 1)[1]
    for args, said in (
        (["--port", taken], f"cannot listen on port {taken}: "),
        (["--market", "recorded", "--port", "0"], ".venv/bin/predict import"),
        (["--fault", "flood"], "silence"),
    ):
        with command(*args, data_dir=tmp_path) as running:
            _, errors = running.communicate(timeout=60)
        assert running.returncode in (1, 2)
        assert said in errors
        assert "Traceback" not in errors
