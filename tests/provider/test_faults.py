"""The fault table: whatever the provider does, what clients get is true, in time, and heals without a restart."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.factory import build, create_app
from app.market.bars import Span, from_ms, to_ms
from app.market.calendar import midnight_ms
from app.simulator.faults import FAULTS, Fault
from blueprints.v1.shapes.common import iso
from tests.provider.world import KEY, TICKERS, World, world
from tests.support import CALENDAR, demo_feed, new_york, settings
from tests.waiting import PATIENCE_S

PAST = "/replay?date=2025-02-26&time=12:00"
MINUTE = 60.0
HANGS = ("trickle", "silence")
"""Each call of these takes its time-out, in real time."""
HANGS_S = 0.6
"""That time-out."""
OF_A_KIND = {
    *HANGS,
    *("429-bare", "502-html", "empty-200", "error-200", "broken-gzip", "reset", "empty", "next-url-loop", "short-body"),
}
"""Left to the soak: they take their time-outs, which tests/serving/test_slow_provider.py has too, or are no data to the server
as another row is."""
OF_A_KIND_FROM_THE_START = {*OF_A_KIND, "truncated-json", "short-body", "next-url-foreign", "frozen"}


@dataclass(frozen=True)
class Row:
    """A way to misbehave. code: of each ticker when the hour's bars cannot be had; status: of /trading_directions then;
    heals_s: within how many seconds of market time after its end all is well again; options: of the fault."""

    fault: str
    code: str
    heals_s: float = 2 * MINUTE
    status: int = 200
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def read_s(self) -> float:
        """Real seconds after which a call has failed."""
        return HANGS_S if self.fault in HANGS else PATIENCE_S


FAILS = [
    Row("401", "DATA_FETCH_ERROR", 6 * MINUTE, 503),
    Row("403", "MISSING_DAILY_BAR", 16 * MINUTE),
    Row("429", "RATE_LIMITED"),
    Row("429-bare", "RATE_LIMITED", 3 * MINUTE),
    *(
        Row(fault, "DATA_FETCH_ERROR")
        for fault in (
            *("500", "502-html", "empty-200", "error-200", "truncated-json", "broken-gzip", "trickle", "silence"),
            *("reset", "short-body", "empty", "yesterday", "next-url-loop", "next-url-foreign"),
        )
    ),
    Row("frozen", "DATA_FETCH_ERROR", options={"since": to_ms(new_york("2025-03-11 11:42"))}),
]
SERVED = ("delayed", "future-bars", "unsorted", "duplicates", "clock-skew", "slow")
COMPARED = {"future-bars", "unsorted", "duplicates"}
"""Left to the soak: in CI other tests compare what is said with these bars with what is said without them."""


def entries(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [body["tickers"][ticker] for ticker in TICKERS]


def check_secrets(found: World, caplog: pytest.LogCaptureFixture) -> None:
    """No key anywhere, no address of the provider in what a client or an operator reads."""
    ours = [record.getMessage() for record in caplog.records if not record.name.startswith("urllib3")]
    for text in found.told + ours:
        assert found.provider.address not in text
        assert "/v2/" not in text
    everything = found.told + [record.getMessage() + str(record.exc_info) for record in caplog.records]
    assert not [text for text in everything if KEY in text]


def check_answers(found: World, *, status: int = 200, elsewhere: int = 200, cold: bool = False) -> dict[str, Any]:
    """The three doors of the existing dashboard answer, in time; returns the trading directions. `elsewhere`: what may be
    said where nothing is kept (503 for a key that is refused, else 200); `cold`: nothing has been fetched yet."""
    code, board = found.get("/trading_directions")
    assert code == status, board
    for path in ("/mtf?tickers=SPY", "/mtf?tickers=UVXY", f"/replay?date={found.clock.at:%Y-%m-%d}&hour=11", PAST):
        code, body = found.get(path)
        assert code in (200, elsewhere), body
    for path in ("/health", "/models", "/readyz"):
        assert found.get(path)[0] == 200
    assert found.slowest_s["read"] < (10.0 if cold else 5.0), "ruling A2"
    assert found.slowest_s["replay"] < 10.0, "ruling A2"
    return board


def is_well(found: World) -> bool:
    status, board = found.get("/trading_directions")
    if status != 200 or board["data_status"]["stale"]:
        return False
    signals = all(entry["locked"] and entry["locked_at"][11:16] == "12:00" for entry in entries(board))
    return signals and all(entry["intraday"] for entry in entries(found.get("/mtf")[1]))


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, id=row.fault, marks=[pytest.mark.soak] * (row.fault in OF_A_KIND)) for row in FAILS],
)
def test_a_provider_that_fails(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07", read_s=row.read_s) as found:
        found.directions()
        found.run(2, every_s=60, ask=found.directions)
        before = found.directions()
        assert not before["data_status"]["stale"]
        found.provider.inject_fault(row.fault, **row.options)

        found.run(3, every_s=60, ask=found.directions)
        board = check_answers(found, elsewhere=row.status)
        assert board["data_status"]["stale"]
        for was, entry in zip(entries(before), entries(board), strict=True):
            assert (entry["action"], entry["probability"]) == (was["action"], was["probability"]), "the lock stands"
            assert "stale" in entry["reason"]

        found.run(19, every_s=60 if row.fault == "500" else 190, ask=found.directions)  # one row asks as dashboards do
        board = check_answers(found, status=row.status, elsewhere=row.status)
        if row.status == 200:
            for entry in entries(board):
                assert (entry["action"], entry["reason_code"]) == ("NO_TRADE", row.code)
                assert (entry["probability"], entry["locked"], entry["position_pct"]) == (None, False, 0)
        assert board.get("error_code", row.code) == row.code

        found.provider.clear_fault()
        healed = heal(found, row.heals_s)
        print(f"recovery {row.fault}: {healed:.0f} s")
        assert healed <= row.heals_s
        assert found.core.follower.status().alive
    check_secrets(found, caplog)


def heal(found: World, within_s: float) -> float:
    """Seconds of market time until all is well."""
    began = found.clock.at
    while not is_well(found) and found.clock.at - began <= timedelta(seconds=within_s):
        found.step(30)
    return (found.clock.at - began).total_seconds()


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, id=row.fault, marks=[pytest.mark.soak] * (row.fault in OF_A_KIND_FROM_THE_START))
        for row in FAILS
    ],
)
def test_a_provider_that_fails_from_the_start(
    row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    begun = {"fault": row.fault, "options": row.options, "read_s": row.read_s}
    with world(tmp_path, monkeypatch, "2025-03-11 12:10:07", **begun) as found:  # type: ignore[arg-type]
        board = check_answers(found, status=row.status, elsewhere=row.status)
        for entry in entries(board) if row.status == 200 else []:
            assert entry["action"] == "NO_TRADE"
            assert entry["probability"] is None
        found.run(1)
        found.provider.clear_fault()
        assert heal(found, row.heals_s) <= row.heals_s
    check_secrets(found, caplog)


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[pytest.mark.soak] * (fault in COMPARED)) for fault in SERVED]
)
def test_a_provider_whose_bars_are_odd_but_can_be_used(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with world(tmp_path, monkeypatch, "2025-03-11 11:58:07") as found:
        options = {"seconds": 0.2} if fault == "slow" else {}
        found.provider.inject_fault(fault, **options)
        found.directions()
        found.run(20, every_s=240, ask=found.directions)
        board = check_answers(found)
        for entry in entries(board):
            assert "error" not in entry, entry["reason"]
            assert entry["current_price"] > 0
        found.provider.clear_fault()
        assert heal(found, 16 * MINUTE) <= 16 * MINUTE
    check_secrets(found, caplog)


@pytest.mark.parametrize("fault", ["unsorted", "duplicates"])
def test_bars_out_of_order_or_twice_change_no_bit_of_an_answer(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = []
    for name in ("healthy", fault):
        with world(tmp_path / name, monkeypatch, "2025-03-11 11:58:07") as found:
            if name == fault:
                found.provider.inject_fault(fault)
            found.directions()
            found.run(4)
            answers.append((found.directions(), found.get("/mtf")[1]))
    assert answers[0] == answers[1]


def test_bars_marked_delayed_make_the_plan_late_and_the_answer_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = timedelta(minutes=15)
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07", delay=late, plan="starter") as found:
        found.directions()
        found.run(24, every_s=240, ask=found.directions)
        board = found.directions()
        assert board["data_status"]["plan"] == "delayed"
        assert board["data_status"]["delayed"]
        for entry in entries(board):
            assert entry["locked_at"][11:16] == "11:00", "12:00's bars are not all here at 12:04"
            assert "15 minutes late" in entry["reason"]
        found.run(12, every_s=180, ask=found.directions)
        assert {entry["locked_at"][11:16] for entry in entries(found.directions())} == {"12:00"}


def test_a_clock_that_runs_ahead_waits_for_the_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07") as found:
        found.provider.inject_fault("clock-skew", seconds=-20)
        found.core.follower.probe_now()
        assert found.core.source.plan.settle == timedelta(seconds=25)
        plan = found.get("/health")[1]["operations"]["plan"]
        assert plan["clock_ahead_s"] == 20.0


def test_a_host_that_cannot_be_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    resolve, broken = socket.getaddrinfo, True

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "provider.invalid" and broken:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve("127.0.0.1" if host == "provider.invalid" else host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with world(tmp_path, monkeypatch, "2025-03-11 12:10:07") as other:
        address = other.provider.address.replace("127.0.0.1", "provider.invalid")
        with world(tmp_path / "b", monkeypatch, "2025-03-11 12:10:07", polygon_base_url=address) as found:
            for entry in entries(check_answers(found)):
                assert entry["reason_code"] in ("DATA_FETCH_ERROR", "RATE_LIMITED"), "every try costs a call"
            broken = False
            assert heal(found, 2 * MINUTE) <= 2 * MINUTE
            found.told += other.told
        check_secrets(found, caplog)


def test_a_split_overnight_brings_the_tickers_history_anew_and_signals_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 15:40:07") as found:
        found.directions()
        found.run(1, ask=found.directions)
        before = {ticker: entry["current_price"] for ticker, entry in found.get(PAST)[1]["tickers"].items()}
        said = found.get("/replay?date=2025-03-11&time=15:39")[1]["tickers"]["SPY"]["v6"]
        found.clock.set("2025-03-12 09:05:00")
        found.provider.inject_fault("split", only="/SPY/", factor=2, before=to_ms(found.clock.at))
        found.step(0)
        found.run(1)
        after = {ticker: entry["current_price"] for ticker, entry in found.get(PAST)[1]["tickers"].items()}
        assert after["SPY"] == pytest.approx(before["SPY"] / 2, abs=0.011)
        assert (after["QQQ"], after["IWM"]) == (before["QQQ"], before["IWM"])
        assert found.get("/replay?date=2025-03-11&time=15:39")[1]["tickers"]["SPY"]["v6"] == said
        found.clock.set("2025-03-12 10:01:00")
        found.directions()
        found.run(1, ask=found.directions)
        assert all(entry["locked"] for entry in entries(check_answers(found)))


@pytest.mark.parametrize("fault", ["old-snapshot", "snapshot-500"])
def test_the_open_comes_from_the_first_minute_where_the_snapshot_is_of_no_use(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same probability as on a day on which all sources answer, from the start and live as in replay."""
    caplog.set_level(logging.DEBUG)
    answers = []
    for name in ("", fault):
        with world(tmp_path / (name or "healthy"), monkeypatch, "2025-03-11 11:58:07", fault=name) as found:
            found.directions()
            found.run(4, every_s=60, ask=found.directions)
            board = check_answers(found)
            answers.append([(e["action"], e["probability"], e["locked"]) for e in entries(board)])
            replayed = found.get("/replay?date=2025-03-11&time=12:01")[1]["tickers"]
            said = [replayed[ticker]["v6"]["probability_b"] for ticker in TICKERS]
            assert said == [entry["probability"] for entry in entries(board)]
            source = found.core.source.opens.known("SPY", found.clock.at.date())
            assert source is not None
            assert source.source == ("minute" if name else "daily")
            budget = found.get("/health")[1]["operations"]["budget"]
            assert budget["limit"]["calls"] == 50, "the probe knows a failure from a refusal"
        check_secrets(found, caplog)
    assert answers[0] == answers[1]


def test_bars_that_stand_still_are_stale_then_without_a_price_and_then_without_a_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider answers every minute, its newest bar stays the one that ended at 10:20."""
    with world(tmp_path, monkeypatch, "2025-03-11 10:18:07") as found:
        found.directions()
        found.provider.inject_fault("frozen", since=to_ms(new_york("2025-03-11 10:20")))
        found.run(3, ask=found.directions)
        assert not found.directions()["data_status"]["stale"], "10:21: one bar may be missing"
        found.run(2, ask=found.directions)
        board = found.directions()
        assert board["data_status"]["stale"]
        for entry in entries(board):
            assert "Prices are stale, from 10:20 AM ET." in entry["reason"]
            assert entry["locked"]
            assert entry["current_price"] is not None
        found.run(34, every_s=255, ask=found.directions)
        for entry in entries(found.directions()):
            assert entry["locked"], "10:57: the lock stands for its hour"
            assert entry["current_price"] is None, "nobody knows the price any more"
        for path in ("/mtf", "/rpe", "/northstar", "/price_ranges"):
            assert {entry["error_code"] for entry in found.get(path)[1]["tickers"].values()} == {"DATA_FETCH_ERROR"}
        found.run(32, every_s=240, ask=found.directions)
        for entry in entries(found.directions()):
            assert (entry["action"], entry["reason_code"]) == ("NO_TRADE", "DATA_FETCH_ERROR")
            assert (entry["current_price"], entry["price_11am"]) == (None, None)
            assert "Prices are stale, from 10:20 AM ET." in entry["reason"]
        found.provider.clear_fault()
        found.run(2, ask=found.directions)
        for entry in entries(found.directions()):
            assert entry["locked_at"][11:16] == "11:00"


@pytest.mark.parametrize("only", ["/minute/", "/SPY/range/1/minute/"], ids=["all tickers", "one ticker"])
def test_bars_that_stand_still_while_they_are_called_late_are_judged_as_late_ones(
    only: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest bar ended at 10:20, and may be the newest of late data until 10:37; the price is not known from 10:51 on."""
    still = replace(FAULTS["frozen"], edit_response=FAULTS["delayed"].edit_response)
    monkeypatch.setitem(FAULTS, "still and late", still)
    with world(tmp_path, monkeypatch, "2025-03-11 10:18:07") as found:
        found.directions()
        found.run(1, ask=found.directions)
        found.provider.inject_fault("still and late", only=only, since=to_ms(new_york("2025-03-11 10:20")))
        seen: dict[str, tuple[bool, bool]] = {}

        def look() -> None:
            board = found.get("/trading_directions?ticker=SPY")[1]
            price, status = board["tickers"]["SPY"]["current_price"], board["data_status"]
            assert status["as_of"] <= "2025-03-11T10:20:00-04:00"
            seen[f"{found.clock.at:%H:%M}"] = status["stale"], price is None

        found.run(11, every_s=132, ask=look)
        found.run(50, every_s=150, ask=look)
        assert seen["10:30"] == (False, False)
        assert [seen[at] for at in ("10:40", "10:45", "10:50")] == [(True, False)] * 3
        assert all(seen[at] == (True, True) for at in seen if at > "10:52")
        entry = found.directions()["tickers"]["SPY"]
        assert (entry["action"], entry["reason_code"]) == ("NO_TRADE", "DATA_FETCH_ERROR")
        assert found.core.store.get("SPY", date(2025, 3, 11), 11) is None
        found.provider.clear_fault()
        found.run(2, ask=found.directions)
        assert found.directions()["tickers"]["SPY"]["locked_at"][11:16] == "11:00"


def test_a_feed_that_stands_still_has_no_price_at_an_early_close_nor_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2024-11-29 12:38:07") as found:
        found.directions()
        found.run(1, ask=found.directions)
        found.provider.inject_fault("frozen", since=to_ms(new_york("2024-11-29 12:40")))
        found.run(17, every_s=170, ask=found.directions)
        for minutes in (0, 6, 10):
            found.run(minutes, every_s=120, ask=found.directions)
            for path in ("/trading_directions", "/swing"):
                body = found.get(path)[1]
                assert [entry["current_price"] for entry in entries(body)] == [None] * 3, (path, found.clock.at)
                assert body["data_status"]["stale"]
            for path in ("/mtf", "/rpe", "/northstar"):
                assert {entry["error_code"] for entry in entries(found.get(path)[1])} == {"DATA_FETCH_ERROR"}
        assert not found.directions()["market_open"]
        found.provider.clear_fault()
        found.run(6, every_s=60, ask=found.directions)
        right = found.get("/swing")[1]
        assert right["data_status"]["as_of"] == "2024-11-29T13:00:00-05:00"
        shown = [entry["current_price"] for entry in entries(found.directions())]
        assert shown == [entry["current_price"] for entry in entries(right)]
        assert None not in shown


@pytest.mark.parametrize("has_bars", [False, True], ids=["its bars are gone", "its bars go on"])
def test_a_closure_that_is_announced_while_the_market_trades_closes_it_at_once_and_locks_nothing(
    has_bars: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes a minute before 11:00; what was locked before stays in the record, and no day after it lacks a bar."""
    closing = FAULTS["unscheduled-closure"].edit_reply

    def edit(reply: Any, options: Any, call: Any) -> Any:
        return closing(reply, {"day": 20250311.0}, call) if not has_bars or "marketstatus" in call.path else reply

    monkeypatch.setitem(FAULTS, "closure", Fault("a closure of today", edit_reply=edit))
    with world(tmp_path, monkeypatch, "2025-03-11 07:50:07") as found:
        found.run(1)
        found.clock.set("2025-03-11 10:01:07")
        found.provider.inject_fault("500", only="marketstatus")
        found.run(1, ask=found.directions)
        locked = [found.core.store.get(ticker, date(2025, 3, 11), 10) for ticker in TICKERS]
        assert None not in locked
        found.clock.set("2025-03-11 10:58:50")
        found.provider.inject_fault("closure")
        found.timer.forward(900)
        for moment in ("10:58:50", "11:00:30", "12:01:30"):
            found.clock.set(f"2025-03-11 {moment}")
            found.run(1, ask=found.directions)
            board = found.directions()
            assert not board["market_open"], found.clock.at
            assert {entry["reason_code"] for entry in entries(board)} == {"MARKET_CLOSED"}
        for ticker, was in zip(TICKERS, locked, strict=True):
            assert found.core.store.get(ticker, date(2025, 3, 11), 10) == was
            assert found.core.store.get(ticker, date(2025, 3, 11), 11) is None
        found.clock.set("2025-03-12 10:01:07")
        found.timer.forward(80_000)
        found.run(2, ask=found.directions)
        assert all(entry["locked"] for entry in entries(found.directions()))


def closes_by_end(ticker: str) -> dict[str, set[float]]:
    """The prices of the minutes and days of a week, by when their bars ended."""
    found: dict[str, set[float]] = {}
    first, last = (midnight_ms(date(2025, 3, day)) for day in (5, 12))
    for span in (Span.MINUTE, Span.DAY):
        bars = demo_feed().bars(ticker, span, first, last)
        ends = CALENDAR.day_ends(bars.t) if span is Span.DAY else bars.end
        for end, close in zip(ends.tolist(), bars.c.tolist(), strict=True):
            found.setdefault(iso(from_ms(end)), set()).add(round(close, 2))
    return found


@pytest.mark.parametrize(
    ("fault", "since"),
    [("frozen", "09:20"), ("500", "10:20"), pytest.param("frozen", "10:20", marks=pytest.mark.soak)],
)
def test_a_price_is_always_the_close_of_the_bar_whose_age_is_told(
    fault: str, since: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a feed that stood still they showed yesterday's close beside a moment of today."""
    start, shown = new_york(f"2025-03-11 {since}"), set[str]()
    right = closes_by_end("SPY")
    with world(tmp_path, monkeypatch, f"{start - timedelta(seconds=113):%Y-%m-%d %H:%M:%S}") as found:
        found.directions()

        def look() -> None:
            today = f"/replay?date=2025-03-11&time={found.clock.at:%H:%M}&"
            for path in ("/swing?", "/mtf?", "/rpe?", "/northstar?", "/trading_directions?", today):
                body = found.get(f"{path}ticker=SPY")[1]
                price, as_of = body["tickers"]["SPY"].get("current_price"), body["data_status"]["as_of"]
                assert price is None or price in right[as_of], (path, found.clock.at)
                shown.add(path.rstrip("?") if price is not None else "nothing")
                if found.clock.at > start + timedelta(minutes=30):
                    assert price is None or as_of < "2025-03-11", (path, "nobody knows the price of today any more")

        found.run(1, every_s=30, ask=look)
        found.provider.inject_fault(fault, only="/minute/", **({"since": to_ms(start)} if fault == "frozen" else {}))
        found.run(32, every_s=160, ask=look)
    assert {"nothing", "/swing", "/mtf", "/rpe", "/northstar"} <= shown


def test_the_eleven_oclock_price_waits_for_its_bars_and_never_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, set[object]] = {ticker: set() for ticker in TICKERS}

    def look(found: World) -> None:
        for path in ("/trading_directions", f"/replay?date=2025-03-11&time={found.clock.at:%H:%M}", "/mtf"):
            for ticker, entry in found.get(path)[1]["tickers"].items():
                value = (entry.get("intraday") or entry).get("price_11am")
                shown[ticker] |= {value} - {None}

    with world(tmp_path, monkeypatch, "2025-03-11 10:50:07") as found:
        found.directions()
        found.provider.inject_fault("frozen", since=to_ms(new_york("2025-03-11 10:53")))
        found.run(30, every_s=180, ask=lambda: look(found))
        assert set(map(len, shown.values())) == {0}, "the bars up to 11:00 are not here"
        found.provider.clear_fault()
        found.run(5, every_s=60, ask=lambda: look(found))
        right = {t: found.core.source.intraday(t, new_york("2025-03-11 11:00")).bars.c[-1] for t in TICKERS}
        assert shown == {ticker: {round(float(price), 2)} for ticker, price in right.items()}


def test_a_server_that_starts_at_eleven_sharp_shows_no_eleven_oclock_price_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:00:00") as found:
        for second in range(5):
            for path in ("/trading_directions", "/replay?date=2025-03-11&time=11:00"):
                for entry in found.get(path)[1]["tickers"].values():
                    assert entry.get("price_11am") is None, (second, path)
            found.step(1)
        for entry in entries(found.directions()):
            assert entry["price_11am"] is not None


@pytest.mark.parametrize("at", ["2025-03-11 11:40:07", "2025-03-11 11:58:07"])
def test_bars_stamped_in_the_future_are_left_out_and_the_others_served(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Midway and from the start: after two answers with such bars the server says what it says without them."""
    answers = []
    for name in ("healthy", "future-bars"):
        with world(tmp_path / name, monkeypatch, at) as found:
            if name == "future-bars":
                if at.endswith("11:40:07"):
                    found.directions()
                found.provider.inject_fault(name)
            found.directions()
            found.run(4, every_s=60, ask=found.directions)
            found.provider.clear_fault()
            found.run(1, every_s=60, ask=found.directions)
            answers.append((found.directions(), found.get("/mtf")[1]))
    assert answers[0] == answers[1]
    assert "bars_rejected" in caplog.text


def announced_calls(found: World) -> int:
    return sum(call.path == "/v1/marketstatus/upcoming" for call in found.provider.calls)


def test_an_announced_closure_is_closed_and_no_hole_in_the_days_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gave NO_TRADE for 21 sessions. The next start without network knows it too."""
    with world(tmp_path, monkeypatch, "2025-03-11 15:58:07") as found:
        found.provider.inject_fault("unscheduled-closure", day=20250312)
        found.directions()
        found.run(1)
        assert {"day": "2025-03-12", "close": None} in found.get("/health")[1]["operations"]["calendar"]["upcoming"]
        found.clock.set("2025-03-12 11:00:00")
        found.run(1, ask=found.directions)
        board = found.directions()
        assert not board["market_open"]
        assert board["reason"]
        assert {entry["reason_code"] for entry in entries(board)} == {"MARKET_CLOSED"}
        for day in (13, 14):
            found.clock.set(f"2025-03-{day} 10:01:00")
            found.directions()
            found.run(2, ask=found.directions)
            board = found.directions()
            assert all(entry["locked"] for entry in entries(board)), [e["reason"] for e in entries(board)]
            replayed = found.get(f"/replay?date=2025-03-{day}&time=10:02")[1]["tickers"]
            assert [replayed[t]["v6"]["probability_a"] for t in TICKERS] == [e["probability"] for e in entries(board)]
        assert announced_calls(found) == 4, "one call a day"
        found.provider.inject_fault("reset")
        known = {"polygon_base_url": found.provider.address, "polygon_api_key": KEY, "data_dir": tmp_path}
        again = build(settings(**known), clock=found.clock, timer=found.timer.timer)
        assert again.calendar.session(date(2025, 3, 12)) is None, "a start without network"
        assert again.pipeline.board(TICKERS, found.clock.at).tickers["SPY"].decision is not None
        again.close()


def test_an_announced_early_close_ends_the_day_and_withdraws_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SHORT stayed locked until 16:00."""
    with world(tmp_path, monkeypatch, "2025-03-11 07:50:07") as found:
        found.run(1)
        assert found.core.calendar.session(date(2025, 3, 11)) == CALENDAR.session(date(2025, 3, 11))
        found.clock.set("2025-03-11 12:01:07")
        found.provider.inject_fault("500", only="marketstatus")
        found.run(1, ask=found.directions)
        locked = entries(found.directions())
        found.provider.inject_fault("early-close", day=20250311)
        found.timer.forward(900)
        found.run(1, ask=found.directions)
        board = found.directions()
        assert board["market_open"]
        assert {"day": "2025-03-11", "close": "13:00"} in found.get("/health")[1]["operations"]["calendar"]["upcoming"]
        for was, entry in zip(locked, entries(board), strict=True):
            assert entry["locked"]
            assert (entry["action"], entry["probability"]) == (was["action"], was["probability"]), "the lock stands"
        found.clock.set("2025-03-11 13:00:00")
        assert not found.directions()["market_open"]
        found.run(2, ask=found.directions)
        assert {entry["reason_code"] for entry in entries(found.directions())} == {"MARKET_CLOSED"}
        replayed = found.get("/replay?date=2025-03-11&time=13:01")[1]
        assert replayed["market_open"] is False
        assert found.core.store.get("SPY", date(2025, 3, 11), 13) is None


def test_an_early_close_that_is_announced_when_it_has_passed_withdraws_no_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 07:50:07") as found:
        found.run(1)
        found.clock.set("2025-03-11 13:01:00")
        found.provider.inject_fault("500", only="marketstatus")
        found.run(1, ask=found.directions)
        kept = found.core.store.get("SPY", date(2025, 3, 11), 13)
        assert kept is not None
        found.provider.inject_fault("early-close", day=20250311)
        found.clock.set("2025-03-11 13:20:00")
        found.timer.forward(900)
        found.run(1, ask=found.directions)
        assert {entry["reason_code"] for entry in entries(found.directions())} == {"MARKET_CLOSED"}
        assert found.core.store.get("SPY", date(2025, 3, 11), 13) == kept


@pytest.mark.parametrize("withdrawn", ["unscheduled-closure", "early-close"])
def test_what_the_list_of_its_own_morning_withdraws_is_a_whole_day_live_and_in_every_replay(
    withdrawn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server was closed all day, and the day was lost to replay."""
    options = {"day": 20250311, **({"hour": 12} if withdrawn == "early-close" else {})}
    with world(tmp_path, monkeypatch, "2025-03-10 08:01:00", fault=withdrawn, options=options) as found:
        found.run(2)
        assert found.core.calendar.session(date(2025, 3, 11)) != CALENDAR.session(date(2025, 3, 11))
        found.provider.clear_fault()
        for moment in ("08:05", "10:00", "12:00"):
            found.clock.set(f"2025-03-11 {moment}:07")
            found.run(1, ask=found.directions)
        board = found.directions()
        assert board["market_open"]
        assert {entry["locked_at"][11:16] for entry in entries(board)} == {"12:00"}
        told = [(entry["probability_a"], entry["probability_b"]) for entry in entries(board)]
        found.clock.set("2025-03-12 10:00:07")
        found.run(1, ask=found.directions)
        known = {"polygon_base_url": found.provider.address, "polygon_api_key": KEY, "data_dir": tmp_path}
        again = create_app(settings(**known), clock=found.clock, timer=found.timer.timer).test_client()
        for client in (found.client, again):
            replayed = client.get("/replay?date=2025-03-11&time=12:01").get_json()["tickers"]
            assert [(replayed[t]["v6"]["probability_a"], replayed[t]["v6"]["probability_b"]) for t in TICKERS] == told
        again.application.extensions["predict-server"].close()


@pytest.fixture(scope="module")
def whole_past_day(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is said of PAST by a server whose provider has no fault."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch, world(folder, patch, "2025-03-11 11:40:07") as found:
        tickers: dict[str, Any] = found.get(PAST)[1]["tickers"]
        return tickers


@pytest.mark.parametrize(
    "fault",
    [
        "cut-day",
        "missing-minute",
        *(pytest.param(fault, marks=pytest.mark.soak) for fault in ("midday-hole", "nan-prices")),
    ],
)
def test_an_incomplete_past_day_is_told_and_heals_at_a_bounded_number_of_calls(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_past_day: dict[str, Any]
) -> None:
    minutes = "/1/minute/2025-02-26"
    with world(tmp_path, monkeypatch, "2025-03-11 11:40:07") as found:
        found.provider.inject_fault(fault, only=minutes, **({"hour": 12.0} if fault == "cut-day" else {}))
        for _ in range(10):
            tickers = found.get(PAST)[1]["tickers"]
            found.step(240)
        for entry in tickers.values():
            assert "are missing" in (entry["error"] if "error" in entry else entry["v6"]["reason"])
        calls = sum(minutes in call.path for call in found.provider.calls)
        assert calls <= 4 * len(TICKERS), "at once, and after 1, 5 and 15 minutes"
        found.provider.clear_fault()
        found.step(3600)
        assert found.get(PAST)[1]["tickers"] == whole_past_day
        calls = sum(minutes in call.path for call in found.provider.calls)
        for _ in range(3):
            found.step(24 * 3600)
            found.get(PAST)
        assert sum(minutes in call.path for call in found.provider.calls) == calls


def test_a_missing_daily_bar_is_named_with_what_it_costs_and_heals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:10:07") as found:
        found.provider.inject_fault("missing-row", only="/SPY/range/1/day/", start=float(midnight_ms(date(2025, 3, 4))))
        found.directions()
        found.run(2, ask=found.directions)
        board = found.directions()["tickers"]
        assert (board["SPY"]["action"], board["SPY"]["reason_code"]) == ("NO_TRADE", "INSUFFICIENT_DATA")
        assert "the daily bar of 2025-03-04 is missing: no signal until 2025-04-03" in board["SPY"]["reason"].lower()
        assert board["QQQ"]["locked"]
        assert board["IWM"]["locked"]
        health = found.get("/health")[1]
        assert "daily_bars_missing" in health["degraded"]
        cost = {"days": ["2025-03-04"], "no_signal_until": "2025-04-03", "sessions_without_signal": 17}
        assert health["operations"]["daily_bars_missing"] == {"SPY": cost}
        found.run(30, every_s=300, ask=found.directions)
        calls = [call for call in found.provider.calls if "/SPY/range/1/day/2023" in call.path]
        assert len(calls) <= 4, "at once, and after 1, 5 and 15 minutes"
        found.provider.clear_fault()
        found.run(60, every_s=600, ask=found.directions)
        assert found.directions()["tickers"]["SPY"]["locked"]
        health = found.get("/health")[1]
        assert "daily_bars_missing" not in health["degraded"]
        assert health["operations"]["daily_bars_missing"] == {}
