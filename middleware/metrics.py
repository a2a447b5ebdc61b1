"""What the server says of itself in numbers, for Prometheus: durations as histograms, all else read when it is asked for.

Counting costs a request a few additions. The text comes out of prometheus-flask-exporter, which speaks both of Prometheus'
formats; with several workers it holds the series of all of them (middleware/workers.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from prometheus_client import GC_COLLECTOR, CollectorRegistry, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_flask_exporter import PrometheusMetrics

Values = Mapping[tuple[str, ...], float]

REQUEST_EDGES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds; one is 2.0, where the alert is."""

STAGE_EDGES: Final = (0.0005, *REQUEST_EDGES)
STREAM_EDGES: Final = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
CALL_EDGES: Final = (*STAGE_EDGES, 20.0)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
OTHER: Final = "other"
MOST_FORMATS: Final = 8
"""So many members of an `Accept` header are read at most."""

SAMPLES_AT_ONCE: Final = 64
AT_A_TIME_S: Final = 0.003

_format = re.compile(
    r"(?:application/openmetrics-text|text/plain)"
    r"(?:[ \t]*;[ \t]*(?:version=\d{1,3}(?:\.\d{1,3}){0,2}|(?!version=)[a-z]{1,16}=[\w.-]{1,32})){0,4}"
).fullmatch

disable_created_metrics()  # type: ignore[no-untyped-call]


class Figure(Protocol):
    """One metric: `read()` gives its value for each tuple of label values; counters end in `_total`."""

    @property
    def name(self) -> str: ...
    @property
    def help(self) -> str: ...
    @property
    def labels(self) -> Sequence[str]: ...
    @property
    def read(self) -> Callable[[], Values]: ...


class Answered(Protocol):
    """What is counted of a request (`Exchange`)."""

    trace: Any
    method: str
    version: int
    route: str | None
    status: int
    code: str | None
    is_open_stream: bool


class Latencies:
    """The histograms: of requests, of stages, of calls to the provider; and what is counted beside them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(support_collectors_without_names=True)
        self.in_flight = 0
        self.streams_open = 0
        self.errors: dict[tuple[str, ...], float] = {}
        self.labels: dict[str, tuple[str, ...]] = {}
        self._requests = self._histogram(
            "predict_request_seconds",
            "Requests, to the last byte of their answers; an answer that broke on its way has status 500",
            ("route", "method", "status", "version"),
            REQUEST_EDGES,
        )
        self._streams = self._histogram(
            "predict_stream_seconds",
            "Streams and long polls, from the request to the last byte; none of them counts in predict_request_seconds",
            ("route", "outcome"),
            STREAM_EDGES,
        )
        self._stages = self._histogram("predict_stage_seconds", "Stages of making an answer", ("stage",), STAGE_EDGES)
        self._calls = self._histogram(
            "predict_polygon_call_seconds", "Calls to the market-data provider", ("kind", "outcome"), CALL_EDGES
        )
        self._children: dict[tuple[str | None, str, int, int], Histogram] = {}

    def answered(self, asked: Answered, seconds: float) -> None:
        """A request is over."""
        self.in_flight -= 1
        method = asked.method if asked.method in METHODS else OTHER
        key = asked.route, method, asked.status, asked.version
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._child(*key)
        child.observe(seconds, _exemplar(asked.trace))
        if asked.code is not None:
            self.errors[asked.code,] = self.errors.get((asked.code,), 0) + 1

    def opened(self, asked: Answered) -> None:
        """A request turns out to be a stream; again does nothing."""
        if not asked.is_open_stream:
            asked.is_open_stream = True
            self.in_flight -= 1
            self.streams_open += 1

    def streamed(self, asked: Answered, outcome: str, seconds: float) -> None:
        """A stream is over."""
        if asked.is_open_stream:
            self.streams_open -= 1
        else:
            self.in_flight -= 1
        self._streams.labels(asked.route or "none", outcome).observe(seconds)
        if asked.code is not None:
            self.errors[asked.code,] = self.errors.get((asked.code,), 0) + 1

    def staged(self, name: str, seconds: float) -> None:
        """A stage is over."""
        self._stages.labels(name).observe(seconds)

    def called(self, kind: str, outcome: str, seconds: float) -> None:
        """A call to the provider is over."""
        self._calls.labels(kind, outcome).observe(seconds)

    def _child(self, route: str | None, method: str, status: int, version: int) -> Histogram:
        return self._requests.labels(route or "none", method, str(status), str(version))

    def _histogram(self, name: str, text: str, labels: Sequence[str], edges: Sequence[float]) -> Histogram:
        self.labels[name] = tuple(labels)
        return Histogram(name, text, labels, buckets=edges, registry=self.registry)


def _exemplar(trace: Any) -> dict[str, str] | None:
    """The trace of a request that is recorded: only that one can be looked up."""
    return None if trace.span is None else {"trace_id": trace.id, "span_id": trace.span_id}


class Figures(Collector):
    """Metrics whose values are read when they are asked for."""

    def __init__(self, figures: Sequence[Figure]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        for figure in self._figures:
            family = CounterMetricFamily if figure.name.endswith("_total") else GaugeMetricFamily
            metric = family(figure.name, figure.help, labels=figure.labels)
            for labels, value in figure.read().items():
                metric.add_metric(labels, value)
            yield metric


class Exposition:
    """The text of this process's metrics. `labels`: of each of ours."""

    def __init__(self, latencies: Latencies, figures: Sequence[Figure]) -> None:
        self.registry = latencies.registry
        self.registry.register(Figures(figures))
        self.labels = {**latencies.labels, **{figure.name: tuple(figure.labels) for figure in figures}}
        ProcessCollector(registry=self.registry)
        self.registry.register(GC_COLLECTOR)

    def __call__(self, accept: str | None, names: Sequence[str]) -> tuple[str, str]:
        """Text and content type, as the scraper accepts it; only the metrics named, if any are. It is made in pieces, and in
        between others have their turn: a scrape must not hold up the requests."""
        registry = self.registry.restricted_registry(names) if names else self.registry
        accept = formats_of(accept)
        end, content_type = _encoded(_One(), accept)
        pieces, turns = [], Turns()
        for metric in registry.collect():
            for n, part in enumerate(_parts(metric)):
                text = _encoded(_One(part), accept)[0].removesuffix(end)
                pieces.append(_samples(text) if n else text)
                turns.take()
        return "".join([*pieces, end]), content_type


def formats_of(accept: str | None) -> str:
    """The members of an `Accept` header (RFC 9110 12.5.1) that name one of Prometheus' formats, well formed and at most
    MOST_FORMATS of them: whatever a scraper sends, what the library and the other workers read is short."""
    members = (member.strip(" \t") for member in (accept or "").split(","))
    return ", ".join([member for member in members if _format(member)][:MOST_FORMATS])


class Turns:
    """Long work that lets others have a turn every few milliseconds."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    def take(self) -> None:
        if time.monotonic() - self._since > AT_A_TIME_S:
            time.sleep(0)
            self._since = time.monotonic()


class _One(Collector):
    """A metric, or none, by itself."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _encoded(metrics: _One, accept: str | None) -> tuple[str, str]:
    exporter = PrometheusMetrics(None, path=None, export_defaults=False, group_by="url_rule", registry=metrics)
    text, content_type = exporter.generate_metrics(accept)
    return text, content_type


def _parts(metric: Metric) -> Iterable[Metric]:
    """The metric with so many samples at a time."""
    for first in range(0, max(1, len(metric.samples)), SAMPLES_AT_ONCE):
        part = Metric(metric.name, metric.documentation, metric.type, metric.unit)
        part.samples = metric.samples[first : first + SAMPLES_AT_ONCE]
        yield part


def _samples(text: str) -> str:
    """Without the comments, which a family has once."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
