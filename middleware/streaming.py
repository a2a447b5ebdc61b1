"""Bodies of answers, followed to their last byte, and streams. A route declares a stream by setting `exchange.stream`.

The head goes out at once, also where the first piece comes late. When the server stops, the stream ends in order: with the
bytes that it declared for this, behind its last whole piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from greenlet import GreenletExit


class Stream(Protocol):
    """What a route says of its stream. last: the bytes that end it when the server stops."""

    @property
    def last(self) -> bytes: ...


class Unending(NamedTuple):
    """A stream that says nothing when the server stops."""

    last: bytes = b""


class Stopping(Protocol):
    """The stopping event (`threading.Event`)."""

    def is_set(self) -> bool: ...


class Body:
    """An answer's bytes, followed to the last: `ended(error)` hears once that they are out, or what broke them off. A caller
    who leaves ends them too, without an error. pieces: what is sent, the body itself unless something is put around it."""

    def __init__(
        self,
        body: Iterable[bytes],
        ended: Callable[[BaseException | None], None],
        pieces: Iterator[bytes] | None = None,
    ) -> None:
        self._body = body
        self._pieces = iter(body) if pieces is None else pieces
        self._ended: Callable[[BaseException | None], None] | None = ended

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise
        except BaseException as exc:
            self._end(exc)
            raise

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as exc:
            self._end(exc)
            raise
        self._end(None)

    def _end(self, broken: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(broken)


class StreamBody(Body):
    """The pieces of a stream. `ended(outcome, error)` hears once how it ended: `ended` by itself, `stopped` with the server,
    `left` by its client (or dropped, as one who does not read), `broken` by an error."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        stream: Stream,
        stopping: Stopping,
        ended: Callable[[str, BaseException | None], None],
    ) -> None:
        self._outcome = "left"
        super().__init__(
            pieces,
            lambda broken: ended(self._outcome if broken is None else "broken", broken),
            self._framed(iter(pieces), stream.last, stopping),
        )

    def _framed(self, pieces: Iterator[bytes], last: bytes, stopping: Stopping) -> Iterator[bytes]:
        yield b""  # the server sends the head before the first piece is asked for
        try:
            for piece in pieces:
                yield piece
                if stopping.is_set():
                    break
        except GreenletExit:  # the worker interrupts a stream that waits while the server stops
            if not stopping.is_set():
                raise
        if stopping.is_set():
            yield last
        self._outcome = "stopped" if stopping.is_set() else "ended"
