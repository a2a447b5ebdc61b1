"""Tracing as the two full peers have it: every request a span, batched, to an exporter that drops them."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON


class Dropping(SpanExporter):
    """Takes spans and does nothing with them: what is measured is the making of spans, not a collector."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def provider() -> TracerProvider:
    """Samples everything; for the worker, after the fork."""
    made = TracerProvider(sampler=ALWAYS_ON)
    made.add_span_processor(BatchSpanProcessor(Dropping()))
    return made
