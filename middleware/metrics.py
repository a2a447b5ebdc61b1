"""What the door counts, in Prometheus' text format: each bound with how full it is, each decision with how often it fell.

Values are read when they are asked for; counting costs a request one addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Values = Mapping[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric: `read()` gives its value for each tuple of label values; counters end in `_total`."""

    name: str
    help: str
    read: Callable[[], Values]
    labels: Sequence[str] = ()


def single(read: Callable[[], float]) -> Callable[[], Values]:
    """A reading without labels."""
    return lambda: {(): read()}


class Readings(Collector):
    """The metrics of one server."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        for reading in self._readings:
            family = CounterMetricFamily if reading.name.endswith("_total") else GaugeMetricFamily
            metric = family(reading.name, reading.help, labels=reading.labels)
            for labels, value in reading.read().items():
                metric.add_metric(labels, value)
            yield metric


def exposition(readings: Sequence[Reading]) -> Callable[[], bytes]:
    """Gives the text of `/metrics`."""
    registry = CollectorRegistry()
    registry.register(Readings(readings))
    return lambda: generate_latest(registry)
