"""Metrics of Socket.IO: connections, what their clients ask for, what they are sent, and why they are ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from app.telemetry.metrics import Metric, Values, unlabelled


class Outboxes(Protocol):
    """What the outboxes of all connections did (`serving.outbox.OutboxCounters`)."""

    @property
    def sent(self) -> int: ...
    @property
    def replaced(self) -> int: ...
    @property
    def blocked(self) -> int: ...
    @property
    def waiting_bytes(self) -> int: ...


class Links(Protocol):
    """The connections of this process (`serving.websocket_link.Links`)."""

    @property
    def counters(self) -> Outboxes: ...
    @property
    def refused(self) -> Values: ...
    def open_by_transport(self) -> Mapping[str, int]: ...


def socket_metrics(links: Links, sessions_kept: Callable[[], int], told: Callable[[str], Values]) -> list[Metric]:
    """told: how often an event of this name came, by its counted fields."""
    outboxes = links.counters
    return [
        Metric(
            "predict_socket_connections",
            "Open connections of Socket.IO",
            lambda: {(name,): number for name, number in links.open_by_transport().items()},
            ("transport",),
        ),
        Metric("predict_socket_sessions_kept", "Clients that are gone and may go on", unlabelled(sessions_kept)),
        Metric(
            "predict_socket_connects_total",
            "Clients let in, and whether they went on where they were",
            lambda: told("socket_connected"),
            ("recovered",),
        ),
        Metric(
            "predict_socket_handshakes_refused_total",
            "Handshakes for which there was no room",
            unlabelled(lambda: links.refused.get(("no_room",), 0)),
        ),
        Metric(
            "predict_socket_requests_refused_total",
            "Requests of Socket.IO refused, by reason",
            lambda: links.refused,
            ("reason",),
        ),
        Metric("predict_socket_refused_total", "Clients refused, by code", lambda: told("socket_refused"), ("code",)),
        Metric(
            "predict_socket_messages_total",
            "Messages of clients, and what became of them",
            lambda: told("socket_message"),
            ("event", "outcome"),
        ),
        Metric(
            "predict_socket_ended_total",
            "Connections that the server ended, by reason",
            lambda: told("socket_ended"),
            ("reason",),
        ),
        Metric("predict_socket_sent_total", "Messages sent whole over WebSockets", unlabelled(lambda: outboxes.sent)),
        Metric(
            "predict_socket_replaced_total",
            "Messages that a slow client was not sent, because a newer one took their place",
            unlabelled(lambda: outboxes.replaced),
        ),
        Metric("predict_socket_blocked", "Clients for which something waits", unlabelled(lambda: outboxes.blocked)),
        Metric("predict_socket_waiting_bytes", "Bytes that wait for them", unlabelled(lambda: outboxes.waiting_bytes)),
    ]
