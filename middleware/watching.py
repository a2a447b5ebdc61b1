"""All that watches one server: durations, traces, and where they go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import SettingsError
from middleware.metrics import Latencies
from middleware.spans import Spans
from middleware.tracing import Tracing

if TYPE_CHECKING:
    from middleware.exporting import Exporting


class Told(Protocol):
    """Where events go (`app.events.Events`)."""

    def __call__(self, name: str, /, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Watch:
    """`exporting`: None where nobody collects traces."""

    latencies: Latencies
    tracing: Tracing
    spans: Spans
    exporting: Exporting | None = None

    def close(self) -> None:
        if self.exporting is not None:
            self.exporting.close()


def watch(
    endpoint: str | None,
    *,
    service: str,
    instance: str,
    share: float,
    emit: Told,
    now: Callable[[], float],
    epoch: Callable[[], float],
) -> Watch:
    """Watches a server of one process, after any fork. `endpoint`: the collector's address for traces, None: there is none,
    and OpenTelemetry's exporter is not even loaded. Raises SettingsError."""
    exporting = None
    if endpoint is not None:
        from middleware.exporting import Exporting

        try:
            exporting = Exporting(endpoint, service, instance, emit)
        except Exception as exc:  # the library reads variables of its own; what it says may quote them
            said = f"one of the OTEL_ variables beside the endpoint cannot be used ({type(exc).__name__})"
            raise SettingsError(said) from None
    tracer = None if exporting is None else exporting.provider.get_tracer("predict")
    latencies, tracing = Latencies(), Tracing(tracer, share=share, now=now, epoch=epoch)
    return Watch(latencies, tracing, Spans(tracing, latencies, now), exporting)
