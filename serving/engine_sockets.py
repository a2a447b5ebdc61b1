"""engineio's sockets with bounds: what goes out passes an outbox, or a queue with bounds where the client polls; what a client
gets wrong ends that client alone.

This module and `serving.engine_server` are the only ones that use private names of python-engineio. `check_versions` compares
the installed versions with those whose names these are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

import gevent
from engineio import packet as packets
from engineio.exceptions import EngineIOError, QueueEmpty
from engineio.packet import Packet
from engineio.payload import Payload
from engineio.socket import Socket

from serving.link_bounds import CODES, Allowance
from serving.messages import Message
from serving.packet_queue import PacketQueue
from serving.parking import CONNECTION
from serving.strict_packets import InvalidPacket
from serving.websocket import Ended, WebSocket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from serving.engine_server import EngineServer

POLL_PACKETS: Final = 16
"""Of one answer: python-engineio's client refuses more."""

UPGRADE_POLL_S: Final = 0.1
"""Before a poll in the middle of an upgrade is answered with nothing, as Node's server does."""


class BoundedSocket(Socket):  # type: ignore[misc]
    """A client of Engine.IO: what it is sent, and how it ends. engineio makes it; `adopt` is called once it is of this class.

    websocket   where it is connected by one, else None: it polls
    finishes_at when it ends although nobody takes its last message; None: it goes on
    reason      why it ended, for the disconnect handler
    """

    server: EngineServer
    queue: PacketQueue
    websocket: WebSocket | None = None
    candidate: WebSocket | None = None
    candidate_until = finishes_at = lonely_since = None  # type: float | None
    is_polled = False
    reason: str

    def adopt(self) -> None:
        """Become a socket with bounds, before anything was sent."""
        self.allowance = Allowance(self.server.bounds, self.server.now)
        self.reason = self.server.reason.TRANSPORT_CLOSE
        self.schedule_ping()

    @property
    def is_finishing(self) -> bool:
        return self.finishes_at is not None

    def send(self, pkt: Packet) -> None:
        self._put(pkt, None)

    def post(self, frame: bytes, pkt: Packet, key: Hashable | None) -> bool:
        """Send a message that was encoded once for all clients. Returns False where one is lost to this client."""
        if self.websocket is not None:
            return self.websocket.outbox.post(frame, key)
        return self._put(pkt, key)

    def _put(self, pkt: Packet, key: Hashable | None) -> bool:
        if self.websocket is not None:
            return self.websocket.send_text(pkt.encode(), key)
        if self.is_finishing or self.closed:
            return False
        is_kept = self.queue.put(pkt, key)
        bounds = self.server.bounds.outbox
        if self.queue.size > bounds.bytes or len(self.queue) > bounds.messages:
            self.server.end(self.sid, "slow")
            return False
        return is_kept

    def schedule_ping(self) -> None:
        """The client has answered the last ping, or is new: the next one is due in `ping_interval`."""
        self.last_ping: float | None = None
        self.ping_due: float = self.server.now() + self.server.ping_interval

    def check_ping_timeout(self) -> bool:
        return not self.closed

    def finish(self, last: Message | None, code: int, reason: str) -> None:
        """Send the last message and end: by a close frame, or with the answer of the poll that takes it."""
        if self.closed or self.is_finishing:
            return
        self.reason = self.server.reason.SERVER_DISCONNECT
        if self.websocket is not None:
            self.websocket.finish(b"" if last is None else last.frame, code, reason)
            self.finishes_at = self.websocket.ends_at
            return
        self.queue.clear()
        if last is not None:
            self.queue.put(last.packet)
        self.queue.put(Packet(packets.CLOSE))
        self.finishes_at = self.server.now() + self.server.bounds.close_s

    def drop(self, reason: str) -> None:
        """End now. The greenlet that reads a WebSocket sees it, and cleans up."""
        self.reason = reason
        if self.candidate is not None:
            self.candidate.drop()
        if self.websocket is not None:
            self.websocket.drop()
        else:
            self.leave(reason)

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """Close as engineio does, and end the WebSocket as well."""
        super().close(wait=False, abort=abort, reason=reason)
        if self.websocket is not None:
            self.websocket.finish(b"", 1000, "")
            self.finishes_at = self.finishes_at or self.websocket.ends_at

    def leave(self, reason: str) -> None:
        """Close, and be forgotten."""
        self.close(abort=True, reason=reason)
        self.server.sockets.pop(self.sid, None)

    def look(self, now: float) -> None:
        """What is due once a second: pings, and ends."""
        if self.finishes_at is not None and now >= self.finishes_at:
            self.drop(self.reason)
        elif self.closed and self.websocket is None:
            self.server.sockets.pop(self.sid, None)
        elif not self.is_finishing:
            self._look_at_upgrade(now)
            self._look_at_namespace(now)
            self._look_at_pings(now)

    def _look_at_upgrade(self, now: float) -> None:
        if self.candidate is not None and self.candidate_until is not None and now >= self.candidate_until:
            self.candidate.drop()

    def _look_at_namespace(self, now: float) -> None:
        if self.server.has_joined(self.sid):
            self.lonely_since = None
        elif self.lonely_since is None:
            self.lonely_since = now
        elif now - self.lonely_since >= self.server.bounds.connect_s:
            self.server.end(self.sid, "idle")

    def _look_at_pings(self, now: float) -> None:
        if self.last_ping is None:
            if now >= self.ping_due:
                self.last_ping = now
                self.send(PING)
        elif now - self.last_ping > self.server.ping_timeout:
            self.drop(self.server.reason.PING_TIMEOUT)


class EngineSocket(BoundedSocket):
    """A client of Engine.IO: what it sends, by long polling and by a WebSocket."""

    def receive_text(self, text: str) -> None:
        """One packet of the client. Raises Ended where it is none that a client sends."""
        try:
            pkt = Packet(encoded_packet=text)
            if pkt.packet_type == packets.MESSAGE and not (isinstance(pkt.data, str) and pkt.data):
                raise InvalidPacket("it is no Socket.IO packet")
        except (Exception, RecursionError) as exc:
            raise Ended("invalid_message") from exc
        self.receive_packet(pkt)

    def receive_packet(self, pkt: Packet) -> None:
        if self.is_finishing or self.closed:
            return
        try:
            if pkt.packet_type == packets.CLOSE:
                self._close_transport()
            else:
                self.receive(pkt)
        except (InvalidPacket, EngineIOError) as exc:
            raise Ended("invalid_message") from exc

    def _close_transport(self) -> None:
        """The client closes its transport, as client libraries do by long polling when a poll has failed, and comes back. One
        that leaves for good has left the namespace before (Socket.IO's DISCONNECT packet)."""
        self.close(abort=True, reason=self.server.reason.TRANSPORT_CLOSE)

    def handle_post_request(self, environ: WSGIEnvironment) -> None:
        """The packets that a polling client sends; what is wrong with them ends it, in place of a trace."""
        try:
            body = environ["wsgi.input"].read(_length_of(environ, self.server.max_http_buffer_size))
            received = Payload(encoded_payload=body.decode()).packets
        except (Exception, RecursionError) as exc:
            raise EngineIOError("the body holds no packets") from exc
        if not received and not self.allowance.spend():
            self.server.end(self.sid, "too_many_messages")
        for pkt in received:
            if not self._take(pkt):
                return

    def _take(self, pkt: Packet) -> bool:
        try:
            if not self.allowance.spend():
                raise Ended("too_many_messages")
            if pkt.packet_type == packets.MESSAGE and not (isinstance(pkt.data, str) and pkt.data):
                raise Ended("invalid_message")
            self.receive_packet(pkt)
        except Ended as ended:
            self.server.end(self.sid, str(ended))
            return False
        return True

    def handle_get_request(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        """A poll, one at a time; or the handshake of a WebSocket, which lasts as long as that."""
        if is_upgrade(environ):
            return self._upgrade_websocket(environ, start_response)
        if self.is_polled:
            raise EngineIOError("this client polls already")
        self.is_polled = True
        try:
            return self._poll_once()
        finally:
            self.is_polled = False

    def _poll_once(self) -> list[Packet]:
        if self.upgrading or self.upgraded:
            gevent.sleep(UPGRADE_POLL_S)
            return [Packet(packets.NOOP)]
        waiting = self.poll()
        if not self.queue:
            if self.is_finishing:
                self.leave(self.reason)
            self._tell_drained()
        return waiting

    def poll(self) -> list[Packet]:
        """Wait for what there is to send, and take POLL_PACKETS at most; nothing where the client is closed. Raises QueueEmpty
        after the time in which a ping was due."""
        try:
            packet = self.queue.get(timeout=self.server.ping_interval + self.server.ping_timeout)
        except Empty:
            raise QueueEmpty from None
        waiting: list[Packet] = []
        while packet is not None:
            waiting.append(packet)
            if not self.queue or len(waiting) == POLL_PACKETS:
                return waiting
            packet = self.queue.get(block=False)
        if waiting:
            self.queue.put(None)
        return waiting

    def _tell_drained(self) -> None:
        if self.queue.has_replaced and not self.is_finishing:
            self.queue.has_replaced = False
            self.server.on_drained(self.sid)

    def _upgrade_websocket(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        """Serve a WebSocket until it ends. Raises StopIteration then, so that the worker ends the connection."""
        if self.upgraded or self.candidate is not None:
            return self.server._bad_request("This client has a WebSocket already, or is about to have one.")
        connection = environ[CONNECTION]
        parts = (self.allowance, partial(self.server.end_slow, self.sid), partial(self.server.on_drained, self.sid))
        websocket = WebSocket(connection, self.server.bounds, self.server.counters, *parts, self.server.now)
        try:
            websocket.open(environ["HTTP_SEC_WEBSOCKET_KEY"])
            self._serve(websocket)
        except OSError:
            pass
        finally:
            websocket.end()
            with self.server.turns:
                self._end_websocket(websocket)
        websocket.linger()
        raise StopIteration

    def _end_websocket(self, websocket: WebSocket) -> None:
        self.candidate = None
        if self.websocket is websocket or not self.connected:
            self.leave(self.reason)
            self.websocket = None

    def _serve(self, websocket: WebSocket) -> None:
        texts = websocket.messages()
        try:
            if self.connected and not self._probe(websocket, texts):
                return
            self._attach(websocket)
            for text in texts:
                self.receive_text(text)
        except Ended as ended:
            if self.websocket is websocket:
                self.server.end(self.sid, str(ended))
            else:
                websocket.finish(b"", CODES[str(ended)], str(ended))
            websocket.drain()

    def _probe(self, websocket: WebSocket, texts: Iterable[str]) -> bool:
        """The steps of an upgrade; False: it does not come about, and the client goes on polling."""
        steps = iter(texts)
        self.candidate, self.candidate_until = websocket, self.server.now() + self.server.bounds.upgrade_s
        if next(steps, None) != "2probe":
            return False
        self.upgrading = True
        try:
            websocket.send_text("3probe")
            self.queue.put(Packet(packets.NOOP))
            return next(steps, None) == "5" and not self.closed
        finally:
            self.upgrading = False
            self.candidate = None

    def _attach(self, websocket: WebSocket) -> None:
        """From now on everything goes through the WebSocket, what waits for a poll first."""
        self.websocket = websocket
        self.connected = self.upgraded = True
        for _, pkt in self.queue.take():
            if pkt is not None and pkt.packet_type not in (packets.NOOP, packets.CLOSE):
                websocket.send_text(pkt.encode())
        if self.is_finishing:
            websocket.finish(b"", 1013, "")
            self.finishes_at = websocket.ends_at
        self._tell_drained()


PING: Final = Packet(packets.PING)


def is_upgrade(environ: WSGIEnvironment) -> bool:
    """Whether a request asks for a WebSocket, as engineio reads it."""
    options = environ.get("HTTP_CONNECTION", "").lower().split(",")
    return environ.get("HTTP_UPGRADE", "").lower() == "websocket" and "upgrade" in (
        option.strip() for option in options
    )


def _length_of(environ: WSGIEnvironment, most: int) -> int:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > most:
        raise EngineIOError("the body is too long")
    return length
