"""gunicorn with two workers: whichever answers a scrape shows both, and a worker that dies takes its series with it."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.serving.test_gunicorn import SERVE, Server, started
from tests.waiting import wait_for

REQUESTS = 40
MOST_REQUESTS = 2000
BOOTED = re.compile(r"Booting worker with pid: (\d+)")


@pytest.fixture
def places() -> Iterator[Path]:
    """Where temporary files go; a short path, for the addresses of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Path, places: Path, redis_url: str) -> Iterator[Server]:
    values: dict[str, Any] = {"MARKET": "demo", "REDIS_URL": redis_url, "LOG_FORMAT": "text", "TMPDIR": places}
    values["WEB_CONCURRENCY"] = getattr(request, "param", 2)
    with started(SERVE, tmp_path / "log", DATA_DIR=tmp_path / "data", **values) as found:
        found.wait_ready()
        yield found


def asked(server: Server) -> dict[str, float]:
    """By worker: how many requests for /versions it answered, of all workers that are shown: of none where a worker that stops
    takes no request any more, or where one does not know yet that it is no longer alone."""
    answer = server.get("/metrics")
    text = answer.text if answer.status_code == 200 else ""
    every = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    samples = [sample for sample in every if "worker" in sample.labels]
    found = {sample.labels["worker"]: 0.0 for sample in samples if sample.name == "predict_info"}
    for sample in samples:
        if sample.name == "predict_request_seconds_count" and sample.labels["route"] == "/versions":
            found[sample.labels["worker"]] += sample.value
    return found


def wait_until(what: Callable[[], bool], words: str) -> None:
    def holds() -> bool:
        with suppress(requests.ConnectionError):  # a worker was killed just now
            return what()
        return False

    wait_for(holds, words)


def of_both(server: Server) -> dict[str, float]:
    """A scrape that shows both workers: on a busy machine one may answer too late to be shown."""
    scrapes: list[dict[str, float]] = []

    def shows_both() -> bool:
        scrapes.append(asked(server))
        return set(scrapes[-1]) == {"0", "1"}

    wait_until(shows_both, "both workers are shown")
    return scrapes[-1]


def booted(server: Server) -> list[int]:
    """The workers' process ids, in the order in which they came."""
    return [int(pid) for pid in BOOTED.findall(server.log.read_text())]


def test_two_workers_show_all_requests_and_a_killed_one_comes_back_with_its_number(
    server: Server, places: Path
) -> None:
    made = 0
    while made < REQUESTS or min(of_both(server).values()) == 0:
        assert server.get("/versions").status_code == 200
        made += 1
        assert made < MOST_REQUESTS, "one worker gets them all"
    scrapes = [of_both(server) for _ in range(6)]
    assert sum(scrapes[0].values()) == made
    assert scrapes == [scrapes[0]] * 6, "whoever is asked"

    before, pids = Counter(scrapes[0]), booted(server)
    assert len(pids) == 2
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: len(booted(server)) == 3, "it has a successor")
    wait_until(lambda: sum(of_both(server).values()) < made, "who joins the other")
    after = of_both(server)
    assert sorted(after.values())[0] == 0, "the successor answered nothing yet"
    [kept] = [worker for worker, count in after.items() if count]
    assert after[kept] == before[kept], "the other counts on"

    meeting_places = list(places.glob("predict-*"))
    assert [sorted(path.name for path in folder.glob("[01]")) for folder in meeting_places] == [["0", "1"]]
    assert server.stop() == 0
    assert list(places.glob("predict-*")) == []
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("server", [1], indirect=True)
def test_a_worker_that_was_alone_is_shown_with_the_one_that_sigttin_adds(server: Server, places: Path) -> None:
    server.process.send_signal(signal.SIGTTIN)
    of_both(server)
    assert len(booted(server)) == 3, "the one that was alone is replaced"
    assert server.stop() == 0
    assert list(places.glob("predict-*")) == []
    assert "Traceback" not in server.log.read_text()
