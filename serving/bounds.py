"""The bounds of one connection: times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one client may take.

    place_s         for so long at least a connection keeps its place before a new one may take it
    head_s          from the first byte of a request (of a new connection: from its start) to the end of its headers
    head_bytes      request line and headers together
    idle_s          between an answer and the next request on the same connection
    body_s          from the end of the headers to the end of the body
    body_bytes      a body as it is sent, chunk sizes and extensions included; the body itself is bounded by the routes
    body_ahead      the largest body of known length that is waited for before the app is called
    body_chunks     pieces of a chunked body
    chunks_a_turn   pieces that are read before other connections have a turn
    write_s         a client that is behind and takes no byte for so long is dropped
    write_rate      and so is one that takes fewer bytes a second than this, on average, beyond `write_s`
    send_buffer     what the kernel keeps for a client that does not read; Linux doubles it
    linger_s        after the last answer of a connection: time for the client to end it
    taken_s         the longest time that a client has to take the end of its last answer, however much that is
    stream_stop_s   after the stopping event: time for a stream to end by itself; it is interrupted then
    drop_s          after the stopping event: time for requests to arrive, and for clients to take what was written
    """

    place_s: float = 1.0
    head_s: float = 5.0
    head_bytes: int = 64 << 10
    idle_s: float = 75.0
    body_s: float = 10.0
    body_bytes: int = 2 << 20
    body_ahead: int = 16 << 10
    body_chunks: int = 8192
    chunks_a_turn: int = 64
    write_s: float = 10.0
    write_rate: int = 4096
    send_buffer: int = 128 << 10
    linger_s: float = 2.0
    taken_s: float = 75.0
    stream_stop_s: float = 1.0
    drop_s: float = 2.0

    @property
    def backlog(self) -> int:
        """Bytes that a client may have left to take without being behind."""
        return self.send_buffer // 4

    def taking_s(self, unsent: int) -> float:
        """How long a client may take for so many bytes at the end of its last answer."""
        return min(self.write_s + unsent / self.write_rate, self.taken_s)

    def stopping(self) -> Bounds:
        """The bounds of a process that stops."""
        return replace(
            self,
            head_s=min(self.head_s, self.drop_s),
            idle_s=0.0,
            body_s=min(self.body_s, self.drop_s),
            write_s=min(self.write_s, self.drop_s),
            linger_s=min(self.linger_s, self.stream_stop_s),
            taken_s=self.drop_s,
        )
