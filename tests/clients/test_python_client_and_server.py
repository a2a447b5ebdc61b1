"""The official Python client against the server as it is deployed, in the demo market."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest
import requests
from predict_client import Client, Event, Follow

from tests.nginx import nginx, skip_without_nginx
from tests.serving.test_gunicorn import QUICK_DEMO, Server, free_port, started
from tests.waiting import PATIENCE_S

PAST = datetime.fromisoformat("2024-06-12T14:35:00-04:00")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with started(QUICK_DEMO, folder / "log", MARKET="demo", DATA_DIR=folder / "data") as running:
        running.wait_ready()
        requests.get(
            f"{running.base}/v2/trading-directions", timeout=PATIENCE_S
        )  # the first answer makes the days of the demo
        yield running


def seqs(events: list[Event]) -> list[int]:
    return [event.data["seq"] for event in events]


def test_it_asks_the_server_for_what_it_says(server: Server) -> None:
    client = Client(server.base)
    assert client.signal("SPY")["ticker"] == "SPY"
    assert [one["ticker"] for one in client.signals()] == ["SPY", "QQQ", "IWM"]
    assert [one["ticker"] for one in client.signals(["IWM"])] == ["IWM"]
    past = client.replay("SPY", PAST)
    assert (past["mode"], past["generated_at"]) == ("replay", PAST.isoformat())


@pytest.mark.parametrize("way", ["direct", "nginx"])
def test_it_follows_a_ticker_without_a_gap_and_goes_on_behind_an_event(
    server: Server, tmp_path: Path, way: str
) -> None:
    if way == "direct":
        return follow_and_go_on(server.base)
    skip_without_nginx()
    with nginx(tmp_path / "nginx", server.base) as address:
        return follow_and_go_on(address)


def follow_and_go_on(address: str) -> None:
    client = Client(address)
    with client.follow("SPY") as follow:
        first = list(islice(follow, 3))
    with client.follow("SPY", after=first[1].id) as follow:
        again = list(islice(follow, 2))
    assert first[0].kind == "snapshot"
    assert seqs(first) == list(range(first[0].data["seq"], first[0].data["seq"] + 3))
    assert again[0] == first[2]
    assert seqs(again) == [first[2].data["seq"], first[2].data["seq"] + 1]


def test_it_goes_on_over_a_restart_of_the_server_in_a_thread_until_it_is_closed(tmp_path: Path) -> None:
    events: list[Event] = []
    heard = threading.Semaphore(0)

    def listen(follow: Follow) -> None:
        for event in follow:
            events.append(event)
            heard.release()

    def wait_for(count: int) -> None:
        assert all(heard.acquire(timeout=PATIENCE_S) for _ in range(count)), events

    port = free_port()
    values = {"MARKET": "demo", "DATA_DIR": tmp_path / "data"}
    with started(QUICK_DEMO, tmp_path / "log1", port=port, **values) as server:
        server.wait_ready()
        follow = Client(server.base).follow("SPY", grace_s=120)
        listening = threading.Thread(target=listen, args=(follow,))
        listening.start()
        wait_for(3)
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE_S)
    with started(QUICK_DEMO, tmp_path / "log2", port=port, **values) as server:
        server.wait_ready()
        wait_for(3)
        follow.close()
        listening.join(PATIENCE_S)
        assert not listening.is_alive()
    assert seqs(events) == list(range(events[0].data["seq"], events[0].data["seq"] + len(events)))
    assert [event.kind for event in events].count("snapshot") == 1
