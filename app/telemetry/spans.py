"""Stages measured: as spans, in `Server-Timing`, and as durations.

Unless the request is recorded, a stage costs the reading of a clock, and one that is not among MEASURED costs nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Any, Final, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace as otel
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode

from app.errors import PredictError
from app.telemetry.metrics import Latencies
from app.telemetry.tracing import Trace, Tracing, current_request, unrecorded_trace

T = TypeVar("T")
MEASURED: Final = frozenset(
    {"fetch-data", "await-data", "compute-structure", "compute-rpe", "compute-v6", "policy", "shape"}
)
CONCURRENT: Final = frozenset({"fetch-data"})
"""Stages that run for all tickers at once, so that an answer waits for the longest of them."""

DATABASES: Final = frozenset({"sqlite", "redis"})


class UnmeasuredStage:
    """A stage that is neither measured nor recorded."""

    def __enter__(self) -> UnmeasuredStage:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def set(self, **fields: object) -> None:
        return None

    def part(self) -> Callable[[], None]:
        return self.skip

    def skip(self) -> None:
        return None


UNMEASURED: Final = UnmeasuredStage()


class MeasuredStage:
    """A stage in progress. It calls `observe(seconds)` when it ends, if there is one, and then ends `span`, if there is one."""

    def __init__(self, span: Span | None, observe: Callable[[float], None] | None, now: Callable[[], float]) -> None:
        self._span = span
        self._observe = observe
        self._now = now
        self._began = now()
        self._token: Token[Any] | None = None
        self._open_parts = 1
        self._lock = threading.Lock()

    def __enter__(self) -> MeasuredStage:
        if self._span is not None:
            self._token = contexts.attach(otel.set_span_in_context(self._span))
        return self

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        if self._token is not None:
            contexts.detach(self._token)
        if self._span is not None and exc is not None:
            _record_error(self._span, exc)
        self._close_part()

    def set(self, **fields: object) -> None:
        if self._span is not None:
            self._span.set_attributes(span_attributes(fields))

    def part(self) -> Callable[[], None]:
        with self._lock:
            self._open_parts += 1
        return self._close_part

    def skip(self) -> None:
        self._observe = None

    def _close_part(self) -> None:
        """End the stage when its block and all of its parts are over."""
        with self._lock:
            self._open_parts -= 1
            if self._open_parts:
                return
        if self._observe is not None:
            self._observe(self._now() - self._began)
        if self._span is not None:
            self._span.end()


class SpanStages:
    """The `Stages` that are measured."""

    def __init__(self, tracing: Tracing, latencies: Latencies, now: Callable[[], float]) -> None:
        self._tracing = tracing
        self.latencies = latencies
        self.now = now

    def __call__(self, name: str, **fields: object) -> MeasuredStage | UnmeasuredStage:
        span = self._start_span(name, fields) if self._tracing.tracer is not None else None
        observe = self._observer(name) if name in MEASURED else None
        return UNMEASURED if span is None and observe is None else MeasuredStage(span, observe, self.now)

    def root(self, name: str, **fields: object) -> MeasuredStage | UnmeasuredStage:
        if otel.get_current_span().is_recording():
            return UNMEASURED
        span = self._tracing.root(name)
        if span is None:
            return UNMEASURED
        span.set_attributes(span_attributes(fields))
        return MeasuredStage(span, None, self.now)

    def annotate(self, **fields: object) -> None:
        if self._tracing.tracer is not None:
            otel.get_current_span().set_attributes(span_attributes(fields))

    def in_current_stage(self, work: Callable[[], T]) -> Callable[[], T]:
        span = self._recorded_span()
        if span is None:
            request = current_request.get()
            return work if request is None else _in_unrecorded_trace(request.trace, work)

        def run() -> T:
            with otel.use_span(span, record_exception=False, set_status_on_exception=False):
                return work()

        return run

    def current(self) -> object:
        span = self._recorded_span()
        return None if span is None else span.get_span_context()

    def link(self, stage: object) -> None:
        span = self._recorded_span()
        if span is None or not isinstance(stage, SpanContext) or stage.trace_id == span.get_span_context().trace_id:
            return
        span.add_link(stage)
        span.set_attribute("predict.cache", "joined")

    def provider_call(self, kind: str, path: str) -> MeasuredStage | UnmeasuredStage:
        """A call to the provider as a stage of its own."""
        if self._tracing.tracer is None or self._recorded_span() is None:
            return UNMEASURED
        attributes = {"http.request.method": "GET", "url.path": path, "predict.kind": kind}
        span = self._tracing.tracer.start_span(f"polygon {kind}", kind=SpanKind.CLIENT, attributes=attributes)
        return MeasuredStage(span, None, self.now)

    def _recorded_span(self) -> Span | None:
        """The current span of this thread, if it is recorded."""
        span = otel.get_current_span() if self._tracing.tracer is not None else None
        return span if span is not None and span.is_recording() else None

    def _start_span(self, name: str, fields: Mapping[str, object]) -> Span | None:
        if self._recorded_span() is None or self._tracing.tracer is None:
            return None
        if name in DATABASES:
            attributes = {"db.system.name": name, **span_attributes(fields)}
            return self._tracing.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        return self._tracing.tracer.start_span(name, attributes=span_attributes(fields))

    def _observer(self, name: str) -> Callable[[float], None]:
        """Adds the duration of a stage to the histogram and to the request that this thread serves."""
        request = current_request.get()

        def observe(seconds: float) -> None:
            self.latencies.staged(name, seconds)
            if request is not None:
                so_far = request.stages.get(name, 0.0)
                request.stages[name] = max(so_far, seconds) if name in CONCURRENT else so_far + seconds

        return observe


def _in_unrecorded_trace(trace: Trace, work: Callable[[], T]) -> Callable[[], T]:
    """`work` as part of a trace that is not recorded, to be run in another thread."""

    def run() -> T:
        token = unrecorded_trace.set(trace)
        try:
            return work()
        finally:
            unrecorded_trace.reset(token)

    return run


def span_attributes(fields: Mapping[str, object]) -> dict[str, str | int | float | bool]:
    """The fields of a stage as attributes of its span."""
    present = {name: value for name, value in fields.items() if value is not None}
    return {f"predict.{k}": v if isinstance(v, str | int | float | bool) else str(v) for k, v in present.items()}


def _record_error(span: Span, exc: BaseException) -> None:
    """The project's own errors say in one sentence what is wrong; for others the traceback is recorded, too."""
    code = exc.code if isinstance(exc, PredictError) else type(exc).__name__
    span.set_attribute("error.type", code)
    span.set_status(Status(StatusCode.ERROR, exc.message if isinstance(exc, PredictError) else code))
    if not isinstance(exc, PredictError):
        span.record_exception(exc)
