"""The stages of an answer as spans, as `Server-Timing` and as durations: what `app.stages` tells, written down. And what a call
to the provider took.

Unless the request is recorded a stage costs the reading of a clock; one that is not among the MEASURED, nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextvars import Token
from typing import Any, Final, Generic, Protocol, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode

from app.errors import PredictError, Upstream
from middleware.metrics import Latencies
from middleware.request_context import current_request
from middleware.tracing import Trace, Tracing, unrecorded

T = TypeVar("T")
MEASURED: Final = frozenset(
    {"fetch-data", "await-data", "compute-structure", "compute-rpe", "compute-v6", "policy", "shape"}
)
TOGETHER: Final = frozenset({"fetch-data"})
"""Stages that go on side by side, for all tickers at once: the longest is what an answer waits for."""

DATABASES: Final = frozenset({"sqlite", "redis"})


class Unwatched:
    """A stage that is not written down."""

    def __enter__(self) -> Unwatched:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def set(self, **fields: object) -> None:
        return None

    def last_until(self, futures: Sequence[Future[Any]]) -> None:
        return None

    def skip(self) -> None:
        return None


UNWATCHED = Unwatched()


class Watched:
    """A stage under way: `told(seconds)` hears how long it took, `span` shows it, if there is one."""

    def __init__(self, span: Span | None, told: Callable[[float], None] | None, now: Callable[[], float]) -> None:
        self._span = span
        self._told = told
        self._now = now
        self._began = now()
        self._token: Token[Any] | None = None
        self._left = 1
        self._lock = threading.Lock()

    def __enter__(self) -> Watched:
        if self._span is not None:
            self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if self._token is not None:
            contexts.detach(self._token)
        if self._span is not None and exc is not None:
            _fail(self._span, exc)
        self._one_less()

    def set(self, **fields: object) -> None:
        if self._span is not None:
            self._span.set_attributes(named(fields))

    def last_until(self, futures: Sequence[Future[Any]]) -> None:
        with self._lock:
            self._left += len(futures)
        for future in futures:
            future.add_done_callback(lambda _: self._one_less())

    def skip(self) -> None:
        self._told = None

    def _one_less(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if self._told is not None:
            self._told(self._now() - self._began)
        if self._span is not None:
            self._span.end()


class Spans:
    """`app.stages.Stages`, written down."""

    def __init__(self, tracing: Tracing, latencies: Latencies, now: Callable[[], float]) -> None:
        self._tracing = tracing
        self.latencies = latencies
        self.now = now

    def __call__(self, name: str, **fields: object) -> Watched | Unwatched:
        span = self._child(name, fields) if self._tracing.tracer is not None else None
        told = self._teller(name) if name in MEASURED else None
        return UNWATCHED if span is None and told is None else Watched(span, told, self.now)

    def root(self, name: str, **fields: object) -> Watched | Unwatched:
        if trace.get_current_span().is_recording():
            return UNWATCHED
        span = self._tracing.root(name)
        if span is None:
            return UNWATCHED
        span.set_attributes(named(fields))
        return Watched(span, None, self.now)

    def note(self, **fields: object) -> None:
        if self._tracing.tracer is not None:
            trace.get_current_span().set_attributes(named(fields))

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        span = self._recorded()
        if span is None:
            context = current_request.get()
            return work if context is None else _handing_on(context.trace, work)

        def inside() -> T:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                return work()

        return inside

    def mark(self) -> object:
        span = self._recorded()
        return None if span is None else span.get_span_context()

    def link(self, mark: object) -> None:
        span = self._recorded()
        if span is None or not isinstance(mark, SpanContext) or mark.trace_id == span.get_span_context().trace_id:
            return
        span.add_link(mark)
        span.set_attribute("predict.cache", "joined")

    def calling(self, kind: str, path: str) -> Watched | Unwatched:
        """A call to the provider, as a stage of its own."""
        if self._tracing.tracer is None or self._recorded() is None:
            return UNWATCHED
        about = {"http.request.method": "GET", "url.path": path, "predict.kind": kind}
        span = self._tracing.tracer.start_span(f"polygon {kind}", kind=SpanKind.CLIENT, attributes=about)
        return Watched(span, None, self.now)

    def _recorded(self) -> Span | None:
        span = trace.get_current_span() if self._tracing.tracer is not None else None
        return span if span is not None and span.is_recording() else None

    def _child(self, name: str, fields: Mapping[str, object]) -> Span | None:
        if self._recorded() is None or self._tracing.tracer is None:
            return None
        if name in DATABASES:
            about = {"db.system.name": name, **named(fields)}
            return self._tracing.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=about)
        return self._tracing.tracer.start_span(name, attributes=named(fields))

    def _teller(self, name: str) -> Callable[[float], None]:
        context = current_request.get()

        def tell(seconds: float) -> None:
            self.latencies.staged(name, seconds)
            if context is not None:
                so_far = context.stages.get(name, 0.0)
                context.stages[name] = max(so_far, seconds) if name in TOGETHER else so_far + seconds

        return tell


def _handing_on(mine: Trace, work: Callable[[], T]) -> Callable[[], T]:
    """`work` in another thread, as a part of a trace that is not recorded."""

    def inside() -> T:
        token = unrecorded.set(mine)
        try:
            return work()
        finally:
            unrecorded.reset(token)

    return inside


class Reply(Protocol):
    """What a call to the provider brings back."""

    @property
    def status(self) -> int: ...


R = TypeVar("R", bound=Reply)


class Calls(Generic[R]):
    """Calls to the provider, each try by itself: how long it took, by outcome, and its span in the trace that asked for it.
    `judge(reply)`: `ok`, `slow`, `limited`, `refused` or `failed`; so is what raises Upstream. All other errors mean that no
    call was made."""

    def __init__(
        self,
        call: Callable[[str, Mapping[str, str]], R],
        spans: Spans,
        kind_of: Callable[[str], str],
        judge: Callable[[R], str],
    ) -> None:
        self._call = call
        self._spans = spans
        self._kind_of = kind_of
        self._judge = judge

    def __call__(self, path: str, params: Mapping[str, str]) -> R:
        kind, began = self._kind_of(path), self._spans.now()
        with self._spans.calling(kind, path) as stage:
            try:
                reply = self._call(path, params)
            except Upstream:
                self._told(stage, kind, "failed", began)
                raise
            self._told(stage, kind, self._judge(reply), began)
            return reply

    def _told(self, stage: Watched | Unwatched, kind: str, outcome: str, began: float) -> None:
        self._spans.latencies.called(kind, outcome, self._spans.now() - began)
        stage.set(outcome=outcome)


def named(fields: Mapping[str, object]) -> dict[str, str | int | float | bool]:
    """Fields of a stage as attributes of its span."""
    plain = {name: value for name, value in fields.items() if value is not None}
    return {f"predict.{k}": v if isinstance(v, str | int | float | bool) else str(v) for k, v in plain.items()}


def _fail(span: Span, exc: BaseException) -> None:
    """Our own errors say in one sentence what is wrong; of others the trace is worth having."""
    code = exc.code if isinstance(exc, PredictError) else type(exc).__name__
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, exc.message if isinstance(exc, PredictError) else code))
    if not isinstance(exc, PredictError):
        span.record_exception(exc)
