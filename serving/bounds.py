"""The bounds of one connection: times in seconds, sizes in bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one client may take.

    place_s         for so long at least a connection keeps its place before a new one may take it
    head_s          from the first byte of a request (of a new connection: from its start) to the end of its headers
    head_bytes      request line and headers together
    idle_s          between an answer and the next request on the same connection
    body_s          from the end of the headers to the end of the body
    body_bytes      a body as it is sent, chunk sizes and extensions included; the body itself is bounded by the routes
    body_chunks     pieces of a chunked body
    chunks_a_turn   pieces that are read before other connections have a turn
    write_s         a client that takes no byte of its answer for so long is dropped
    write_rate      and so is one that takes fewer bytes a second than this, on average, beyond `write_s`
    send_buffer     what the kernel keeps for a client that does not read; Linux doubles it
    linger_s        after an answer whose request was not read to its end: time for the client to take the answer
    linger_reads    how often unread bytes are discarded meanwhile, 64 KiB at most each time
    stream_stop_s   after the stopping event: time for a stream to end by itself; it is interrupted then
    drop_s          after the stopping event: time after which a client that does not read, or a stream, is dropped
    """

    place_s: float = 1.0
    head_s: float = 5.0
    head_bytes: int = 64 << 10
    idle_s: float = 75.0
    body_s: float = 10.0
    body_bytes: int = 2 << 20
    body_chunks: int = 8192
    chunks_a_turn: int = 64
    write_s: float = 10.0
    write_rate: int = 4096
    send_buffer: int = 128 << 10
    linger_s: float = 2.0
    linger_reads: int = 40
    stream_stop_s: float = 1.0
    drop_s: float = 2.0
