"""A crowd of clients of one server in one thread, which reads as fast as it can and checks every byte.

Events come in the order of their numbers and are the same for all: the first client that gets one parses it strictly, for each
other its bytes are compared with those of the first.
"""

from __future__ import annotations

import select
import socket
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.events import FIRST, HEAD, NAME

BUFFER_BYTES: Final = 1 << 20
CONNECT_S: Final = 60.0
DELIVER_S: Final = 20.0
COMPRESSION: Final = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
"""What browsers offer."""

EVENT: Final = b'42["%b",%b' % (NAME.encode(), HEAD)
TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
COMPRESSED: Final = 0xC1


class Broken(Exception):
    """A client got what it must not get, or was cut off."""


class Client:
    """One connection. at: events that it has had; rest: bytes of a message of which the end is missing."""

    __slots__ = ("at", "fd", "inflate", "is_switched", "is_there", "receive", "rest", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.receive = sock.recv_into
        self.at = 0
        self.rest = b""
        self.is_switched = self.is_there = False
        self.inflate: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Protocol:
    """How clients of a server talk. path: of the request, where `{sent}` is the number of events before; is_websocket,
    is_socket_io: what is spoken there; auth: the payload of the packet that connects to the namespace;
    arrival: the beginning of the message by which a client knows that it is told of events."""

    path: str = "/socket.io/?EIO=4&transport=websocket"
    is_websocket: bool = True
    is_socket_io: bool = True
    auth: str = '{"subscribe":"SPY"}'
    arrival: bytes = b"40{"

    def request(self, sent: int, *, compression: bool) -> bytes:
        """sent: how many events the server has sent before."""
        head = f"GET {self.path.format(sent=sent)} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        if self.is_websocket:
            head += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + (COMPRESSION if compression else "")
        return f"{head}\r\n".encode()


@dataclass(slots=True)
class Crowd:
    """The clients of the server at `port`. first: how many events the server has sent before; at_once: clients that connect
    at the same time.

    left    for each event that was triggered, how many clients have not had it
    stamps  when clients got events, `time.perf_counter`
    """

    port: int
    protocol: Protocol
    size: int
    first: int = 0
    compression: bool = False
    at_once: int = 64
    left: list[int] = field(default_factory=list)
    stamps: list[float] = field(default_factory=list)
    _frames: list[bytes] = field(default_factory=list)
    _clients: dict[int, Client] = field(default_factory=dict)
    _completed: int = 0
    _there: int = 0
    _epoll: select.epoll = field(default_factory=select.epoll)
    _buffer: bytearray = field(default_factory=lambda: bytearray(BUFFER_BYTES))

    def connect(self) -> None:
        """Until every client may be told of events. Raises Broken."""
        ends = time.monotonic() + CONNECT_S
        request = self.protocol.request(self.first, compression=self.compression)
        while self._there < self.size:
            while len(self._clients) < min(self.size, self._there + self.at_once):
                sock = socket.create_connection(("127.0.0.1", self.port), 30)
                sock.sendall(request)
                sock.setblocking(False)
                client = Client(sock)
                self._clients[client.fd] = client
                self._epoll.register(client.fd, select.EPOLLIN)
            self.pump(0.1)
            if time.monotonic() > ends:
                raise Broken(f"{self._there} of {self.size} clients were connected in {CONNECT_S:.0f} s")

    def close(self) -> None:
        self._epoll.close()
        for client in self._clients.values():
            client.sock.close()
        self._clients.clear()

    @property
    def delivered(self) -> int:
        """Deliveries so far."""
        return self.size * len(self.left) - sum(self.left)

    def triggered(self) -> None:
        """The server was told to send one more event."""
        self.left.append(self.size)

    @property
    def under_way(self) -> int:
        """Events that not every client has had."""
        left = self.left
        while self._completed < len(left) and not left[self._completed]:
            self._completed += 1
        return len(left) - self._completed

    def wait(self) -> None:
        """Until every client has had every event. Raises Broken."""
        ends = time.monotonic() + DELIVER_S
        while self.under_way:
            self.pump(0.1)
            if time.monotonic() > ends:
                raise Broken(f"{self.left[self._completed]} of {self.size} clients did not get an event")

    def pump_for(self, seconds: float) -> None:
        """Read what comes in so many seconds. Raises Broken."""
        ends = time.monotonic() + seconds
        while (left_s := ends - time.monotonic()) > 0:
            self.pump(left_s)

    def pump(self, timeout_s: float) -> int:
        """Read what has come. Waits for it for `timeout_s` at most. Returns how many clients got something. Raises Broken."""
        buffer, clients, frames, left = self._buffer, self._clients, self._frames, self.left
        stamp, now = self.stamps.append, time.perf_counter
        ready = self._epoll.poll(timeout_s, self.size)
        for fd, _ in ready:
            client = clients[fd]
            try:
                got = client.receive(buffer)
            except BlockingIOError:
                continue
            except OSError as exc:
                raise Broken(f"a client was cut off: {exc}") from exc
            at = client.at
            if at < len(frames) and got == len(frames[at]) and not client.rest and buffer.startswith(frames[at]):
                left[at] -= 1
                client.at = at + 1
                stamp(now())
            elif got:
                self._take(client, client.rest + bytes(memoryview(buffer)[:got]))
            else:
                raise Broken("the server ended a connection")
        return len(ready)

    def _take(self, client: Client, data: bytes) -> None:
        """What does not begin and end with one known event."""
        if not client.is_switched:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                client.rest = data
                return
            self._switch(client, head)
            data = rest
        if self.protocol.is_websocket:
            client.rest = self._take_frames(client, data)
        else:
            client.rest = self._take_chunks(client, data)

    def _switch(self, client: Client, head: bytes) -> None:
        status = head.split(b" ", 2)[1]
        if status != (b"101" if self.protocol.is_websocket else b"200"):
            raise Broken(f"the server answered {head[:200]!r}")
        client.is_switched = True
        if b"permessage-deflate" in head.lower():
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            client.inflate = lambda data: inflater.decompress(data + b"\0\0\xff\xff")
        if not self.protocol.is_socket_io:
            self._arrive(client)

    def _arrive(self, client: Client) -> None:
        client.is_there = True
        self._there += 1

    def _take_frames(self, client: Client, data: bytes) -> bytes:
        """Whole frames of a server (RFC 6455, 5.2). Returns what is left."""
        start = 0
        for start, end, first, header in frames(data):
            payload = data[start + header : end]
            if first == COMPRESSED and client.inflate is not None:
                payload = client.inflate(payload)
            elif first not in (TEXT, PING, PONG, CLOSE):
                raise Broken(f"no frame begins with {data[start : start + 16]!r}")
            self._hear(client, first, payload, data[start:end])
            start = end
        return data[start:]

    def _hear(self, client: Client, first: int, payload: bytes, whole: bytes) -> None:
        if first == CLOSE:
            raise Broken(f"the server closed a websocket: {payload!r}")
        if first == PING:
            client.sock.send(masked(PONG, payload))
        elif payload.startswith(EVENT):
            self._had(client, int(payload[len(EVENT) : len(EVENT) + 8]), whole)
        elif payload == b"2":
            client.sock.send(masked(TEXT, b"3"))
        elif payload.startswith(b"0{"):
            client.sock.send(masked(TEXT, b"40" + self.protocol.auth.encode()))
        elif payload.startswith(self.protocol.arrival):
            self._arrive(client)
        elif payload.startswith(b"44"):
            raise Broken(f"the server refused a client: {payload!r}")

    def _take_chunks(self, client: Client, data: bytes) -> bytes:
        """Whole chunks (RFC 9112, 7.1), each of them one or more lines. Returns what is left."""
        while True:
            size, end, rest = data.partition(b"\r\n")
            if not end or len(rest) < int(size, 16) + 2:
                return data
            length = int(size, 16)
            chunk, whole = rest[:length], data[: len(size) + 2 + length + 2]
            if not length or rest[length : length + 2] != b"\r\n":
                raise Broken(f"no chunk: {data[:80]!r}")
            if chunk.startswith(HEAD):
                self._had(client, int(chunk[len(HEAD) : len(HEAD) + 8]), whole)
            data = rest[length + 2 :]

    def _had(self, client: Client, number: int, whole: bytes) -> None:
        """A client has had an event. Raises Broken if it is not the next one, or not what the others got."""
        at = client.at
        if number - FIRST - self.first != at:
            raise Broken(f"a client got event {number - FIRST} in place of event {at + self.first}")
        if at == len(self._frames):
            self._frames.append(whole)
        elif whole != self._frames[at] and client.inflate is None:
            raise Broken(f"two clients got different bytes: {whole!r} and {self._frames[at]!r}")
        client.at = at + 1
        self.left[at] -= 1
        self.stamps.append(time.perf_counter())


def frames(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """The whole frames: where each starts and ends, its first byte, and the length of its header. Raises Broken."""
    start = 0
    while len(data) - start >= 2:
        first, length, header = data[start], data[start + 1], 2
        if length & 0x80:
            raise Broken(f"the server masked a frame: {data[start : start + 16]!r}")
        if length >= 126:
            header = 4 if length == 126 else 10
            length = int.from_bytes(data[start + 2 : start + header]) if len(data) - start >= header else len(data)
        end = start + header + length
        if end > len(data):
            return
        yield start, end, first, header
        start = end


def masked(first: int, payload: bytes) -> bytes:
    """A short frame of a client (RFC 6455, 5.3), with a mask that changes nothing."""
    assert len(payload) < 126
    return bytes((first, 0x80 | len(payload), 0, 0, 0, 0)) + payload


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
