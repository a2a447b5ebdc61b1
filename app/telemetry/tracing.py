"""Traces (W3C Trace Context, OpenTelemetry): which requests are recorded, and the span of each from its first to its last byte.

Every request has a trace id, its caller's or its own, but few requests are recorded. One that is not, and fails or takes long,
gets a span of its own when it is over. `RequestContextMiddleware` calls `begin`, `record` and `end` for every request.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace as otel
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from opentelemetry.trace import Span, Tracer

SHARE: Final = 0.01
RECORDED_PER_SECOND: Final = 10.0
"""At most so many requests a second are recorded, however many their callers want recorded."""

SLOW_S: Final = 2.0
MAX_STATE_CHARS: Final = 512
MAX_LONG_MEMBER: Final = 128
MAX_STATE_MEMBERS: Final = 32
MAX_PATH: Final = 200
METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})
"""The methods by which a span may be named (OpenTelemetry's HTTP conventions: RFC 9110 and PATCH)."""

_parent = re.compile(
    r"(?!ff)(?!00.{53}.)[0-9a-f]{2}-((?!0{32})[0-9a-f]{32})-((?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
).fullmatch
"""W3C Trace Context 3.2.2: no all-zero ids, no version ff, nothing after the flags in version 00."""

logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)  # it would warn of each malformed tracestate


class Parent(NamedTuple):
    """The caller's span: ids as hex digits, and whether the caller records it."""

    trace_id: str
    span_id: str
    sampled: bool


def parent_of(header: str) -> Parent | None:
    """The caller's span in a header `traceparent`; None if it is not valid. Several headers, which a server joins with commas,
    are not valid."""
    match = _parent(header)
    return Parent(match[1], match[2], bool(int(match[3], 16) & 1)) if match else None


def state_of(header: str | None) -> TraceState:
    """The members of a header `tracestate`; empty if it is malformed or has more than 32. Of members with the same key the
    first is kept, which is the newest. Above 512 characters the long members are dropped, then the last ones (W3C Trace Context
    3.3.1)."""
    listed = [member.strip(" \t") for member in (header or "").split(",")]
    newest: dict[str, str] = {}
    for member in filter(None, listed):
        newest.setdefault(member.partition("=")[0], member)
    if not newest or len(newest) > MAX_STATE_MEMBERS:
        return TraceState()
    state = TraceState.from_header([",".join(newest.values())])
    members = [f"{key}={value}" for key, value in state.items()]
    if len(",".join(members)) > MAX_STATE_CHARS:
        members = [member for member in members if len(member) <= MAX_LONG_MEMBER]
    while len(",".join(members)) > MAX_STATE_CHARS:
        members.pop()
    return TraceState.from_header([",".join(members)]) if len(members) < len(state) else state


class TracedRequest(Protocol):
    """What telemetry needs to know of a request (`middleware.request_context.RequestContext`)."""

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
    stages: dict[str, float]


current_request: ContextVar[TracedRequest | None] = ContextVar("current_request", default=None)
"""The request that this thread serves: log lines carry its ids, and stages add their durations to it."""


def current_ids() -> dict[str, str]:
    """The ids that log lines carry: those of the request that this thread serves."""
    request = current_request.get()
    return {} if request is None else {"request_id": request.id, "trace_id": request.trace.id}


@dataclass(slots=True)
class Trace:
    """The place of a request in its trace. span: None unless the request is recorded."""

    id: str
    span_id: str
    parent: Parent | None = None
    state: str | None = None
    span: Span | None = None
    token: Token[Any] | None = None

    @property
    def header(self) -> str:
        """The value of a header `traceparent`."""
        return f"00-{self.id}-{self.span_id}-{'00' if self.span is None else '01'}"


class TokenBucket:
    """Allows `per_second` a second, and as many at once."""

    def __init__(self, per_second: float, now: Callable[[], float]) -> None:
        self._per_second = per_second
        self._now = now
        self._left, self._at = per_second, now()

    def take(self) -> bool:
        now = self._now()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


unrecorded_trace: ContextVar[Trace | None] = ContextVar("unrecorded_trace", default=None)
"""The trace of the request that this thread works for, if that trace is not recorded."""

starting_trace: ContextVar[Trace | None] = ContextVar("starting_trace", default=None)
"""The trace whose outermost span is being started: that span is recorded and gets its ids (`otlp.TraceSampler`)."""


class Tracing:
    """Decides which requests are recorded, and records them: a share of those that come without a trace, and all those that
    their caller records, up to RECORDED_PER_SECOND. `tracer`: None if there is no collector."""

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
        self._bucket = TokenBucket(RECORDED_PER_SECOND, now)

    def begin(self, environ: WSGIEnvironment) -> Trace:
        """The trace of a request that has come in; it is not recorded yet."""
        header = environ.get("HTTP_TRACEPARENT")
        parent = None if header is None else parent_of(header)
        if parent is None:
            return _new_trace()
        return Trace(parent.trace_id, f"{random.getrandbits(64):016x}", parent, environ.get("HTTP_TRACESTATE"))

    def record(self, request: TracedRequest) -> None:
        """Open the request's span, if it is to be recorded."""
        if self.tracer is None or not self._is_chosen(request.trace):
            return
        trace = request.trace
        trace.span = self._start(trace, request, None)
        trace.token = contexts.attach(otel.set_span_in_context(trace.span, contexts.Context()))

    def end(self, request: TracedRequest, seconds: float, error: BaseException | None = None) -> None:
        """End the span after the last byte has been sent or the response was broken off. seconds: duration of the request."""
        trace, slow, failed = request.trace, seconds >= SLOW_S and request.stream is None, request.status >= 500
        if trace.span is None:
            if self.tracer is None or not (slow or failed):
                return
            trace.span = self._start(trace, request, seconds)
            trace.span.set_attribute("predict.recorded", "error" if failed else "slow")
        _describe(trace.span, request, error)
        trace.span.end()
        if trace.token is not None:
            contexts.detach(trace.token)
            trace.token = None

    def root(self, name: str) -> Span | None:
        """The outermost span of work that no request caused; None if this work is not recorded."""
        trace = _new_trace()
        if self.tracer is None or not self._is_chosen(trace):
            return None
        return self._span(trace, name, SpanKind.INTERNAL, None)

    def _is_chosen(self, trace: Trace) -> bool:
        if trace.parent is not None:
            return trace.parent.sampled and self._bucket.take()
        return int(trace.id[16:], 16) < self._below and self._bucket.take()

    def _start(self, trace: Trace, request: TracedRequest, seconds: float | None) -> Span:
        began = None if seconds is None else int((self._epoch() - seconds) * 1e9)
        return self._span(trace, _span_method(request.method), SpanKind.SERVER, began)

    def _span(self, trace: Trace, name: str, kind: SpanKind, began_ns: int | None) -> Span:
        assert self.tracer is not None
        token = starting_trace.set(trace)
        try:
            return self.tracer.start_span(name, _context(trace), kind, start_time=began_ns)
        finally:
            starting_trace.reset(token)


def _new_trace() -> Trace:
    digits = f"{random.getrandbits(192):048x}"
    return Trace(digits[:32], digits[32:])


def _context(trace: Trace) -> contexts.Context:
    """A context with the caller's span as the parent, if there is one."""
    if trace.parent is None:
        return contexts.Context()
    ids, flags = (int(trace.parent.trace_id, 16), int(trace.parent.span_id, 16)), TraceFlags(TraceFlags.SAMPLED)
    caller_span = SpanContext(*ids, is_remote=True, trace_flags=flags, trace_state=state_of(trace.state))
    return otel.set_span_in_context(NonRecordingSpan(caller_span), contexts.Context())


def _span_method(method: str) -> str:
    """The method in a span's name. All unknown methods are `HTTP`, so that callers cannot make up names."""
    return method if method in METHODS else "HTTP"


def _describe(span: Span, request: TracedRequest, error: BaseException | None) -> None:
    """Set attributes by OpenTelemetry's semantic conventions, and the project's own. The query is left out: it may hold a
    secret."""
    name = _span_method(request.method)
    span.update_name(f"{name} {request.route}" if request.route else name)
    attributes: Mapping[str, str | int | None] = {
        "http.request.method": request.method if request.method in METHODS else "_OTHER",
        "http.route": request.route,
        "url.path": request.path[:MAX_PATH],
        "http.response.status_code": request.status,
        "error.type": request.code,
        "predict.request_id": request.id,
        "predict.version": request.version,
        "predict.cache": request.cache,
    }
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})
    if error is not None:
        span.record_exception(error)
    if request.status >= 500:
        span.set_status(Status(StatusCode.ERROR, request.code))


def trace_headers() -> dict[str, str]:
    """Headers that propagate the trace of this thread, recorded or not (W3C Trace Context 3.2 and 4.3); none without a
    trace."""
    headers: dict[str, str] = {}
    if otel.get_current_span().is_recording():
        TraceContextTextMapPropagator().inject(headers)
        return headers
    trace = unrecorded_trace.get()
    if trace is None:
        return headers
    state = state_of(trace.state).to_header()
    return {"traceparent": trace.header, **({"tracestate": state} if state else {})}
