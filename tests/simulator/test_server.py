"""The simulated provider over HTTP: what it answers, how faults are injected and cleared, and the command that starts it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from app.market.bars import Span
from app.market.feed_transport import FeedTransport
from app.market.polygon import HttpTransport, Polygon
from app.simulator.faults import FAULTS
from app.simulator.server import PolygonSimulator
from tests import warm_processes
from tests.redis_server import free_port
from tests.simulator.paths import DAILY, DAY, MINUTES, STATUS, Get, get_alone
from tests.support import CALENDAR
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent.parent


def test_the_good_answer_is_the_transports(get: Get, transport: FeedTransport) -> None:
    answer = get(MINUTES, params={"limit": "50000"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == transport(MINUTES, {"limit": "50000"}).body


def test_a_refusal_of_the_transport_keeps_its_status(get: Get) -> None:
    assert get("/v9/nothing").status_code == 404


def test_the_servers_own_client_reads_it(provider: PolygonSimulator, transport: FeedTransport) -> None:
    over_http = Polygon(HttpTransport(provider.address, "k"), CALENDAR, provider.address)
    found = over_http.aggregates("SPY", Span.MINUTE, DAY, DAY).bars
    assert found.equals(Polygon(transport, CALENDAR).aggregates("SPY", Span.MINUTE, DAY, DAY).bars)
    over_http._transport._session.close()  # type: ignore[attr-defined]


def test_the_servers_own_client_goes_through_the_proxy_that_the_environment_names(
    provider: PolygonSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HTTP_PROXY": provider.address, "NO_PROXY": ""}.items():
        monkeypatch.setenv(name, value)
        monkeypatch.delenv(name.lower(), raising=False)
    over_proxy = HttpTransport("http://provider.invalid", "k")
    assert over_proxy(STATUS, {}).status == 200
    over_proxy._session.close()


def test_a_connection_is_kept_and_its_answers_do_not_stall(get: Get) -> None:
    def took_s() -> float:
        began = time.perf_counter()
        get(STATUS)
        return time.perf_counter() - began

    get(STATUS)
    wait_for(lambda: took_s() < 0.03, "each waits for the acknowledgement of its head")


def test_calls_are_recorded_in_order_with_their_authorization(
    transport: FeedTransport, session: requests.Session
) -> None:
    ticks = iter([10.0, 20.0])
    with PolygonSimulator(transport, now=lambda: next(ticks)) as provider:
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
    transport: FeedTransport, session: requests.Session, headers: dict[str, str], params: dict[str, str], status: int
) -> None:
    with PolygonSimulator(transport, key="right") as provider:
        answer = session.get(provider.address + MINUTES, headers=headers, params=params)
    assert answer.status_code == status
    assert answer.json().get("error") == ("Unknown API Key" if status == 401 else None)


def test_times_heals(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("500", times=2)
    assert [get(STATUS).status_code for _ in range(3)] == [500, 500, 200]


def test_only_hits_what_it_names(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("500", only="/range/1/day/", times=1)
    assert [get(path).status_code for path in (MINUTES, DAILY, DAILY)] == [200, 500, 200]


def test_clearing_ends_a_fault(provider: PolygonSimulator, get: Get) -> None:
    provider.inject_fault("500")
    provider.clear_fault()
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
    provider: PolygonSimulator, get: Get, fault: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        provider.inject_fault(fault, **options)
    assert get(STATUS).status_code == 200


def test_faults_are_commanded_over_http(provider: PolygonSimulator, get: Get, session: requests.Session) -> None:
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
def test_a_bad_command_gets_the_list_of_faults(
    provider: PolygonSimulator, session: requests.Session, asked: str
) -> None:
    answer = session.put(f"{provider.address}/_fault/{asked}")
    assert answer.status_code == 400
    assert answer.json()["faults"] == list(FAULTS)
    assert provider.active_fault() is None


def test_only_the_fault_can_be_deleted(provider: PolygonSimulator, session: requests.Session) -> None:
    provider.inject_fault("500")
    assert session.delete(provider.address + MINUTES).status_code == 404
    assert provider.active_fault() is not None


def test_after_close_nobody_listens(transport: FeedTransport) -> None:
    with PolygonSimulator(transport, port=free_port()) as provider:
        pass
    with pytest.raises(requests.ConnectionError):
        get_alone(provider.address + STATUS)


def test_it_can_come_back_on_its_port(transport: FeedTransport, session: requests.Session) -> None:
    port = free_port()
    with PolygonSimulator(transport, port=port) as first:
        session.get(first.address + STATUS)
    with PolygonSimulator(transport, port=port) as second:
        assert second.address == first.address
        assert session.get(second.address + STATUS).status_code == 200


def environment(data_dir: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MARKET", "CLOCK", "POLYGON_API_KEY")}
    return kept | {"DATA_DIR": str(data_dir)}


def command(*args: str, data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "app", "polygon", *args],
        cwd=ROOT,
        env=environment(data_dir),
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
        answer = session.get(address + DAILY, timeout=PATIENCE_S)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=PATIENCE_S)
    assert f"make serve MARKET=polygon POLYGON_API_KEY=anything POLYGON_BASE_URL={address}" in how
    assert refused.status_code == 429
    assert answer.json()["status"] == "DELAYED"
    assert len(answer.json()["results"]) == 7
    assert (running.returncode, errors) == (0, "")


def test_the_command_says_what_is_in_its_way(provider: PolygonSimulator, tmp_path: Path) -> None:
    taken = provider.address.rsplit(":", 1)[1]
    for args, said in (
        (["--port", taken], f"cannot listen on port {taken}: "),
        (["--market", "recorded", "--port", "0"], ".venv/bin/predict import"),
        (["--fault", "flood"], "silence"),
    ):
        done = warm_processes.run([sys.executable, "-m", "app", "polygon", *args], environment(tmp_path))
        assert done.returncode in (1, 2)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
