"""What a route may reach: the pipeline, the clock, and what health needs to know. Handed over by the factory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from flask import Flask, current_app

from app.clock import Clock
from app.market.calendar import Calendar
from app.pipeline import Pipeline

EXTENSION = "predict-server"


@dataclass(frozen=True, slots=True)
class Services:
    """One server's services.

    degraded    what works less well than it should, as short names
    operations  figures for `/health.operations` (open object, ruling V3)
    uptime_s    seconds since the start
    ready       None if this process may serve, else why not
    start       begin to work in the background; whoever serves calls it once, after any fork
    stop        from now on `ready` says that the process is stopping, and nothing new is begun in the background
    close       let go of files; the last thing a process does
    """

    pipeline: Pipeline
    clock: Clock
    calendar: Calendar
    degraded: Callable[[], list[str]]
    operations: Callable[[], Mapping[str, Any]]
    uptime_s: Callable[[], float]
    ready: Callable[[], str | None]
    start: Callable[[], None]
    stop: Callable[[], None]
    close: Callable[[], None]
    version: str

    def attach(self, app: Flask) -> None:
        app.extensions[EXTENSION] = self


def services() -> Services:
    """The services of the app that handles the current request."""
    return cast(Services, current_app.extensions[EXTENSION])
