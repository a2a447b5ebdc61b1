"""A real Prometheus scrapes real servers under load while faults are put in: the right alerts become pending and fire, and no
other, of two faults in CI and of all in the soak. All durations of the rules are a thirtieth of what they are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from app.config.settings import ARTEFACTS
from app.market.feed_transport import FeedTransport
from app.simulator.server import PolygonSimulator
from tests.ops.fast import clock_since
from tests.provider.world import KEY
from tests.redis_server import PATIENT, RedisServer
from tests.serving.test_gunicorn import ROOT, Server, free_port, started
from tests.support import CALENDAR, demo_feed, promoted_set
from tests.waiting import PATIENCE_S

RULES = ROOT / "ops" / "prometheus"
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.ops.faulty:app"]
SHORTER = 30
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
EVERY_MS = 500
Alert = tuple[str, str]
"""Job and name."""

EXPECTED: dict[str, set[str]] = {
    "predict": set(),
    "slow-provider": {"PredictBreakerOpen", "PredictDataOld"},
    "no-model": {"PredictModelMissing"},
    "dead-redis": {"PredictRedisLost", "PredictRecordFailing"},
    "errors": {"PredictErrorRatioHigh", "PredictErrorBudgetBurnsFast", "PredictErrorBudgetBurnsSlowly"},
}


def shortened(text: str) -> str:
    """The rules with every duration divided by SHORTER."""

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) * SECONDS[found[3]] * 1000 // SHORTER}ms"

    return re.sub(r"(\[|for: |offset )(\d+)([smhd])\b", shorter, text)


def test_durations_are_shortened_and_nothing_else() -> None:
    text = "for: 5m\nexpr: rate(x[5m]) > 2 and y offset 1h\nkeep_firing_for: 90s"
    assert shortened(text) == "for: 10000ms\nexpr: rate(x[10000ms]) > 2 and y offset 120000ms\nkeep_firing_for: 3000ms"


@dataclass
class Prometheus:
    """A running Prometheus, and which alerts it showed in which state."""

    address: str
    seen: dict[str, set[Alert]] = field(default_factory=lambda: {"pending": set(), "firing": set()})

    def look(self) -> None:
        for alert in requests.get(f"{self.address}/api/v1/alerts", timeout=PATIENCE_S).json()["data"]["alerts"]:
            self.seen[alert["state"]].add((alert["labels"]["job"], alert["labels"]["alertname"]))

    def look_until(self, enough: Callable[[], bool], seconds: float) -> bool:
        ends = time.monotonic() + seconds
        while not enough() and time.monotonic() < ends:
            self.look()
            time.sleep(EVERY_MS / 1000)
        return enough()

    def of(self, job: str, state: str) -> set[str]:
        return {name for of, name in self.seen[state] if of == job}

    def value(self, query: str) -> float:
        found = requests.get(f"{self.address}/api/v1/query", params={"query": query}, timeout=PATIENCE_S).json()
        return float(found["data"]["result"][0]["value"][1])


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    """Scrapes each target as a job of its own."""
    for name in ("records.yml", "alerts.yml"):
        (folder / name).write_text(shortened((RULES / name).read_text()))
    jobs = [{"job_name": job, "static_configs": [{"targets": [at]}]} for job, at in targets.items()]
    every = {
        "scrape_interval": f"{EVERY_MS}ms",
        "evaluation_interval": f"{EVERY_MS}ms",
        "scrape_timeout": f"{EVERY_MS}ms",
    }
    config = {"global": every, "rule_files": ["records.yml", "alerts.yml"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address={address}", "--enable-feature=exemplar-storage", "--log.level=warn"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_ready(f"http://{address}", process, folder / "log")
        yield Prometheus(f"http://{address}")
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def _wait_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            if requests.get(f"{address}/-/ready", timeout=1).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.05)
    raise AssertionError(log.read_text())


@contextmanager
def load(server: Server, paths: list[str], each_s: float = 0.2) -> Iterator[None]:
    """Requests one after the other until the end of the block."""
    stopped = threading.Event()

    def ask() -> None:
        with requests.Session() as session:
            while not stopped.is_set():
                for path in paths:
                    try:
                        session.get(server.base + path, timeout=PATIENCE_S)
                    except requests.RequestException:
                        return
                    if stopped.wait(each_s):
                        return

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def one_model_broken(folder: Path) -> Path:
    shutil.copytree(ARTEFACTS, folder)
    (promoted_set(folder) / "v6_QQQ.npz").write_bytes(b"not what the manifest says")
    return folder


LOAD = ["/health"] * 9 + ["/trading_directions"]


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (package prometheus)")
@pytest.mark.parametrize(
    "expected",
    [
        pytest.param({job: EXPECTED[job] for job in ("predict", "dead-redis")}, id="a lost Redis"),
        pytest.param(EXPECTED, id="every fault", marks=pytest.mark.soak),
    ],
)
def test_each_fault_fires_its_alerts_and_no_other(
    expected: dict[str, set[str]], tmp_path: Path, own_redis: RedisServer
) -> None:
    with own_redis.client() as client:
        client.config_set("appendonly", "yes")
    began = time.time()
    clock = clock_since(began)
    transport = FeedTransport(demo_feed(), CALENDAR, clock)
    own: dict[str, dict[str, object]] = {
        "no-model": {"MODELS_DIR": one_model_broken(tmp_path / "models")},
        "dead-redis": {"REDIS_URL": f"{own_redis.url}{PATIENT}"},
    }
    with ExitStack() as stack:
        good = stack.enter_context(PolygonSimulator(transport, key=KEY, clock=clock))
        slow = stack.enter_context(PolygonSimulator(transport, key=KEY, clock=clock))
        servers: dict[str, Server] = {}
        for job in expected:
            settings = {
                "BEGAN": began,
                "MARKET": "polygon",
                "POLYGON_API_KEY": KEY,
                "POLYGON_BASE_URL": (slow if job == "slow-provider" else good).address,
                "POLYGON_CALLS_PER_MINUTE": 3000,
                "RATE_LIMIT_OTHER": 100_000,
                "DATA_DIR": tmp_path / job,
                "LOG_LEVEL": "WARNING",
                **own.get(job, {}),
            }
            servers[job] = stack.enter_context(started(GUNICORN, tmp_path / f"{job}.log", **settings))
        for job, server in servers.items():
            server.wait_ready()
            stack.enter_context(load(server, [*LOAD, *(["/boom"] * 3 if job == "errors" else [])]))
        (tmp_path / "prometheus").mkdir()
        targets = {job: server.base.removeprefix("http://") for job, server in servers.items()}
        found = stack.enter_context(prometheus(tmp_path / "prometheus", targets))
        found.look_until(lambda: False, 3)
        assert found.of("slow-provider", "firing") == set(), "while all is well"
        assert found.of("dead-redis", "firing") == set()
        slow.inject_fault("slow", seconds=4.0)
        own_redis.kill()
        all_expected = {(job, name) for job, names in expected.items() for name in names}
        found.look_until(lambda: found.seen["firing"] >= all_expected, 150)
        found.look_until(lambda: False, 3)
        for job, names in expected.items():
            assert found.of(job, "firing") == names, job
            assert found.of(job, "pending") >= names, job
        if "errors" in expected:
            assert 0.1 < found.value('error_ratio{job="errors"}') < 0.5
        assert found.value('request_latency_p99{job="predict"}') > 0
        servers["predict"].process.kill()
        assert found.look_until(lambda: found.of("predict", "firing") == {"PredictDown"}, 40)
