"""Metrics: durations of requests, stages and calls as histograms, and metrics whose values are read at each scrape.

Counting costs a request a few additions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics

Values = Mapping[tuple[str, ...], float]
"""The value of a metric by the values of its labels."""

REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds in seconds. One of them is 2.0, the threshold of the alert."""

STAGE_BUCKETS: Final = (0.0005, *REQUEST_BUCKETS)
STREAM_BUCKETS: Final = (0.1, 1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0)
CALL_BUCKETS: Final = (*STAGE_BUCKETS, 20.0)
METHODS: Final = frozenset({"GET", "HEAD", "POST", "OPTIONS"})
OTHER: Final = "other"

disable_created_metrics()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that is read at each scrape: `read()` returns its values. The name of a counter ends in `_total`; all others
    are gauges."""

    name: str
    help: str
    read: Callable[[], Values]
    labels: Sequence[str] = ()


def unlabelled(read: Callable[[], float]) -> Callable[[], Values]:
    """The values of a metric without labels."""
    return lambda: {(): read()}


class CountedRequest(Protocol):
    """What is counted of a request (`middleware.request_context.RequestContext`)."""

    trace: Any
    method: str
    version: int
    route: str | None
    status: int
    code: str | None
    is_open_stream: bool


class Latencies:
    """Histograms of requests, streams, stages and calls to the provider, and the counts that belong to them."""

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
            REQUEST_BUCKETS,
        )
        self._streams = self._histogram(
            "predict_stream_seconds",
            "Streams and long polls, from the request to the last byte; none of them counts in predict_request_seconds",
            ("route", "outcome"),
            STREAM_BUCKETS,
        )
        self._stages = self._histogram("predict_stage_seconds", "Stages of making an answer", ("stage",), STAGE_BUCKETS)
        self._calls = self._histogram(
            "predict_polygon_call_seconds", "Calls to the market-data provider", ("kind", "outcome"), CALL_BUCKETS
        )
        self._children: dict[tuple[str | None, str, int, int], Histogram] = {}

    def answered(self, request: CountedRequest, seconds: float) -> None:
        """A request is over."""
        self.in_flight -= 1
        method = request.method if request.method in METHODS else OTHER
        key = request.route, method, request.status, request.version
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._child(*key)
        child.observe(seconds, _exemplar(request.trace))
        if request.code is not None:
            self.errors[request.code,] = self.errors.get((request.code,), 0) + 1

    def opened(self, request: CountedRequest) -> None:
        """A request turns out to be a stream. A second call for the same request does nothing."""
        if not request.is_open_stream:
            request.is_open_stream = True
            self.in_flight -= 1
            self.streams_open += 1

    def streamed(self, request: CountedRequest, outcome: str, seconds: float) -> None:
        """A stream is over."""
        if request.is_open_stream:
            self.streams_open -= 1
        else:
            self.in_flight -= 1
        self._streams.labels(request.route or "none", outcome).observe(seconds)
        if request.code is not None:
            self.errors[request.code,] = self.errors.get((request.code,), 0) + 1

    def staged(self, name: str, seconds: float) -> None:
        """A stage is over."""
        self._stages.labels(name).observe(seconds)

    def called(self, kind: str, outcome: str, seconds: float) -> None:
        """A call to the provider is over."""
        self._calls.labels(kind, outcome).observe(seconds)

    def _child(self, route: str | None, method: str, status: int, version: int) -> Histogram:
        return self._requests.labels(route or "none", method, str(status), str(version))

    def _histogram(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        self.labels[name] = tuple(labels)
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)


def _exemplar(trace: Any) -> dict[str, str] | None:
    """The ids of a request's trace, if it is recorded: others cannot be looked up."""
    return None if trace.span is None else {"trace_id": trace.id, "span_id": trace.span_id}
