"""One request and its answer: the outermost layer. Gives each a request id, catches what went wrong on the way, adds the
headers that the other layers asked for, and tells the access log when the last byte is out.

An `Exchange` rides in the environment under KEY; every layer, and the routes, read and write it there.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from app.errors import PredictError
from middleware.metrics import Latencies
from middleware.streaming import Body, Stopping, Stream, StreamBody
from middleware.tracing import Trace, Tracing

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

KEY = "predict.exchange"
current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The request that is being served: log lines carry its ids, stages are told to it."""

BROKEN = "INTERNAL"
log = logging.getLogger("predict")

_safe_id = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}").fullmatch
Headers = list[tuple[str, str]]


class Client(NamedTuple):
    """Who asks: `id` counts against limits, which `factor` raises or lowers. operator: may read the operations routes."""

    id: str
    factor: float = 1.0
    operator: bool = False


class Quota(NamedTuple):
    """What is left to a client: of `limit` requests in `window_s` seconds `remaining`, the next one back in `reset_s`;
    `reset_at`: the same as seconds since 1970."""

    name: str
    limit: int
    window_s: int
    remaining: int
    reset_s: int
    reset_at: int


class Keep(Protocol):
    """For how long an answer may be given again: while what is known of `tickers` is at `revision` and market time lies in
    [made, until), seconds since 1970; `speed`: market seconds per real second."""

    tickers: tuple[str, ...]
    revision: int
    made: float
    until: float
    speed: float


Explained = tuple[int, Headers, bytes]
"""An error as its version shows it: status, headers, body."""

NOBODY = Client("unknown")


@dataclass(slots=True)
class Exchange:
    """What is known of a request and what its answer will carry.

    method, origin  as asked for; the page that asks
    version  of the API; shapes errors      neutral  the path belongs to no version
    route    the rule that matched          group    whose limit it counts against
    client   who asks                       quota    what is left to them
    headers  to be added to the answer      vary     request headers that the answer depends on
    keep     set by a route whose answer may be given again
    inside   the crowd that the request is part of, if its group is bounded
    trace    its place in a trace           stages   seconds by name, of those that are over
    code     of the error it is answered with
    stream   set by a route whose answer is a stream
    is_open_stream  it counts as an open stream, and no more as a request under way
    cache    `kept`: given again, `made`: by a route whose answers may be kept
    finishing  run on the answer's headers before they go out, errors' too
    """

    id: str
    trace: Trace
    path: str = ""
    method: str = "GET"
    origin: str | None = None
    version: int = 1
    neutral: bool = False
    route: str | None = None
    group: str | None = None
    client: Client = NOBODY
    quota: Quota | None = None
    headers: Headers = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    keep: Keep | None = None
    inside: Any = None
    status: int = 0
    code: str | None = None
    stream: Stream | None = None
    is_open_stream: bool = False
    cache: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    finishing: list[Callable[[Exchange, Headers], None]] = field(default_factory=list)

    def finish(self, headers: Headers) -> None:
        """Add to the answer's headers what the layers asked for."""
        for name, _ in headers:
            if name == "Cache-Control":
                break
        else:
            headers.append(("Cache-Control", "no-store"))
        for finish in self.finishing:
            finish(self, headers)
        headers += self.headers
        headers += (("X-Request-Id", self.id), ("Server-Timing", self.timing()))
        if not self.neutral:
            headers.append(("X-API-Version", str(self.version)))
        if self.vary:
            headers.append(("Vary", ", ".join(self.vary)))
        if self.quota is not None:
            headers += quota_headers(self.quota)

    @property
    def trace_id(self) -> str:
        return self.trace.id

    def timing(self) -> str:
        """The stages in ms, and the trace (W3C Server Timing; `traceparent` as browsers' tracing reads it)."""
        trace = f'traceparent;desc="{self.trace.header}"'
        if not self.stages:
            return trace
        return ", ".join([*(f"{name};dur={seconds * 1000:.1f}" for name, seconds in self.stages.items()), trace])


def quota_headers(quota: Quota) -> Headers:
    """IETF draft ratelimit-headers, and the older X- names."""
    return [
        ("RateLimit-Policy", f'"{quota.name}";q={quota.limit};w={quota.window_s}'),
        ("RateLimit", f'"{quota.name}";r={quota.remaining};t={quota.reset_s}'),
        ("X-RateLimit-Limit", str(quota.limit)),
        ("X-RateLimit-Remaining", str(quota.remaining)),
        ("X-RateLimit-Reset", str(quota.reset_at)),
    ]


class Line(NamedTuple):
    """One answered request, for the access log. at: seconds since 1970; seconds: until the last byte."""

    at: float
    request_id: str
    trace_id: str
    method: str
    route: str | None
    path: str
    status: int
    seconds: float


class Exchanges:
    """The layer. `explain(error, exchange)` shapes an error; `count(exchange, group)` counts what a layer refused, and raises
    when that is too much; `tell(line)` hears of every answer, as `tracing` and `latencies` do."""

    def __init__(
        self,
        app: WSGIApplication,
        explain: Callable[[Exception, Exchange], Explained],
        count: Callable[[Exchange, str], None],
        tell: Callable[[Line], None],
        tracing: Tracing,
        latencies: Latencies,
        now: Callable[[], float],
        epoch: Callable[[], float],
        stopping: Stopping,
    ) -> None:
        self._app = app
        self._stopping = stopping
        self._explain = explain
        self._count = count
        self._tell = tell
        self._tracing = tracing
        self._latencies = latencies
        self._now = now
        self._epoch = epoch

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = self._now()
        exchange = environ[KEY] = _begun(environ, self._tracing.begin(environ))
        current.set(exchange)
        self._latencies.in_flight += 1
        self._tracing.record(exchange)

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            exchange.status = int(status[:3])
            exchange.finish(headers)
            return start_response(status, headers, exc_info)

        try:
            body = self._app(environ, start)
        except StopIteration:  # the connection spoke another protocol, and that is over
            self._end(exchange, began, None, "ended")
            raise
        except Exception as exc:
            body = self._refuse(exc, environ, start)
        except BaseException as exc:  # the worker's own time-out, or its end
            self._end(exchange, began, exc)
            raise
        if type(body) is list:
            self._end(exchange, began, None)
            return body
        if exchange.stream is not None:
            self._latencies.opened(exchange)
            return StreamBody(
                body, exchange.stream, self._stopping, lambda how, broken: self._end(exchange, began, broken, how)
            )
        return Body(body, lambda broken: self._end(exchange, began, broken))

    def _refuse(self, exc: Exception, environ: WSGIEnvironment, start: Callable[..., object]) -> list[bytes]:
        exchange: Exchange = environ[KEY]
        if exchange.quota is None and not is_preflight(environ):
            try:
                self._count(exchange, "other")
            except PredictError as too_much:
                exc = too_much
        status, headers, body = self._explain(exc, exchange)
        start(status_line(status), headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _end(self, exchange: Exchange, began: float, broken: BaseException | None, outcome: str | None = None) -> None:
        """The last byte is out. An answer that broke on its way counts as a 500, whatever it began with. outcome: how a
        stream ended."""
        took = self._now() - began
        if broken is not None:
            exchange.status, exchange.code = 500, BROKEN
            broken.is_told = True  # type: ignore[attr-defined]
            log.error("the answer to request %s broke on its way", exchange.id, exc_info=broken)
        self._tracing.end(exchange, took, broken)
        if exchange.stream is None:
            self._latencies.answered(exchange, took)
        else:
            self._latencies.streamed(exchange, outcome or "ended", took)
        self._tell(_line(exchange, self._epoch(), took))
        current.set(None)


def is_preflight(environ: WSGIEnvironment) -> bool:
    """Whether a browser asks if a page of another origin may send a request (Fetch standard, CORS preflight). Only a status of
    200 to 299 means yes, so that a refusal for the rate would hide the real answer and its `Retry-After` from the page; and
    it carries no key, so that it would be counted against the wrong client."""
    named = "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return named and bool(environ["REQUEST_METHOD"] == "OPTIONS")


def _line(exchange: Exchange, at: float, took: float) -> Line:
    trace = exchange.trace.id
    return Line(at, exchange.id, trace, exchange.method, exchange.route, exchange.path, exchange.status, took)


def _begun(environ: WSGIEnvironment, trace: Trace) -> Exchange:
    """Holds nothing of the environment, which holds it: a circle would leave both to the garbage collector."""
    asked = environ["PATH_INFO"], environ["REQUEST_METHOD"], environ.get("HTTP_ORIGIN")
    return Exchange(_id_of(environ, trace), trace, *asked)


def _id_of(environ: WSGIEnvironment, trace: Trace) -> str:
    """The caller's id if it is short and harmless, else that of the trace if the request began it, else a new one."""
    given: str | None = environ.get("HTTP_X_REQUEST_ID")
    if given is not None and _safe_id(given):
        return given
    return trace.id if trace.parent is None else f"{random.getrandbits(128):032x}"


def status_line(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {HTTPStatus(status).phrase}"
