"""The outermost layer. It gives each request an id and a `RequestContext`, turns exceptions into error responses, completes the
response headers, and reports the request to traces, metrics and the access log when the last byte has been sent.

The `RequestContext` lies in the WSGI environment under ENVIRON_KEY; the other layers and the routes read and write it there.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from greenlet import GreenletExit

from app.errors import PredictError
from app.telemetry.access_log import AccessRecord
from app.telemetry.metrics import Latencies
from app.telemetry.tracing import Trace, Tracing, current_request
from middleware.streaming import Body, Stopping, Stream, StreamBody

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ENVIRON_KEY = "predict.request_context"
INTERNAL_ERROR = "INTERNAL"
SERVED_BY = "X-Served-By"
DATA_SOURCE = "X-Data-Source"
log = logging.getLogger("predict")

_safe_id = re.compile(r"[A-Za-z0-9._~+/=:@-]{1,128}").fullmatch
Headers = list[tuple[str, str]]


class Client(NamedTuple):
    """The sender of a request. Its requests count against the limits under `id`, and `factor` multiplies those limits.
    operator: whether it may read the routes for operators."""

    id: str
    factor: float = 1.0
    operator: bool = False


class Quota(NamedTuple):
    """What a limit leaves to a client: `remaining` of `limit` requests in `window_s` seconds. The next request is free again
    in `reset_s` seconds; `reset_at` is the same moment in seconds since 1970."""

    name: str
    limit: int
    window_s: int
    remaining: int
    reset_s: int
    reset_at: int


class CacheValidity(Protocol):
    """For how long a response may be sent again: while what is known of `tickers` is at `revision` and market time lies in
    [made_at, expires_at), seconds since 1970. clock_speed: market seconds per real second."""

    tickers: tuple[str, ...]
    revision: int
    made_at: float
    expires_at: float
    clock_speed: float


ErrorResponse = tuple[int, Headers, bytes]
"""An error in the shape of its API version: status, headers, body."""

UNKNOWN_CLIENT = Client("unknown")


@dataclass(slots=True)
class RequestContext:
    """What is known of a request, and what its response will carry.

    method, origin     method, and the page that sent the request (header `Origin`)
    version            version of the API, which decides the shape of errors
    is_unversioned     whether the path belongs to no version
    route              the URL rule that matched
    group              the group of routes whose limit the request counts against
    client             who sent the request
    quota              what the limit leaves to the client
    headers            headers to add to the response
    vary               request headers on which the response depends
    cache_validity     set by a route whose response may be cached
    concurrency_limit  of the request's group, acquired for the request
    trace              the place of the request in its trace
    stages             seconds by name of the stages that are over
    code               code of the error that is the response
    stream             set by a route whose response is a stream
    is_open_stream     whether the request counts as an open stream and no more as a request in flight
    cache              `kept`: the response came from the cache, `made`: the route made one that may be cached
    header_hooks       called with the response headers before they are sent, those of errors included
    """

    id: str
    trace: Trace
    path: str = ""
    method: str = "GET"
    origin: str | None = None
    version: int = 1
    is_unversioned: bool = False
    route: str | None = None
    group: str | None = None
    client: Client = UNKNOWN_CLIENT
    quota: Quota | None = None
    headers: Headers = field(default_factory=list)
    vary: list[str] = field(default_factory=list)
    cache_validity: CacheValidity | None = None
    concurrency_limit: Any = None
    status: int = 0
    code: str | None = None
    stream: Stream | None = None
    is_open_stream: bool = False
    cache: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    header_hooks: list[Callable[[RequestContext, Headers], None]] = field(default_factory=list)

    def complete_headers(self, headers: Headers) -> None:
        """Append to the response headers what the layers and the route asked for."""
        for name, _ in headers:
            if name == "Cache-Control":
                break
        else:
            headers.append(("Cache-Control", "no-store"))
        for hook in self.header_hooks:
            hook(self, headers)
        headers += self.headers
        headers += (("X-Request-Id", self.id), ("Server-Timing", self.server_timing()))
        if not self.is_unversioned:
            headers.append(("X-API-Version", str(self.version)))
        if self.vary:
            headers.append(("Vary", ", ".join(self.vary)))
        if self.quota is not None:
            headers += quota_headers(self.quota)

    @property
    def trace_id(self) -> str:
        return self.trace.id

    def server_timing(self) -> str:
        """The stages in ms, and the trace (W3C Server Timing; `traceparent` is the entry that browser tracing reads)."""
        trace = f'traceparent;desc="{self.trace.header}"'
        if not self.stages:
            return trace
        stages = list(self.stages.items())  # fetches in other threads may add to them meanwhile
        return ", ".join([*(f"{name};dur={seconds * 1000:.1f}" for name, seconds in stages), trace])


def quota_headers(quota: Quota) -> Headers:
    """The headers of the IETF draft ratelimit-headers, and their older names that begin with X-."""
    return [
        ("RateLimit-Policy", f'"{quota.name}";q={quota.limit};w={quota.window_s}'),
        ("RateLimit", f'"{quota.name}";r={quota.remaining};t={quota.reset_s}'),
        ("X-RateLimit-Limit", str(quota.limit)),
        ("X-RateLimit-Remaining", str(quota.remaining)),
        ("X-RateLimit-Reset", str(quota.reset_at)),
    ]


class RequestContextMiddleware:
    """The layer. `render_error(exc, context)` shapes an error; `count(context, group)` counts a request that a layer refused
    against the limit of the group and raises RateLimited above it; `log_access(record)`, `tracing` and `latencies` receive
    every request that is over. served_by: names this replica in every response, kept ones included; None: no header.
    data_source: the market, which every response of a version names."""

    def __init__(
        self,
        app: WSGIApplication,
        render_error: Callable[[Exception, RequestContext], ErrorResponse],
        count: Callable[[RequestContext, str], None],
        log_access: Callable[[AccessRecord], None],
        tracing: Tracing,
        latencies: Latencies,
        now: Callable[[], float],
        epoch: Callable[[], float],
        stopping: Stopping,
        served_by: str | None,
        data_source: str,
    ) -> None:
        self._app = app
        self._stopping = stopping
        self._own_headers = [] if served_by is None else [(SERVED_BY, served_by)]
        self._data_source = (DATA_SOURCE, data_source)
        self._render_error = render_error
        self._count = count
        self._log_access = log_access
        self._tracing = tracing
        self._latencies = latencies
        self._now = now
        self._epoch = epoch

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = self._now()
        context = environ[ENVIRON_KEY] = _new_context(environ, self._tracing.begin(environ))
        current_request.set(context)
        self._latencies.in_flight += 1
        self._tracing.record(context)

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            context.status = int(status[:3])
            context.complete_headers(headers)
            headers += self._own_headers
            if not context.is_unversioned:
                headers.append(self._data_source)
            return start_response(status, headers, exc_info)

        try:
            body = self._app(environ, start)
        except StopIteration:  # the connection was upgraded to another protocol and has ended
            self._end(context, began, None, "ended")
            raise
        except Exception as exc:
            body = self._error_body(exc, environ, start)
        except BaseException as exc:  # the worker's own timeout, or its exit, or the client of a long poll has left
            self._end(context, began, self._fault(exc), "left")
            raise
        if type(body) is list:
            self._end(context, began, None)
            return body
        if context.stream is not None:
            self._latencies.opened(context)
            return StreamBody(
                body, context.stream, self._stopping, lambda outcome, error: self._end(context, began, error, outcome)
            )
        return Body(body, lambda error: self._end(context, began, self._fault(error)))

    def _fault(self, error: BaseException | None) -> BaseException | None:
        """What broke an answer off; None where the worker interrupted it because its client has left."""
        return None if isinstance(error, GreenletExit) and not self._stopping.is_set() else error

    def _error_body(self, exc: Exception, environ: WSGIEnvironment, start: Callable[..., object]) -> list[bytes]:
        """Start the error response, count the request against a limit if nothing has counted it yet, and return the body."""
        context: RequestContext = environ[ENVIRON_KEY]
        if context.quota is None and not is_preflight(environ):
            try:
                self._count(context, "other")
            except PredictError as limited:
                exc = limited
        status, headers, body = self._render_error(exc, context)
        start(status_line(status), headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _end(
        self, context: RequestContext, began: float, error: BaseException | None, outcome: str | None = None
    ) -> None:
        """Report a request whose last byte has been sent. A response that an error broke off counts as status 500, whatever
        status was sent. outcome: how a stream ended."""
        duration = self._now() - began
        if error is not None:
            context.status, context.code = 500, INTERNAL_ERROR
            error.is_logged = True  # type: ignore[attr-defined]
            log.error("the answer to request %s broke on its way", context.id, exc_info=error)
        self._tracing.end(context, duration, error)
        if context.stream is None:
            self._latencies.answered(context, duration)
        else:
            self._latencies.streamed(context, outcome or "ended", duration)
        self._log_access(_access_record(context, self._epoch(), duration))
        current_request.set(None)


def is_preflight(environ: WSGIEnvironment) -> bool:
    """Whether a browser asks if a page of another origin may send a request (Fetch standard, CORS preflight). Such a request
    is not limited: only a status of 200 to 299 means yes, so that a 429 would hide the real answer and its `Retry-After` from
    the page, and as it carries no key it would count against the wrong client."""
    has_headers = "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return has_headers and bool(environ["REQUEST_METHOD"] == "OPTIONS")


def _access_record(context: RequestContext, at: float, duration: float) -> AccessRecord:
    ids = context.id, context.trace.id
    return AccessRecord(at, *ids, context.method, context.route, context.path, context.status, duration)


def _new_context(environ: WSGIEnvironment, trace: Trace) -> RequestContext:
    """A context that holds no reference to the environment, which refers to it: a cycle would leave both to the garbage
    collector."""
    request = environ["PATH_INFO"], environ["REQUEST_METHOD"], environ.get("HTTP_ORIGIN")
    return RequestContext(_request_id(environ, trace), trace, *request)


def _request_id(environ: WSGIEnvironment, trace: Trace) -> str:
    """The caller's id if it is short and harmless, else the id of the trace if the request began it, else a new one."""
    header: str | None = environ.get("HTTP_X_REQUEST_ID")
    if header is not None and _safe_id(header):
        return header
    return trace.id if trace.parent is None else f"{random.getrandbits(128):032x}"


def status_line(status: int) -> str:
    """`404 Not Found`."""
    return f"{status} {HTTPStatus(status).phrase}"
