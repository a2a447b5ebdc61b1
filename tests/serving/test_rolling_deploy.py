"""Replicas are replaced one after the other under a load, behind a balancer: no request fails, and no event is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest
from redis import Redis

from ops.regions.balancer import Balancer, Listener
from tests.haproxy import PATIENT_CHECKS, skip_without_haproxy
from tests.serving.replicas import Requests, Say, Sockets, replica, wait_whole
from tests.serving.test_gunicorn import Server, free_port
from tests.serving.test_processes import Market, market
from tests.support import demo_feed
from tests.waiting import PATIENCE_S, wait_for

MANY: Final = {"SOCKETS_PER_CLIENT": 1000, "STREAMS_PER_CLIENT": 1000}
"""For all clients come from the balancer's side."""

SETTLES_S: Final = 5.0
LOOKS_EVERY_S: Final = 0.02


class Impatient(Balancer):
    """One that retries nothing, lets connections to servers that are out go on, and asks `/readyz` as others do."""

    def _write(self) -> None:
        super()._write()
        text = self._settings.read_text()
        for line in ("retries 3", "option redispatch 1", "retry-on conn-failure empty-response"):
            assert line in text
            text = text.replace(line, "retries 0" if line == "retries 3" else "")
        self._settings.write_text(text.replace(" on-marked-down shutdown-sessions", ""))


class Leads:
    """Looks at the leases: the longest time that nobody held the follower's, and a ticker's."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._stopped = threading.Event()
        self.gaps: dict[str, float] = {}
        self.holders: dict[str, set[str]] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        looking = threading.Thread(target=self._look)
        looking.start()
        try:
            yield
        finally:
            self._stopped.set()
            looking.join(PATIENCE_S)

    def _look(self) -> None:
        free_since: dict[str, float] = {}
        with closing(Redis.from_url(self._url, decode_responses=True)) as client:
            keys = [*client.scan_iter("predict:lease:*:follower"), *client.scan_iter("predict:live:*:lead")]
            while not self._stopped.wait(LOOKS_EVERY_S):
                seconds, micros = client.time()
                now = seconds + micros / 1e6
                for key in keys:
                    holder, expires = client.hmget(key, "holder", "expires")
                    if expires is not None and float(expires) > now:
                        self.holders.setdefault(key, set()).add(holder)
                        if key in free_since:
                            gap = now - free_since.pop(key)
                            self.gaps[key] = max(self.gaps.get(key, 0.0), gap)
                    else:
                        free_since.setdefault(key, now)


def deploy(
    found: Market, balanced: Balancer, old: Sequence[Server], ports: Sequence[int], **new: object
) -> list[Server]:
    """Each server in turn: a new one starts, the balancer takes it in, the old one is told to stop, and has ended."""
    servers = []
    for number, (server, port) in enumerate(zip(old, ports, strict=True)):
        servers.append(replica(found, 1, f"new{number}", port=port, **MANY, **new))
        wait_for(lambda number=number: balanced.servers("all")[f"new{number}"].is_up, every_s=0.1)
        assert server.stop() == 0
    return servers


@contextmanager
def balanced_by(
    folder: Path, kind: type[Balancer], old: Sequence[int], new: Sequence[int]
) -> Iterator[tuple[Balancer, int]]:
    """The balancer, and its port."""
    names = {f"old{n}": port for n, port in enumerate(old)} | {f"new{n}": port for n, port in enumerate(new)}
    listener = Listener("all", free_port(), names, "roundrobin", PATIENT_CHECKS)
    folder.mkdir()
    with kind(folder, [listener], patience_s=PATIENCE_S) as found:
        wait_for(lambda: all(found.servers("all")[f"old{n}"].is_up for n in range(len(old))), every_s=0.1)
        yield found, listener.port


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_three_replicas_are_replaced_under_a_load_without_a_failed_request_or_a_lost_event(
    tmp_path: Path, redis_url: str, say: Say
) -> None:
    skip_without_haproxy()
    demo_feed()
    old, new = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
    with market(tmp_path / "data", 1.0, REDIS_URL=redis_url) as found:
        servers = [replica(found, 1, f"old{n}", port=port, **MANY) for n, port in enumerate(old)]
        wait_whole(servers)
        with balanced_by(tmp_path / "haproxy", Balancer, old, new) as (balanced, port):
            watched, load, leads = Sockets(tmp_path, [port], 300), Requests(tmp_path, [port], 200), Leads(redis_url)
            with watched.running(), load.running(), leads.watched():
                time.sleep(SETTLES_S)
                began = time.monotonic()
                deploy(found, balanced, servers, new)
                took = time.monotonic() - began
                time.sleep(SETTLES_S)
    kinds = watched.check_same()
    say(
        f"rolling deploy in {took:.0f} s: {load.numbers()}, {len(load.failed())} failed; "
        f"{sum(kinds.values())} events {dict(kinds)}, "
        f"{watched.lost()} lost, {watched.reconnects()} reconnects, away {watched.away_s():.1f} s at most, "
        f"snapshots {dict(watched.snapshots())}; without a leader at most (s): "
        + ", ".join(f"{key.split(':')[-2]} {gap:.2f}" for key, gap in leads.gaps.items())
    )
    assert load.failed() == []
    assert {one["by"] for one in load.all} >= {f"-/new{n}" for n in range(3)}
    assert watched.lost() == 0
    assert not watched.snapshots()
    assert watched.reconnects() > 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("drain_s", [0, 4])
def test_a_balancer_that_retries_nothing_fails_no_request_where_servers_drain(
    tmp_path: Path, redis_url: str, say: Say, drain_s: int
) -> None:
    """Without draining, what it sends before its next check fails."""
    skip_without_haproxy()
    demo_feed()
    old, new = [free_port() for _ in range(2)], [free_port() for _ in range(2)]
    with market(tmp_path / "data", 1.0, REDIS_URL=redis_url, DRAIN_SECONDS=drain_s) as found:
        servers = [replica(found, 1, f"old{n}", port=port, **MANY) for n, port in enumerate(old)]
        wait_whole(servers)
        with balanced_by(tmp_path / "haproxy", Impatient, old, new) as (balanced, port):
            load = Requests(tmp_path, [port], 100)
            with load.running():
                time.sleep(SETTLES_S)
                deploy(found, balanced, servers, new)
                time.sleep(SETTLES_S)
    say(f"no retries, {drain_s} s of draining: {load.numbers()}, {len(load.failed())} failed")
    if drain_s:
        assert load.failed() == []
    else:
        assert load.failed(), "there is something to mend"
