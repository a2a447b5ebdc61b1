"""Builds the telemetry of one process: durations, traces, and their export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from app.errors import SettingsError
from app.telemetry.metrics import Latencies
from app.telemetry.spans import SpanStages
from app.telemetry.tracing import Tracing

if TYPE_CHECKING:
    from app.telemetry.otlp import OtlpExport


class Emit(Protocol):
    """Emits an event (`Events.emit`)."""

    def __call__(self, name: str, /, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Telemetry:
    """otlp: None if there is no collector of traces."""

    latencies: Latencies
    tracing: Tracing
    stages: SpanStages
    otlp: OtlpExport | None = None

    def close(self) -> None:
        if self.otlp is not None:
            self.otlp.close()


def build_telemetry(
    endpoint: str | None,
    *,
    service: str,
    instance: str,
    region: str | None = None,
    share: float,
    emit: Emit,
    now: Callable[[], float],
    epoch: Callable[[], float],
) -> Telemetry:
    """The telemetry of this process, to be built after any fork. endpoint: the collector's URL for traces; if there is none,
    OpenTelemetry's exporter is not even imported. share: share of requests that are recorded. Raises SettingsError."""
    otlp = None
    if endpoint is not None:
        from app.telemetry.otlp import OtlpExport

        try:
            otlp = OtlpExport(endpoint, service, instance, emit, region=region)
        except Exception as exc:  # the library reads variables of its own, which its message may quote
            message = f"one of the OTEL_ variables beside the endpoint cannot be used ({type(exc).__name__})"
            raise SettingsError(message) from None
    tracer = None if otlp is None else otlp.provider.get_tracer("predict")
    latencies, tracing = Latencies(), Tracing(tracer, share=share, now=now, epoch=epoch)
    return Telemetry(latencies, tracing, SpanStages(tracing, latencies, now), otlp)
