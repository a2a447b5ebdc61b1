"""The text of `/metrics`, in both formats of Prometheus. The package prometheus-flask-exporter encodes it. With several
workers, `worker_metrics` merges the texts of all of them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import GC_COLLECTOR, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

from app.telemetry.metrics import Latencies, Metric

Expose = Callable[[str | None, Sequence[str]], tuple[str, str]]
"""Text and content type for a header `Accept` and the names of metrics (`Exposition`)."""

MAX_FORMATS: Final = 8
"""Members of a header `Accept` that are read at most."""

SAMPLES_AT_ONCE: Final = 64
Sleep = Callable[[float], None]

MAX_BUSY_S: Final = 0.003

_format = re.compile(
    r"(?:application/openmetrics-text|text/plain)"
    r"(?:[ \t]*;[ \t]*(?:version=\d{1,3}(?:\.\d{1,3}){0,2}|(?!version=)[a-z]{1,16}=[\w.-]{1,32})){0,4}"
).fullmatch


class MetricCollector(Collector):
    """Collects metrics whose values are read at each scrape."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Family]:
        for metric in self._metrics:
            kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.read().items():
                family.add_metric(labels, value)
            yield family


class Exposition:
    """The text of this process's metrics. labels: the label names by metric, without the metrics of the client library."""

    def __init__(
        self, latencies: Latencies, metrics: Sequence[Metric], now: Callable[[], float], sleep: Sleep = time.sleep
    ) -> None:
        self._now, self._sleep = now, sleep
        self.registry = latencies.registry
        self.registry.register(MetricCollector(metrics))
        self.labels = {**latencies.labels, **{metric.name: tuple(metric.labels) for metric in metrics}}
        ProcessCollector(registry=self.registry)
        self.registry.register(GC_COLLECTOR)

    def __call__(self, accept: str | None, names: Sequence[str]) -> tuple[str, str]:
        """Text and content type in a format that the scraper accepts, of the metrics in `names` alone unless that is empty. The
        text is made in pieces that yield to other greenlets in between, so that a scrape does not delay requests."""
        registry = self.registry.restricted_registry(names) if names else self.registry
        accept = formats_of(accept)
        end, content_type = _encode(SingleCollector(), accept)
        pieces, yielder = [], Yielder(self._now, self._sleep)
        for family in registry.collect():
            for n, part in enumerate(_split(family)):
                text = _encode(SingleCollector(part), accept)[0].removesuffix(end)
                pieces.append(_without_comments(text) if n else text)
                yielder.maybe_yield()
        return "".join([*pieces, end]), content_type


def formats_of(accept: str | None) -> str:
    """The members of a header `Accept` (RFC 9110 12.5.1) that are well formed and name a format of Prometheus, MAX_FORMATS of
    them at most, so that the library and the other workers never parse a long header."""
    members = (member.strip(" \t") for member in (accept or "").split(","))
    return ", ".join([member for member in members if _format(member)][:MAX_FORMATS])


class Yielder:
    """Lets long work yield to other greenlets every MAX_BUSY_S seconds. sleep: with 0, gives all other work a turn."""

    def __init__(self, now: Callable[[], float], sleep: Sleep) -> None:
        self._now, self._sleep = now, sleep
        self._since = now()

    def maybe_yield(self) -> None:
        if self._now() - self._since > MAX_BUSY_S:
            self._sleep(0)
            self._since = self._now()


class SingleCollector(Collector):
    """Collects one family, or none."""

    def __init__(self, *families: Family) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families


def _encode(collector: SingleCollector, accept: str | None) -> tuple[str, str]:
    exporter = PrometheusMetrics(None, path=None, export_defaults=False, group_by="url_rule", registry=collector)
    text, content_type = exporter.generate_metrics(accept)
    return text, content_type


def _split(family: Family) -> Iterable[Family]:
    """The family in parts of SAMPLES_AT_ONCE samples."""
    for first in range(0, max(1, len(family.samples)), SAMPLES_AT_ONCE):
        part = Family(family.name, family.documentation, family.type, family.unit)
        part.samples = family.samples[first : first + SAMPLES_AT_ONCE]
        yield part


def _without_comments(text: str) -> str:
    """The samples of a text. Only the first part of a family has the comments."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
