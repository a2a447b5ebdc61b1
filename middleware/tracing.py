"""Traces (W3C Trace Context, OpenTelemetry): which request is recorded, and the span of each from its first to its last byte.

Every request has a trace id, its caller's or its own; few are recorded. Whoever is not, and fails or takes long, gets a span
of its own afterwards. The layer `Exchanges` begins and ends requests here, whatever answers them, streams included; other
doors (Socket.IO) do the same with `begin` and `end`.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from flask import Flask, request
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from opentelemetry.trace import Span, Tracer, TracerProvider

SHARE: Final = 0.01
A_SECOND: Final = 10.0
"""So many requests a second are recorded at most, however many their callers want recorded."""

SLOW_S: Final = 2.0
MOST_STATE: Final = 512
LONGEST_MEMBER: Final = 128
MOST_MEMBERS: Final = 32
LONGEST_PATH: Final = 200
METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""The methods that a span may be named after (OpenTelemetry's HTTP conventions: RFC 9110 and PATCH)."""

_parent = re.compile(
    r"(?!ff)(?!00.{53}.)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch
"""W3C Trace Context 3.2.2: no all-zero ids, no version ff, nothing behind the flags in version 00."""

logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)  # a caller's bad tracestate is no news


class Parent(NamedTuple):
    """What a caller says of its trace: ids as hex digits."""

    trace_id: str
    span_id: str
    sampled: bool


def parent_of(header: str) -> Parent | None:
    """A `traceparent` header; None if it is not valid. Several are not: a server joins them with commas."""
    found = _parent(header)
    return Parent(found[1], found[2], bool(int(found[3], 16) & 1)) if found else None


def state_of(header: str | None) -> TraceState:
    """A `tracestate` header: empty if it is broken or has more than 32 members. Of members with the same key the first, which
    is the newest, stays. Above 512 characters long members go first, then the last ones (W3C Trace Context 3.3.1)."""
    listed = [member.strip(" \t") for member in (header or "").split(",")]
    newest: dict[str, str] = {}
    for member in filter(None, listed):
        newest.setdefault(member.partition("=")[0], member)
    if not newest or len(newest) > MOST_MEMBERS:
        return TraceState()
    state = TraceState.from_header([",".join(newest.values())])
    members = [f"{key}={value}" for key, value in state.items()]
    if len(",".join(members)) > MOST_STATE:
        members = [member for member in members if len(member) <= LONGEST_MEMBER]
    while len(",".join(members)) > MOST_STATE:
        members.pop()
    return TraceState.from_header([",".join(members)]) if len(members) < len(state) else state


class Asked(Protocol):
    """What a trace needs to know of its request (`Exchange`)."""

    id: str
    trace: Trace
    path: str
    method: str
    version: int
    route: str | None
    status: int
    code: str | None
    cache: str | None
    stream: Any


@dataclass(slots=True)
class Trace:
    """A request's place in its trace. `span`: None unless it is recorded."""

    id: str
    span_id: str
    parent: Parent | None = None
    state: str | None = None
    span: Span | None = None
    token: Token[Any] | None = None

    @property
    def header(self) -> str:
        """As a `traceparent`."""
        return f"00-{self.id}-{self.span_id}-{'00' if self.span is None else '01'}"


class Bucket:
    """At most `a_second` a second, as many at once."""

    def __init__(self, a_second: float, now: Callable[[], float]) -> None:
        self._a_second = a_second
        self._now = now
        self._left, self._at = a_second, now()

    def take(self) -> bool:
        now = self._now()
        self._left = min(self._a_second, self._left + (now - self._at) * self._a_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


unrecorded: ContextVar[Trace | None] = ContextVar("unrecorded", default=None)
"""The trace of the request that this thread works for, where it is not recorded."""

granted: ContextVar[Trace | None] = ContextVar("granted", default=None)
"""The trace whose outermost span is being started: its ids are taken, and it is recorded (`exporting.Granted`)."""


class Tracing:
    """Decides and records. `tracer`: None where nobody collects; `share` of the requests that come without a trace, and all
    that their caller records, are recorded, up to a number a second."""

    def __init__(
        self,
        tracer: Tracer | None = None,
        *,
        share: float = SHARE,
        now: Callable[[], float],
        epoch: Callable[[], float],
    ) -> None:
        self.tracer = tracer
        self._below = int(share * (1 << 64))
        self._epoch = epoch
        self._bucket = Bucket(A_SECOND, now)

    def begin(self, environ: WSGIEnvironment) -> Trace:
        """The trace of a request that has come in, not recorded yet."""
        header = environ.get("HTTP_TRACEPARENT")
        parent = None if header is None else parent_of(header)
        if parent is None:
            return _new()
        return Trace(parent.trace_id, f"{random.getrandbits(64):016x}", parent, environ.get("HTTP_TRACESTATE"))

    def record(self, asked: Asked) -> None:
        """Open the request's span, if it is to be recorded."""
        if self.tracer is None or not self._is_chosen(asked.trace):
            return
        mine = asked.trace
        mine.span = self._start(mine, asked, None)
        mine.token = contexts.attach(trace.set_span_in_context(mine.span, contexts.Context()))

    def end(self, asked: Asked, seconds: float, broken: BaseException | None = None) -> None:
        """The last byte is out, or will never be. seconds: since the first."""
        mine, slow, failed = asked.trace, seconds >= SLOW_S and asked.stream is None, asked.status >= 500
        if mine.span is None:
            if self.tracer is None or not (slow or failed):
                return
            mine.span = self._start(mine, asked, seconds)
            mine.span.set_attribute("predict.recorded", "error" if failed else "slow")
        _describe(mine.span, asked, broken)
        mine.span.end()
        if mine.token is not None:
            contexts.detach(mine.token)
            mine.token = None

    def root(self, name: str) -> Span | None:
        """The outermost span of work that no request asked for, for a share of it."""
        mine = _new()
        if self.tracer is None or not self._is_chosen(mine):
            return None
        return self._span(mine, name, SpanKind.INTERNAL, None)

    def _is_chosen(self, mine: Trace) -> bool:
        if mine.parent is not None:
            return mine.parent.sampled and self._bucket.take()
        return int(mine.id[16:], 16) < self._below and self._bucket.take()

    def _start(self, mine: Trace, asked: Asked, seconds: float | None) -> Span:
        began = None if seconds is None else int((self._epoch() - seconds) * 1e9)
        return self._span(mine, _span_method(asked.method), SpanKind.SERVER, began)

    def _span(self, mine: Trace, name: str, kind: SpanKind, began_ns: int | None) -> Span:
        assert self.tracer is not None
        token = granted.set(mine)
        try:
            return self.tracer.start_span(name, _context(mine), kind, start_time=began_ns)
        finally:
            granted.reset(token)


def _new() -> Trace:
    digits = f"{random.getrandbits(192):048x}"
    return Trace(digits[:32], digits[32:])


def _context(mine: Trace) -> contexts.Context:
    """The caller's span as the parent, if there is one."""
    if mine.parent is None:
        return contexts.Context()
    ids, flags = (int(mine.parent.trace_id, 16), int(mine.parent.span_id, 16)), TraceFlags(TraceFlags.SAMPLED)
    theirs = SpanContext(*ids, is_remote=True, trace_flags=flags, trace_state=state_of(mine.state))
    return trace.set_span_in_context(NonRecordingSpan(theirs), contexts.Context())


def _span_method(method: str) -> str:
    """What a span is named after: unknown methods are all `HTTP`, so that callers cannot make up names."""
    return method if method in METHODS else "HTTP"


def _describe(span: Span, asked: Asked, broken: BaseException | None) -> None:
    """Names of OpenTelemetry's semantic conventions, and our own. Never a query: it may hold a secret."""
    name = _span_method(asked.method)
    span.update_name(f"{name} {asked.route}" if asked.route else name)
    found: Mapping[str, str | int | None] = {
        "http.request.method": asked.method if asked.method in METHODS else "_OTHER",
        "http.route": asked.route,
        "url.path": asked.path[:LONGEST_PATH],
        "http.response.status_code": asked.status,
        "error.type": asked.code,
        "predict.request_id": asked.id,
        "predict.version": asked.version,
        "predict.cache": asked.cache,
    }
    span.set_attributes({name: value for name, value in found.items() if value is not None})
    if broken is not None:
        span.record_exception(broken)
    if asked.status >= 500:
        span.set_status(Status(StatusCode.ERROR, asked.code))


def outgoing() -> dict[str, str]:
    """Headers that hand the trace of this thread on, recorded or not (W3C Trace Context 3.2 and 4.3); none without one."""
    headers: dict[str, str] = {}
    if trace.get_current_span().is_recording():
        TraceContextTextMapPropagator().inject(headers)
        return headers
    mine = unrecorded.get()
    if mine is None:
        return headers
    state = state_of(mine.state).to_header()
    return {"traceparent": mine.header, **({"tracestate": state} if state else {})}


def instrument(app: Flask, provider: TracerProvider) -> None:
    """The span of what a route does, by Flask's instrumentation, inside the request's own; named by its endpoint:
    `trading-directions`."""

    def name(span: Span, _: WSGIEnvironment) -> None:
        if span.is_recording():
            span.update_name((request.endpoint or "unrouted").rpartition(".")[2].replace("_", "-"))

    FlaskInstrumentor().instrument_app(  # type: ignore[no-untyped-call]
        app,
        request_hook=name,
        tracer_provider=provider,
        meter_provider=NoOpMeterProvider(),
        enable_commenter=False,
        excluded_urls="",
    )
