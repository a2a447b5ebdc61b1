"""Metrics of what the server itself does: requests in flight, connections, access log, and export of spans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from app.telemetry.access_log import AccessLog
from app.telemetry.metrics import Metric, unlabelled
from app.telemetry.setup import Telemetry


class Pushed(Protocol):
    """What streams did whose events are pushed (`serving.outbox.OutboxCounters`)."""

    @property
    def sent(self) -> int: ...
    @property
    def replaced(self) -> int: ...
    @property
    def slow(self) -> Mapping[tuple[str, ...], int]: ...
    @property
    def waiting_bytes(self) -> int: ...


class Connections(Protocol):
    """The connections of this process (`serving.connections.Connections`)."""

    @property
    def closed(self) -> Mapping[tuple[str, ...], int]: ...
    @property
    def pushed(self) -> Pushed: ...
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


def pushed_metrics(pushed: Pushed, reasons: Collection[str]) -> list[Metric]:
    """reasons: why a client may be too slow."""
    return [
        Metric("predict_stream_sent_total", "Events sent whole to followers", unlabelled(lambda: pushed.sent)),
        Metric(
            "predict_stream_replaced_total",
            "Events that a slow follower was not sent, because a newer one took their place",
            unlabelled(lambda: pushed.replaced),
        ),
        Metric(
            "predict_stream_slow_total",
            "Followers that were cut off because they did not read",
            lambda: {(reason,): pushed.slow.get((reason,), 0) for reason in reasons},
            ("reason",),
        ),
        Metric(
            "predict_stream_waiting_bytes", "Bytes that wait for followers", unlabelled(lambda: pushed.waiting_bytes)
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
