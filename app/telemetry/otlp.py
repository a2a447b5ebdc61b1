"""Sends spans to an OTLP collector over HTTP, in the background, from a bounded queue. Imported only if there is a collector.

Nothing here makes a request wait: a span that does not fit in the queue is counted and dropped, and a collector that is down,
slow or silent delays only the background thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, TraceState
from opentelemetry.util.types import Attributes

from app.telemetry.tracing import starting_trace

QUEUE_SIZE: Final = 2048
BATCH_SIZE: Final = 32
"""Spans in a batch: encoding one must not delay the requests of the same process."""

EVERY_MS: Final = 1000
SEND_S: Final = 2.0
CLOSE_S: Final = 1.5
EXPORTED_ATTRIBUTES: Final = frozenset(
    {
        "db.system.name",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "url.path",
    }
)
"""Attributes that are exported, beside `predict.*`. Those that a library adds (queries, addresses, user agents) are not."""


NOISY_LOGGERS: Final = (
    "opentelemetry.attributes",
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.resources",
    "opentelemetry.util.re",
)
"""Loggers that would write a line for each lost batch and each truncated value, and the content of malformed headers."""


class TraceSampler(Sampler):
    """Records the spans that `Tracing` decided to record, and all spans inside them."""

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        parent = otel.get_current_span(parent_context)
        if starting_trace.get() is None and not parent.is_recording():
            return SamplingResult(Decision.DROP)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, parent.get_span_context().trace_state)

    def get_description(self) -> str:
        return "TraceSampler"


class TraceIds(RandomIdGenerator):
    """Gives the span of a request the ids that the request already has, and random ids to the spans inside it."""

    def generate_trace_id(self) -> int:
        trace = starting_trace.get()
        return super().generate_trace_id() if trace is None else int(trace.id, 16)

    def generate_span_id(self) -> int:
        trace = starting_trace.get()
        return super().generate_span_id() if trace is None else int(trace.span_id, 16)


class FilteringExporter(SpanExporter):
    """Exports spans with their permitted attributes alone, and counts them. Emits `spans_lost` once when a collector fails, and
    `spans_sent` when it works again."""

    def __init__(self, exporter: SpanExporter, emit: Callable[..., None]) -> None:
        self._exporter = exporter
        self._emit = emit
        self._failing = False
        self.dequeued = 0
        self.sent = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.dequeued += len(spans)
        result = self._exporter.export([_filtered(span) for span in spans])
        failing = result is not SpanExportResult.SUCCESS
        if failing:
            self.lost += len(spans)
        else:
            self.sent += len(spans)
        if failing != self._failing:
            self._failing = failing
            self._emit("spans_lost" if failing else "spans_sent")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class BoundedSpanProcessor(BatchSpanProcessor):
    """The library's queue, with a bound: a span that does not fit is counted and dropped."""

    def __init__(self, exporter: FilteringExporter) -> None:
        super().__init__(
            exporter, QUEUE_SIZE, EVERY_MS, max_export_batch_size=BATCH_SIZE, export_timeout_millis=SEND_S * 1000
        )
        self._filtering = exporter
        self._lock = threading.Lock()
        self._ended = 0
        self._dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            if self.waiting() >= QUEUE_SIZE:
                self._dropped += 1
                return
            self._ended += 1
        super().on_end(span)

    def waiting(self) -> int:
        """Spans in the queue."""
        return self._ended - self._filtering.dequeued

    def outcomes(self) -> Mapping[tuple[str, ...], float]:
        """How many spans were exported, and how many lost."""
        return {("exported",): self._filtering.sent, ("lost",): self._filtering.lost + self._dropped}


class OtlpExport:
    """The tracer provider of one process, to be built after any fork. `endpoint`: the collector's URL for traces; `region`: in
    which region of the cloud the process runs, None if that is not known."""

    def __init__(
        self, endpoint: str | None, service: str, instance: str, emit: Callable[..., None], *, region: str | None = None
    ) -> None:
        for name in NOISY_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        place = {} if region is None else {"cloud.region": region}
        resource = Resource.create({"service.name": service, "service.instance.id": instance, **place})
        self.queue = BoundedSpanProcessor(FilteringExporter(OTLPSpanExporter(endpoint, timeout=SEND_S), emit))
        self.provider = TracerProvider(
            sampler=TraceSampler(),
            resource=resource,
            id_generator=TraceIds(),
            span_limits=SpanLimits(max_attributes=64, max_events=16, max_links=16, max_attribute_length=256),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self.queue)

    def close(self) -> None:
        """Send the spans that are left, for CLOSE_S seconds at most."""
        closing = threading.Thread(target=self.provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _filtered(span: ReadableSpan) -> ReadableSpan:
    """A span with its permitted attributes. Of an error it keeps the type, and the message if it is the project's own."""
    attributes = {
        k: v for k, v in (span.attributes or {}).items() if k in EXPORTED_ATTRIBUTES or k.startswith("predict.")
    }
    events = [Event(event.name, _exception_type(event), event.timestamp) for event in span.events]
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=events,
        links=span.links,
        kind=span.kind,
        status=span.status if "error.type" in attributes else Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _exception_type(event: Event) -> dict[str, str]:
    """The type alone: messages and tracebacks of foreign exceptions may quote the request."""
    return {"exception.type": str((event.attributes or {}).get("exception.type", ""))}
