"""What a route may use: the pipeline, the clock, and what health shows. The factory provides it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from flask import Flask, current_app, request

from app.clock import Clock
from app.live.broadcaster import Broadcasters
from app.market.calendar import Calendar
from app.pipeline import LivePromise, Pipeline
from app.telemetry.stages import Stages
from blueprints.dashboard.build import Build

EXTENSION = "predict-server"
ENVIRON_KEY = "predict.request_context"


class CacheValidity(NamedTuple):
    """For how long a response may be sent again: while what is known of `tickers` is at `revision` and market time lies in
    [made_at, expires_at), seconds since 1970. clock_speed: market seconds per real second."""

    tickers: tuple[str, ...]
    revision: int
    made_at: float
    expires_at: float
    clock_speed: float


class Stream(NamedTuple):
    """Declares that a route's response is a stream (blueprints/streams.py). last: makes the bytes that end it when the server
    stops; wait: called behind an empty piece, before the next one is asked for."""

    last: Callable[[], bytes]
    wait: Callable[[], None]


class Stopping(Protocol):
    """The stopping event (`threading.Event`)."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set, `timeout` seconds from now at the latest."""
        ...


class Owner(Protocol):
    """Whose a request or connection is: an address or the holder of an API key (`middleware.request_context.Client`). factor:
    multiplies the limits."""

    @property
    def id(self) -> str: ...
    @property
    def factor(self) -> float: ...


class RequestContext(Protocol):
    """What the layers around Flask know of a request (middleware/request_context.py)."""

    @property
    def id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def client(self) -> Owner: ...

    cache_validity: CacheValidity | None
    stream: Stream | None
    code: str | None
    trace_id: str


@dataclass(frozen=True, slots=True)
class Services:
    """One server's services.

    live_promise    what the record says of the loaded models
    live            tells those who follow a ticker what changes
    degraded        short names of what works less well than it should
    operations      values of `/health.operations` (open object, ruling V3)
    uptime_s        seconds since the start
    ready           None if this process may serve, else the reason why not
    start           starts the work in the background; the server calls it once, after any fork
    cache_validity  for how long a response about these tickers is valid that is begun now
    metrics         text and content type of `/metrics`, for an Accept header and the names of metrics
    stages          measures the stages of an answer
    versions        the API's versions, as `GET /versions` shows them
    connections     the bounds on this process's connections (serving/connections.py)
    stopping        set once the process is stopping: streams wait on it, and end
    leave           makes `ready` say that the process will stop soon
    stop            makes `ready` say that the process is stopping, and starts nothing new in the background
    close           closes files; the last call in a process
    dashboard       the files of the built dashboard
    home_region     the region whose record is published; None where there is one record
    has_home_record whether the record of this server is that one
    """

    pipeline: Pipeline
    live_promise: LivePromise
    live: Broadcasters
    clock: Clock
    calendar: Calendar
    degraded: Callable[[], list[str]]
    operations: Callable[[], Mapping[str, Any]]
    uptime_s: Callable[[], float]
    ready: Callable[[], str | None]
    cache_validity: Callable[[tuple[str, ...]], CacheValidity]
    metrics: Callable[[str | None, Sequence[str]], tuple[str, str]]
    stages: Stages
    versions: Callable[[], Iterable[Mapping[str, Any]]]
    connections: Any
    stopping: Stopping
    start: Callable[[], None]
    leave: Callable[[], None]
    stop: Callable[[], None]
    close: Callable[[], None]
    version: str
    dashboard: Build
    home_region: str | None
    has_home_record: bool

    def attach(self, app: Flask) -> None:
        app.extensions[EXTENSION] = self


def services() -> Services:
    """The services of the app that handles the current request."""
    return cast(Services, current_app.extensions[EXTENSION])


def request_context() -> RequestContext:
    """The context of the current request."""
    return cast(RequestContext, request.environ[ENVIRON_KEY])
