"""(c) The Flask route behind Flask-Limiter, prometheus-flask-exporter and OpenTelemetry, with their defaults."""

from __future__ import annotations

from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from prometheus_flask_exporter import PrometheusMetrics

from bench.peers.bare_flask import app
from bench.peers.given import LIMITS, REDIS_URL
from bench.peers.tracing import provider

FlaskInstrumentor().instrument_app(app, tracer_provider=provider())
PrometheusMetrics(app)
Limiter(get_remote_address, app=app, default_limits=LIMITS, storage_uri=REDIS_URL)
