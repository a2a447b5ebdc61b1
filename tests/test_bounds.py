"""What a server keeps and reads has a bound, and the bounds are these. Numbers are written out, so that it is noticed here if a
bound is raised or removed; what happens at a bound is tested beside the code that has it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from app.config.api_keys import MAX_KEYS, MAX_LENGTH
from app.errors import BadRequest, BrokenData, SettingsError, TryLater, Upstream
from app.factory import build, create_app
from app.market import polygon
from app.market.announcements.keeper import MOST_ROWS
from app.market.bars import Span
from app.market.opens import OfficialOpen
from app.market.polygon import Polygon, Reply
from app.market.series_memory import KEPT_SERIES
from app.market.single_flight import SingleFlight
from app.model import registry
from app.telemetry import tracing, worker_metrics
from app.telemetry.access_log import AccessLog, AccessRecord, as_json_line
from app.telemetry.exposition import formats_of
from app.telemetry.otlp import QUEUE_SIZE
from app.telemetry.tracing import Trace
from blueprints.services import CacheValidity
from blueprints.v1.parameters import replay_moment, tickers
from middleware.breaker import Breaker
from middleware.request_context import RequestContext
from middleware.response_cache import CachedResponse, ResponseCache
from middleware.sliding_windows import InMemoryWindows
from tests.signals.stores import sqlite_store
from tests.support import CALENDAR, FakeClock, new_york, settings
from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
VALIDITY = CacheValidity(("SPY",), 1, 0.0, 60.0, 1.0)


def cached(body: bytes) -> CachedResponse:
    return CachedResponse(VALIDITY, "/swing", "analysis", "application/json", '"tag"', body)


def test_256_answers_are_kept() -> None:
    cache = ResponseCache()
    for number in range(300):
        cache.put((1, "/swing", str(number)), cached(b"{}"))
    assert (len(cache), cache.bytes) == (256, 512)
    assert cache.get((1, "/swing", "43")) is None, "the least recently used ones are evicted"


def test_answers_of_16_mib_are_kept() -> None:
    cache, body = ResponseCache(), bytes(1 << 20)
    for number in range(20):
        cache.put((1, "/swing", str(number)), cached(body))
    assert (len(cache), cache.bytes) == (16, 16 << 20)


def test_requests_of_20_000_clients_are_counted() -> None:
    windows = InMemoryWindows(lambda: 0.0, lambda: 0.0)
    for number in range(20_100):
        windows.hit(str(number), 3, 60)
    assert len(windows) == 20_000


def test_the_breaker_has_16_circuits_and_one_for_all_other_calls() -> None:
    breaker = Breaker(
        lambda path, params: path,
        kind_of=lambda path: path,
        is_failure=lambda reply: False,
        emit=lambda *args, **fields: None,
        now=lambda: 0.0,
    )
    for number in range(40):
        breaker(str(number), {})
    assert len(breaker.states()) == 17


def test_10_000_lines_of_the_access_log_wait() -> None:
    written = threading.Event()
    log = AccessLog(lambda text: written.wait(PATIENCE_S), as_json=False)
    log._thread = threading.current_thread()  # as after the start, and the thread has not had its turn
    for _ in range(10_100):
        log(access_record("/swing"))
    assert (len(log), log.lost) == (10_000, 100)
    written.set()
    log.close()


def test_the_access_log_has_200_characters_of_a_path() -> None:
    line = as_json_line(access_record("/" + "x" * 1000))
    assert "x" * 199 in line
    assert "x" * 200 not in line


def test_2048_spans_wait_for_a_collector() -> None:
    assert QUEUE_SIZE == 2048


def test_the_store_remembers_4096_opens_and_as_many_that_it_could_not_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = sqlite_store(tmp_path / "file" / "record.sqlite3")
    for number in range(4_200):
        store.put_open("SPY", DAY - timedelta(number), OfficialOpen(1.0, "daily"))
    assert (len(store._opens.kept), len(store._opens.unwritten)) == (4096, 4096)


def test_the_follower_remembers_256_jobs(tmp_path: Path) -> None:
    at = new_york("2025-03-11 11:30")
    core = build(settings(market="demo", data_dir=tmp_path), clock=FakeClock(at))
    follower = core.follower
    for number in range(1_000):
        assert follower._jobs.is_time(("open", "SPY", DAY + timedelta(number)), at, timedelta(minutes=1))
    assert len(follower._jobs) == 256
    assert not follower._jobs.is_time(("open", "SPY", DAY + timedelta(999)), at, timedelta(minutes=1))
    core.close()


def test_64_fetches_are_under_way() -> None:
    flight: SingleFlight[bool] = SingleFlight(1)
    go = threading.Event()
    for number in range(64):
        flight.start(number, lambda: go.wait(PATIENCE_S))
    try:
        with pytest.raises(TryLater, match="too many"):
            flight.run("one more", lambda: True, 1.0)
    finally:
        go.set()
        flight.close()


def test_500_rows_of_announced_holidays_are_read() -> None:
    assert MOST_ROWS == 500, "tests/market/test_announcements.py tests what becomes of more"


def test_256_series_of_bars_are_kept() -> None:
    assert KEPT_SERIES == 256


def test_100_pages_of_an_answer_are_read() -> None:
    calls: list[str] = []

    def endless(path: str, params: Mapping[str, str]) -> Reply:
        calls.append(path)
        url = f"https://api.polygon.io/v2/aggs/{len(calls)}"
        return Reply(200, {"status": "OK", "results": [], "next_url": url}, None, 0.0, None)

    with pytest.raises(Upstream, match="pages"):
        Polygon(endless, CALENDAR, "https://api.polygon.io").aggregates("SPY", Span.MINUTE, DAY, DAY)
    assert len(calls) == 100


def test_an_answer_of_64_mib_is_read() -> None:
    piece, pieces = bytes(8 << 20), []

    def read1(amount: int, decode_content: bool) -> bytes:
        pieces.append(len(piece))
        return piece if len(pieces) < 20 else b""

    response: Any = SimpleNamespace(raw=SimpleNamespace(read1=read1))
    with pytest.raises(Upstream, match="too large"):
        polygon._read(response, deadline=1.0, now=lambda: 0.0)
    assert sum(pieces) == (64 << 20) + len(piece)


def test_a_model_of_64_mib_is_read(tmp_path: Path) -> None:
    file = tmp_path / "model.npz"
    with file.open("wb") as sparse:
        sparse.truncate((64 << 20) + 1)
    with pytest.raises(BrokenData, match="too large"):
        registry._read(file, registry.MAX_FILE_BYTES)


def test_32_characters_of_a_symbol_are_read() -> None:
    assert tickers({"tickers": "x" * 1000}).symbols == ("X" * 32,)


def test_100_parts_of_a_form_are_read(tmp_path: Path) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path))
    for parts, is_read in ((100, True), (101, False)):
        form = {f"field-{number}": "x" for number in range(parts)}
        with app.test_request_context("/predict", method="POST", data=form, content_type="multipart/form-data"):
            if is_read:
                assert len(request.form) == 100
            else:
                with pytest.raises(RequestEntityTooLarge):
                    len(request.form)


def access_record(path: str) -> AccessRecord:
    return AccessRecord(1.0, "id", "trace", "GET", "/swing", path, 200, 0.1)


def test_a_span_has_200_characters_of_a_path() -> None:
    attributes: dict[str, object] = {}
    span: Any = SimpleNamespace(update_name=lambda name: None, set_attributes=attributes.update)
    context = RequestContext("id", Trace("trace", "span"), path="/" + "x" * 1000)
    tracing._describe(span, context, None)
    assert attributes["url.path"] == "/" + "x" * 199


def test_8_formats_that_a_scraper_accepts_are_read() -> None:
    accept = formats_of(", ".join(["text/plain; version=0.0.4"] * 1000))
    assert len(accept.split(", ")) == 8


def test_100_closures_are_named() -> None:
    days = [(DAY + timedelta(weeks=number)).isoformat() for number in range(101)]
    assert len(settings(market_closures=",".join(days[:100])).market_closures) == 100
    with pytest.raises(SettingsError, match="at most 100 days"):
        settings(market_closures=",".join(days))


def test_100_api_keys_of_128_characters_are_known() -> None:
    assert (MAX_KEYS, MAX_LENGTH) == (100, 128), "tests/config/test_api_keys.py tests what is refused beyond"


def test_16_kib_of_a_request_from_another_worker_are_read() -> None:
    pieces = iter([b"x" * 1024] * 100)
    connection: Any = SimpleNamespace(recv=lambda size: next(pieces, b""))
    assert len(worker_metrics._read_line(connection)) == 16_384


@pytest.mark.parametrize(("others", "hint"), [(19, ": dat is no parameter, perhaps date is meant"), (20, "")])
def test_20_parameters_are_searched_for_a_misspelling(others: int, hint: str) -> None:
    parameters = {f"x{number}": "" for number in range(others)} | {"dat": "2025-03-10", "time": "11:00"}
    with pytest.raises(BadRequest) as refused:
        replay_moment(parameters, new_york("2025-03-11 11:30"), CALENDAR)
    assert refused.value.message == f"date is missing{hint}"
