"""Where spans go: to an OTLP collector over HTTP, in the background, from a bounded queue. Imported where there is one.

Nothing here makes a request wait: what does not fit in the queue is counted and dropped, and a collector that is down, slow
or silent costs the background alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, Status, TraceState
from opentelemetry.util.types import Attributes

from middleware.tracing import granted

MOST_WAITING: Final = 2048
AT_ONCE: Final = 32
"""Spans a batch: putting one together must not hold up the requests of the same process."""

EVERY_MS: Final = 1000
SEND_S: Final = 2.0
CLOSE_S: Final = 1.5
SHOWN: Final = frozenset(
    {
        "db.system.name",
        "error.type",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "url.path",
    }
)
"""Attributes that leave, beside `predict.*`: what a library adds (queries, addresses, user agents) does not."""


NOISY: Final = (
    "opentelemetry.attributes",
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.resources",
    "opentelemetry.util.re",
)
"""Loggers that would tell each batch that is lost, each value that is cut, and what stands in a header they cannot read."""


class Granted(Sampler):
    """Records what `Tracing` decided to record, and what is inside it."""

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
        parent = trace.get_current_span(parent_context)
        if granted.get() is None and not parent.is_recording():
            return SamplingResult(Decision.DROP)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, parent.get_span_context().trace_state)

    def get_description(self) -> str:
        return "Granted"


class GrantedIds(RandomIdGenerator):
    """The ids that a request already told; random ones for what is inside it."""

    def generate_trace_id(self) -> int:
        mine = granted.get()
        return super().generate_trace_id() if mine is None else int(mine.id, 16)

    def generate_span_id(self) -> int:
        mine = granted.get()
        return super().generate_span_id() if mine is None else int(mine.span_id, 16)


class Sending(SpanExporter):
    """Hands spans on, cut down to what may be shown; counts, and says once that a collector fails and that it is back."""

    def __init__(self, exporter: SpanExporter, emit: Callable[..., None]) -> None:
        self._exporter = exporter
        self._emit = emit
        self._failing = False
        self.taken = 0
        self.sent = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.taken += len(spans)
        found = self._exporter.export([_shown(span) for span in spans])
        failing = found is not SpanExportResult.SUCCESS
        if failing:
            self.lost += len(spans)
        else:
            self.sent += len(spans)
        if failing != self._failing:
            self._failing = failing
            self._emit("spans_lost" if failing else "spans_sent")
        return found

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Queued(BatchSpanProcessor):
    """The library's queue, which never drops: what would not fit is counted here and left out."""

    def __init__(self, sending: Sending) -> None:
        super().__init__(
            sending, MOST_WAITING, EVERY_MS, max_export_batch_size=AT_ONCE, export_timeout_millis=SEND_S * 1000
        )
        self._sending = sending
        self._lock = threading.Lock()
        self._ended = 0
        self._left_out = 0

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            if self.waiting() >= MOST_WAITING:
                self._left_out += 1
                return
            self._ended += 1
        super().on_end(span)

    def waiting(self) -> int:
        """Spans in the queue."""
        return self._ended - self._sending.taken

    def outcomes(self) -> Mapping[tuple[str, ...], float]:
        """How many spans were exported, and lost."""
        return {("exported",): self._sending.sent, ("lost",): self._sending.lost + self._left_out}


class Exporting:
    """The tracer provider of one process; set up after any fork. `endpoint`: the collector's address for traces."""

    def __init__(self, endpoint: str | None, service: str, instance: str, emit: Callable[..., None]) -> None:
        for noisy in NOISY:
            logging.getLogger(noisy).setLevel(logging.CRITICAL)
        resource = Resource.create({"service.name": service, "service.instance.id": instance})
        self.queue = Queued(Sending(OTLPSpanExporter(endpoint, timeout=SEND_S), emit))
        self.provider = TracerProvider(
            sampler=Granted(),
            resource=resource,
            id_generator=GrantedIds(),
            span_limits=SpanLimits(max_attributes=64, max_events=16, max_links=16, max_attribute_length=256),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(self.queue)

    def close(self) -> None:
        """Send what is left, for a second and a half at most."""
        closing = threading.Thread(target=self.provider.shutdown, name="spans", daemon=True)
        closing.start()
        closing.join(CLOSE_S)


def _shown(span: ReadableSpan) -> ReadableSpan:
    """What may be told of a span: of an error, the kind, and its message where it is one of our own sentences."""
    kept = {k: v for k, v in (span.attributes or {}).items() if k in SHOWN or k.startswith("predict.")}
    events = [Event(event.name, _kind(event), event.timestamp) for event in span.events]
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=kept,
        events=events,
        links=span.links,
        kind=span.kind,
        status=span.status if "error.type" in kept else Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _kind(event: Event) -> dict[str, str]:
    """Messages and traces of foreign exceptions may quote what was asked."""
    return {"exception.type": str((event.attributes or {}).get("exception.type", ""))}
