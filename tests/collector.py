"""A collector of traces on loopback: speaks OTLP over HTTP, decodes with the protocol's own package, misbehaves when told."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.waiting import PATIENCE_S


@dataclass(frozen=True)
class Seen:
    """A span as it arrived. Ids as hex digits, times in seconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    began: float
    seconds: float
    failed: bool
    attributes: dict[str, Any]
    links: Sequence[str]
    events: Sequence[str]
    state: str
    service: dict[str, Any]


@dataclass
class Collector:
    """What arrived. `mood`: ok, failing (503), slow (a second each), silent (never answers). `exports`: the requests so far."""

    address: str = ""
    mood: str = "ok"
    exports: int = 0
    raw: list[bytes] = field(default_factory=list)
    spans: list[Seen] = field(default_factory=list)
    freed: threading.Event = field(default_factory=threading.Event)

    def take(self, body: bytes) -> None:
        self.raw.append(body)
        found = ExportTraceServiceRequest.FromString(body)
        for resource in found.resource_spans:
            service = _attributes(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_seen(span, service) for span in scope.spans]

    def wait(self, enough: Callable[[list[Seen]], object]) -> list[Seen]:
        """Everything, once `enough`."""
        ends = time.monotonic() + PATIENCE_S
        while not enough(self.spans):
            assert time.monotonic() < ends, [(span.name, span.attributes) for span in self.spans]
            time.sleep(0.02)
        return list(self.spans)

    def roots(self) -> list[Seen]:
        """Spans whose parent is not here."""
        ids = {span.id for span in self.spans}
        return [span for span in self.spans if span.parent not in ids]

    def tree(self, root: Seen) -> tuple[Any, ...]:
        """(name, children...), children in the order of their beginning."""
        inside = sorted((span for span in self.spans if span.parent == root.id), key=lambda span: span.began)
        return (root.name, *(self.tree(span) for span in inside))

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]


def _attributes(found: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in found}


def _seen(span: Any, service: dict[str, Any]) -> Seen:
    return Seen(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        began=span.start_time_unix_nano / 1e9,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
        links=[link.span_id.hex() for link in span.links],
        events=[str(_attributes(event.attributes).get("exception.type", event.name)) for event in span.events],
        state=span.trace_state,
        service=service,
    )


@contextmanager
def collecting(mood: str = "ok") -> Iterator[Collector]:
    """A collector that runs."""
    collector = Collector(mood=mood)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.exports += 1
            if collector.mood == "silent":
                collector.freed.wait(30)
                return
            if collector.mood == "slow":
                collector.freed.wait(1)
            if collector.mood == "failing":
                self.send_error(503)
                return
            assert self.path == "/v1/traces"
            collector.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector.address = f"http://127.0.0.1:{server.server_address[1]}"
    running = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    running.start()
    try:
        yield collector
    finally:
        collector.freed.set()
        server.shutdown()
        server.server_close()
        running.join()
