"""Metrics of what the server itself does: requests in flight, connections, access log, and export of spans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from app.telemetry.access_log import AccessLog
from app.telemetry.metrics import Metric, unlabelled
from app.telemetry.setup import Telemetry


class Connections(Protocol):
    """The connections of this process (`serving.connections.Connections`)."""

    @property
    def closed(self) -> Mapping[tuple[str, ...], int]: ...
    def __len__(self) -> int: ...


def connection_metrics(connections: Connections, reasons: Collection[str]) -> list[Metric]:
    """reasons: why the server may close a connection or refuse it."""
    return [
        Metric("predict_connections_open", "Connections of clients", unlabelled(lambda: len(connections))),
        Metric(
            "predict_connections_closed_total",
            "Connections that the server ended or refused for what their clients did",
            lambda: {(reason,): connections.closed[reason,] for reason in reasons},
            ("reason",),
        ),
    ]


def access_log_metrics(log: AccessLog) -> list[Metric]:
    return [
        Metric("predict_access_lines_waiting", "Access log lines not written yet", unlabelled(lambda: len(log))),
        Metric("predict_access_lines_lost_total", "Access log lines that did not fit", unlabelled(lambda: log.lost)),
    ]


def telemetry_metrics(telemetry: Telemetry) -> list[Metric]:
    """Counts of requests beside the histograms, and of the spans that are exported."""
    latencies, otlp = telemetry.latencies, telemetry.otlp
    metrics = [
        Metric("predict_requests_in_flight", "Requests under way", unlabelled(lambda: latencies.in_flight)),
        Metric(
            "predict_streams_open", "Streams, long polls and WebSockets", unlabelled(lambda: latencies.streams_open)
        ),
        Metric("predict_errors_total", "Answers with an error, by its code", lambda: dict(latencies.errors), ("code",)),
    ]
    if otlp is None:
        return metrics
    return [
        *metrics,
        Metric("predict_spans_waiting", "Spans not sent yet", unlabelled(otlp.queue.waiting)),
        Metric("predict_spans_total", "Spans that were sent, and lost", otlp.queue.outcomes, ("outcome",)),
    ]
