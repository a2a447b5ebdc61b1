"""Metrics of those who follow a ticker, and of what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from app.telemetry.metrics import Metric, Values, unlabelled

KINDS = ("signal", "price", "status")


class Broadcasters(Protocol):
    """The broadcasters of this process (`app.live.broadcaster.Broadcasters`)."""

    def listeners(self) -> Mapping[str, int]: ...
    def events_kept(self) -> Mapping[str, int]: ...
    def snapshots_for_slow(self) -> int: ...


def live_metrics(
    live: Broadcasters, told: Callable[[Sequence[tuple[str, ...]]], Values], is_in_memory: Callable[[], bool]
) -> list[Metric]:
    """told: how many events of these kinds were told of."""
    return [
        Metric(
            "predict_live_listeners",
            "Clients that are connected and follow a ticker",
            lambda: _by_ticker(live.listeners()),
            ("ticker",),
        ),
        Metric(
            "predict_live_events_kept",
            "Live events of a ticker in memory",
            lambda: _by_ticker(live.events_kept()),
            ("ticker",),
        ),
        Metric(
            "predict_live_events_total", "Live events, by kind", lambda: told([(kind,) for kind in KINDS]), ("kind",)
        ),
        Metric(
            "predict_live_conflated_total",
            "Snapshots in place of the events that a slow client missed",
            unlabelled(live.snapshots_for_slow),
        ),
        Metric(
            "predict_live_log_in_memory",
            "1 while the log of live events cannot be kept on disk or in Redis",
            unlabelled(is_in_memory),
        ),
    ]


def _by_ticker(values: Mapping[str, int]) -> Values:
    return {(ticker,): value for ticker, value in values.items()}
