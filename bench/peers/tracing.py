"""Tracing as the two full peers have it: a span for one request in a hundred, batched, to an exporter that drops them."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased


class Dropping(SpanExporter):
    """Takes spans and does nothing with them: what is measured is the making of spans, not a collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    """Samples one request in a hundred; for the worker, after the fork."""
    made = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.01)))
    made.add_span_processor(BatchSpanProcessor(Dropping()))
    return made
