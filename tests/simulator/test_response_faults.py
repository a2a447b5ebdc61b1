"""What a client sees of the faults of the HTTP response."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
import requests

from app.market.feed_transport import FeedTransport
from app.market.polygon import Reply
from app.simulator.faults import FAULTS
from app.simulator.server import PolygonSimulator
from tests.simulator.paths import MINUTES, SNAPSHOT, STATUS, Get, get_alone
from tests.support import FakeClock
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.integration

HELD = ("slow", "trickle", "silence")
FOR_EVER = 3600.0


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
    provider: PolygonSimulator, get: Get, fault: str, status: int, said: dict[str, str]
) -> None:
    provider.inject_fault(fault)
    answer = get(MINUTES)
    assert (answer.status_code, answer.json()) == (status, said)


@pytest.mark.parametrize(("fault", "status"), [("429-bare", 429), ("500", 500), ("empty-200", 200)])
def test_an_answer_without_a_body(provider: PolygonSimulator, get: Get, fault: str, status: int) -> None:
    provider.inject_fault(fault)
    answer = get(MINUTES)
    assert (answer.status_code, answer.content) == (status, b"")
    assert "Retry-After" not in answer.headers


def test_a_gateways_page_is_html(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("502-html")
    answer = get(MINUTES)
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
    assert answer.text.startswith("<html>")


def test_the_limit_says_for_how_long(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("429")
    assert get(MINUTES).headers["Retry-After"] == "7"
    provider.inject_fault("429", retry_after=90)
    assert get(MINUTES).headers["Retry-After"] == "90"


@pytest.mark.parametrize("path", [MINUTES, SNAPSHOT])
def test_delayed_is_the_good_answer_so_marked(provider: PolygonSimulator, get: Get, path: str) -> None:
    good = get(path).json()
    provider.inject_fault("delayed")
    assert get(path).json() == {**good, "status": "DELAYED"}


def test_truncated_json_has_the_length_it_announces(provider: PolygonSimulator, get: Get) -> None:
    whole = get(MINUTES).content
    provider.inject_fault("truncated-json")
    cut = get(MINUTES)
    assert int(cut.headers["Content-Length"]) == len(cut.content) < len(whole)
    assert whole.startswith(cut.content)


@pytest.mark.parametrize("fault", ["broken-gzip", "short-body", "reset"])
def test_a_cut_answer_is_a_failure_of_the_request(provider: PolygonSimulator, get: Get, fault: str) -> None:
    provider.inject_fault(fault)
    with pytest.raises(requests.RequestException):
        get(MINUTES).json()


def test_broken_gzip_has_the_length_it_announces(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("broken-gzip")
    answer = get(MINUTES, stream=True)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.raw.read(decode_content=False)) == int(answer.headers["Content-Length"])


def test_a_short_body_announces_more_than_it_sends(provider: PolygonSimulator) -> None:
    provider.inject_fault("short-body")
    head, body = raw(provider, MINUTES).split(b"\r\n\r\n", 1)
    announced = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
    assert 0 < len(body) < int(announced.split()[1])


def test_reset_is_a_reset_not_an_end(provider: PolygonSimulator) -> None:
    provider.inject_fault("reset")
    with pytest.raises(ConnectionResetError):
        raw(provider, MINUTES)


def raw(provider: PolygonSimulator, path: str) -> bytes:
    """All bytes until the server closes."""
    port = int(provider.address.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return b"".join(iter(lambda: line.recv(65_536), b""))


@pytest.mark.parametrize("fault", HELD)
def test_a_held_request_runs_into_the_clients_time_out(provider: PolygonSimulator, get: Get, fault: str) -> None:
    provider.inject_fault(fault, **_as_long_as_can_be(fault))
    with pytest.raises(requests.RequestException, match="timed out"):
        get(MINUTES, timeout=0.1)


@pytest.mark.parametrize("fault", HELD)
def test_clearing_the_fault_releases_what_is_held(transport: FeedTransport, fault: str) -> None:
    reached = threading.Event()
    with PolygonSimulator(_signalling(transport, reached)) as provider, ThreadPoolExecutor(1) as pool:
        provider.inject_fault(fault, **_as_long_as_can_be(fault))
        held = pool.submit(get_alone, provider.address + MINUTES)
        assert reached.wait(PATIENCE_S)
        assert not held.done()
        provider.clear_fault()
        assert held.result(PATIENCE_S).json() == transport(MINUTES, {}).body


@pytest.mark.parametrize("fault", HELD)
def test_close_drops_what_is_held(transport: FeedTransport, fault: str) -> None:
    reached = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        with PolygonSimulator(_signalling(transport, reached)) as provider:
            provider.inject_fault(fault, **_as_long_as_can_be(fault))
            held = pool.submit(get_alone, provider.address + MINUTES)
            assert reached.wait(PATIENCE_S)
        with pytest.raises(requests.RequestException):
            held.result(PATIENCE_S)


def test_others_are_served_while_one_is_held(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("silence", only="/SPY/")
    with pytest.raises(requests.Timeout):
        get(MINUTES, timeout=0.1)
    assert get(STATUS).status_code == 200


def test_slow_is_the_good_answer_in_the_end(provider: PolygonSimulator, get: Get) -> None:
    good = get(MINUTES).json()
    provider.inject_fault("slow", seconds=0.01)
    assert get(MINUTES).json() == good


def test_a_trickle_keeps_its_last_byte_however_fast_it_is(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("trickle", seconds=0.0)
    answer = get(STATUS, stream=True)
    length = int(answer.headers["Content-Length"])
    assert len(answer.raw.read(length - 1)) == length - 1
    answer.raw.connection.sock.settimeout(0.1)
    with pytest.raises(requests.RequestException, match="timed out"):
        next(answer.iter_content(1))


def _as_long_as_can_be(fault: str) -> dict[str, float]:
    return {"seconds": FOR_EVER} if "seconds" in FAULTS[fault].options else {}


def _signalling(transport: FeedTransport, reached: threading.Event) -> Callable[[str, Mapping[str, str]], Reply]:
    def signalling(path: str, params: Mapping[str, str]) -> Reply:
        reply = transport(path, params)
        reached.set()
        return reply

    return signalling


@pytest.mark.parametrize("seconds", [300.0, -90.0])
def test_the_clock_is_off_in_header_and_status(
    transport: FeedTransport, clock: FakeClock, session: requests.Session, seconds: float
) -> None:
    with PolygonSimulator(transport, clock=clock) as provider:
        straight = session.get(provider.address + STATUS)
        provider.inject_fault("clock-skew", seconds=seconds)
        off = session.get(provider.address + STATUS)
        minutes = session.get(provider.address + MINUTES)
    expected = clock.at + timedelta(seconds=seconds)
    assert parsedate_to_datetime(straight.headers["Date"]) == clock.at
    assert parsedate_to_datetime(off.headers["Date"]) == expected
    assert off.json()["serverTime"] == expected.isoformat()
    assert parsedate_to_datetime(minutes.headers["Date"]) == expected
    assert minutes.json()["status"] == "OK"
