"""The simulated provider's HTTP server on loopback.

It answers from a transport and injects faults on command: refusals, cut and slow responses, broken rows, plans. It never
leaves the machine and serves nothing but the transport's own answers and its faults. The loop that accepts connections never
waits: a connection that is held is held on its own thread, until the fault is cleared.
"""

from __future__ import annotations

import os
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from app.clock import REAL_TIME, Clock, wall_clock
from app.errors import PredictError
from app.market.feed_transport import AGGREGATES
from app.market.polygon import Reply, Transport
from app.simulator.faults import FAULTS, UNKNOWN_KEY, ActiveFault, FaultHit, active_fault, fault_of_query
from app.simulator.messages import HttpResponse, ReceivedCall, response_of, send
from app.simulator.plans import PLANS

CONTROL = "/_fault"
CLOSE_WITHIN_S = 5.0


class PolygonSimulator:
    """Polygon on loopback. As a context manager it serves from enter to exit, on threads of its own.

    key: the only one that it accepts, in the header or as apiKey; None: it accepts any. now: the seconds of
    `ReceivedCall.at`. plan, clock: what it refuses, by the New York day of that clock; the delay of the bars is the
    transport's. Raises ValueError for a plan that does not exist or needs a clock.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        key: str | None = None,
        port: int = 0,
        now: Callable[[], float] = REAL_TIME.now,
        plan: str = "advanced",
        clock: Clock | None = None,
    ) -> None:
        if plan not in PLANS:
            raise ValueError(f"no plan {plan}; there are {', '.join(PLANS)}")
        if plan == "basic" and clock is None:
            raise ValueError("the basic plan needs a clock: it ends yesterday")
        self._transport, self._key, self._now = transport, key, now
        self._terms, self._clock = PLANS[plan], clock
        self._lock = threading.Lock()
        self._active: ActiveFault | None = None
        self._fault_ended = threading.Event()
        self._listener = _Listener(self, port)
        self.address = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self.calls: list[ReceivedCall] = []

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def inject_fault(self, name: str, *, only: str = "", times: int | None = None, **options: float) -> None:
        """Injects the fault `name` from now on, in place of any fault before. `only`: a part of the paths that it affects;
        `times`: after how many calls it ends. Raises ValueError, which names the faults or the options that exist."""
        self.activate(active_fault(name, only, times, options))

    def activate(self, fault: ActiveFault) -> None:
        """Injects `fault` from now on, in place of any fault before."""
        with self._lock:
            self._active = fault

    def clear_fault(self) -> None:
        """Ends the fault. What `slow`, `silence` or `trickle` holds gets the rest of its response now."""
        with self._lock:
            self._active = None
            self._fault_ended.set()
            self._fault_ended = threading.Event()

    def active_fault(self) -> dict[str, Any] | None:
        """Returns the active fault with what is left of it; None without one."""
        with self._lock:
            return None if self._active is None else asdict(self._active)

    def close(self) -> None:
        """Stops listening and drops every connection; a held one gets no further byte."""
        self._listener.stop()
        self.clear_fault()
        self._listener.wait_for_connections()

    def provider_time(self) -> datetime:
        """Returns the moment of the provider's clock."""
        return (self._clock or wall_clock)()

    def respond(
        self, path: str, query: str, authorization: str | None, traceparent: str | None = None
    ) -> tuple[HttpResponse, FaultHit | None]:
        """Returns the response to a request, and the fault that says how to send it."""
        with self._lock:
            call = ReceivedCall(self._now(), path, query, authorization, traceparent, self.provider_time())
            self.calls.append(call)
            hit = self._hit(path)
        reply = self._reply(call)
        return (response_of(reply) if hit is None else hit.fault.response(reply, hit.options, call)), hit

    def _hit(self, path: str) -> FaultHit | None:
        active = self._active
        if active is None or active.only not in path or not FAULTS[active.fault].affects(path):
            return None
        if active.times is not None:
            active.times -= 1
            self._active = active if active.times else None
        return FaultHit(FAULTS[active.fault], active.options, self._fault_ended)

    def _reply(self, call: ReceivedCall) -> Reply:
        params = dict(parse_qsl(call.query))
        if self._key is not None and not self._accepts(call.authorization, params.get("apiKey")):
            return UNKNOWN_KEY
        try:
            reply = self._terms.refusal(call.path, self._clock) or self._transport(call.path, params)
        except PredictError as exc:
            return Reply(500, {"status": "ERROR", "error": exc.message})
        if self._terms.is_delayed and reply.status == 200 and AGGREGATES.fullmatch(call.path):
            return reply._replace(body={**reply.body, "status": "DELAYED"})
        return reply

    def _accepts(self, authorization: str | None, parameter: str | None) -> bool:
        return authorization == f"Bearer {self._key}" or (authorization is None and parameter == self._key)


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, each for a thread of its own, and knows those that are open."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, simulator: PolygonSimulator, port: int) -> None:
        self.simulator = simulator
        self._thread: threading.Thread | None = None
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="polygon-simulator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()
        with self._changed:
            for connection in self._open:
                _shut_down(connection)

    def wait_for_connections(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._open, CLOSE_WITHIN_S)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports an error of the simulator; a client that has gone is none."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One client's connection: reads requests and sends responses."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    _hit: FaultHit | None = None

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == CONTROL:
            faults = {name: {"help": fault.help, "options": dict(fault.options)} for name, fault in FAULTS.items()}
            self._send_json({"on": self.server.simulator.active_fault(), "faults": faults})
            return
        authorization = self.headers.get("Authorization")
        trace = self.headers.get("traceparent")
        response, self._hit = self.server.simulator.respond(parts.path, parts.query, authorization, trace)
        try:
            if self._hit is None:
                send(self, response, {})
            else:
                self._hit.fault.send(self, response, self._hit.options)
        except OSError:
            self.close_connection = True

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        try:
            self.server.simulator.activate(fault_of_query(parts.path.removeprefix(f"{CONTROL}/"), parts.query))
        except ValueError as exc:
            self._send_json({"error": str(exc), "faults": list(FAULTS)}, HTTPStatus.BAD_REQUEST)
            return
        self._send_json({"on": self.server.simulator.active_fault()})

    def do_DELETE(self) -> None:
        if urlsplit(self.path).path != CONTROL:
            self._send_json({"error": f"only {CONTROL} can be deleted"}, HTTPStatus.NOT_FOUND)
            return
        self.server.simulator.clear_fault()
        self._send_json({"on": None})

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: the requests are in `calls`."""

    def encode(self, response: HttpResponse) -> bytes:
        at = self.server.simulator.provider_time().timestamp() + response.skew_s
        head = [
            f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}",
            f"Date: {formatdate(at, usegmt=True)}",
            f"Content-Length: {len(response.body)}",
            *(f"{name}: {value}" for name, value in response.headers),
        ]
        return "\r\n".join([*head, "", ""]).encode() + response.body

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def wait(self, seconds: float | None) -> bool:
        return self._hit is not None and self._hit.ended.wait(seconds)

    def close_after_write(self) -> None:
        self.close_connection = True

    def reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _send_json(self, body: Any, status: int = HTTPStatus.OK) -> None:
        send(self, response_of(Reply(status, body)), {})


def _shut_down(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
