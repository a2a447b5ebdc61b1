"""The span of what a route does, by OpenTelemetry's instrumentation of Flask, inside the span of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask, request
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.metrics import NoOpMeterProvider

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from opentelemetry.trace import Span, TracerProvider


def instrument_routes(app: Flask, provider: TracerProvider) -> None:
    """Name each span after the endpoint: `trading-directions`."""

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
