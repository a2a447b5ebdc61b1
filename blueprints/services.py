"""What a route may reach: the pipeline, the clock, and what health needs to know. Handed over by the factory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from flask import Flask, current_app, request

from app.clock import Clock
from app.market.calendar import Calendar
from app.pipeline import Pipeline
from app.stages import Stages

EXTENSION = "predict-server"
ENVIRON_KEY = "predict.request_context"


class Keep(NamedTuple):
    """For how long an answer made now may be given again: while what is known of `tickers` is at `revision` and market time
    lies in [made, until), seconds since 1970; `speed`: market seconds per real second."""

    tickers: tuple[str, ...]
    revision: int
    made: float
    until: float
    speed: float


class Stream(NamedTuple):
    """A route's answer is a stream (blueprints/streams.py). last: the bytes that end it when the server stops."""

    last: bytes


class Stopping(Protocol):
    """The stopping event (`threading.Event`)."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set, `timeout` seconds from now at the latest."""
        ...


class RequestContext(Protocol):
    """What the layers around Flask know of a request (middleware/request_context.py)."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> int: ...

    keep: Keep | None
    stream: Stream | None
    code: str | None
    trace_id: str


@dataclass(frozen=True, slots=True)
class Services:
    """One server's services.

    degraded    what works less well than it should, as short names
    operations  figures for `/health.operations` (open object, ruling V3)
    uptime_s    seconds since the start
    ready       None if this process may serve, else why not
    start       begin to work in the background; whoever serves calls it once, after any fork
    keep        what bounds an answer about these tickers that is begun now
    metrics     text and content type of `/metrics`, for an Accept header and the metrics named
    stages      where the time of an answer goes
    versions    the API's versions, as `GET /versions` shows them
    connections what bounds the connections of this process (serving/connections.py)
    stopping    set once the process is stopping: streams wait on it, and end
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
    keep: Callable[[tuple[str, ...]], Keep]
    metrics: Callable[[str | None, Sequence[str]], tuple[str, str]]
    stages: Stages
    versions: Callable[[], Iterable[Mapping[str, Any]]]
    connections: Any
    stopping: Stopping
    start: Callable[[], None]
    stop: Callable[[], None]
    close: Callable[[], None]
    version: str

    def attach(self, app: Flask) -> None:
        app.extensions[EXTENSION] = self


def services() -> Services:
    """The services of the app that handles the current request."""
    return cast(Services, current_app.extensions[EXTENSION])


def request_context() -> RequestContext:
    """The context of the current request."""
    return cast(RequestContext, request.environ[ENVIRON_KEY])
