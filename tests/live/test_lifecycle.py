"""The life of a process: its parts start in a fixed order, and close in the reverse order after the stopping event."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.core import Core
from app.factory import create_app
from app.live.follower import Follower
from app.live.lifecycle import Lifecycle
from app.telemetry.access_log import AccessLog
from app.telemetry.pushgateway import PushgatewayClient
from app.telemetry.setup import Telemetry
from app.telemetry.worker_metrics import WorkerGroup
from middleware.sliding_windows import InMemoryWindows
from tests.support import FakeClock, new_york, settings
from tests.waiting import PATIENCE_S, wait_for

WATCHED: tuple[tuple[type, str], ...] = (
    (InMemoryWindows, "close"),
    (AccessLog, "start"),
    (AccessLog, "close"),
    (WorkerGroup, "join"),
    (WorkerGroup, "close"),
    (PushgatewayClient, "start"),
    (PushgatewayClient, "close"),
    (Telemetry, "close"),
    (Core, "close"),
    (Follower, "start"),
)


def test_parts_start_in_the_order_in_which_they_were_added_and_close_in_the_reverse_order() -> None:
    calls: list[str] = []
    lifecycle = Lifecycle()
    for name in ("limits", "log", "core"):
        lifecycle.add(name, start=lambda name=name: calls.append(f"start {name}"), close=lambda n=name: calls.append(n))
    assert lifecycle.names() == ["limits", "log", "core"]
    lifecycle.start()
    lifecycle.close()
    assert calls == ["start limits", "start log", "start core", "core", "log", "limits"]


def test_every_part_is_closed_once_even_if_another_one_raises() -> None:
    closed: list[str] = []
    lifecycle = Lifecycle()

    def broken() -> None:
        raise OSError("disk")

    lifecycle.add("first", close=lambda: closed.append("first"))
    lifecycle.add("broken", close=broken)
    lifecycle.add("last", close=lambda: closed.append("last"))
    with pytest.raises(OSError, match="disk"):
        lifecycle.close()
    lifecycle.close()
    assert closed == ["last", "first"]


def test_closing_says_first_that_the_process_stops() -> None:
    lifecycle = Lifecycle()
    seen: list[bool] = []
    lifecycle.add("core", close=lambda: seen.append(lifecycle.stopping.is_set()))
    assert not lifecycle.stopping.is_set()
    lifecycle.close()
    assert seen == [True]


def test_a_server_starts_and_closes_its_parts_in_a_fixed_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others use closes after them: the core reports to telemetry and log, and the gateway hears last that it is gone."""
    calls: list[str] = []
    for owner, name in WATCHED:
        monkeypatch.setattr(owner, name, recording(calls, owner, name))
    services = server(tmp_path, market="demo").extensions["predict-server"]
    services.start()
    assert calls == ["AccessLog.start", "WorkerGroup.join", "PushgatewayClient.start", "Follower.start"]
    calls.clear()
    services.stop()
    assert calls == []
    services.close()
    assert calls == [
        "Core.close",
        "Telemetry.close",
        "PushgatewayClient.close",
        "WorkerGroup.close",
        "AccessLog.close",
        "InMemoryWindows.close",
    ]


def test_a_follower_gives_up_its_lease_before_the_files_close_even_if_the_server_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders, close, before = [], Core.close, set(threading.enumerate())

    def closing(core: Core) -> None:
        assert core.running_day is not None
        holders.append(core.running_day.leader())
        close(core)

    monkeypatch.setattr(Core, "close", closing)
    monkeypatch.setattr("app.live.follower.ENDS_WITHIN_S", PATIENCE_S)
    app = server(tmp_path, market="polygon", polygon_api_key="k", polygon_base_url="http://127.0.0.1:9")
    services = app.extensions["predict-server"]
    services.start()
    wait_for(lambda: services.operations()["follower"]["role"] == "leader")
    services.stop()
    services.close()
    assert holders == [None]
    assert not [thread for thread in {*threading.enumerate()} - before if thread.name == "follower"]


def server(folder: Path, **values: Any) -> Flask:
    clock = FakeClock(new_york("2025-03-11 11:30:40"))
    values = {"pushgateway": "http://127.0.0.1:9", "workers_dir": folder / "workers", "data_dir": folder, **values}
    return create_app(settings(**values), clock=clock)


def recording(calls: list[str], owner: type, name: str) -> Callable[..., Any]:
    method = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(f"{owner.__name__}.{name}")
        return method(*args, **kwargs)

    return call
