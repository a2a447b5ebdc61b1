"""Response bodies that report when their last byte has been sent, and streams. A route declares a stream by setting
`stream` of its request context.

The head of a stream is sent at once, even if its first piece comes late. When the server stops, the stream ends with the
bytes that it declared for this, after its last whole piece.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import NamedTuple, Protocol

from greenlet import GreenletExit


class Stream(Protocol):
    """What a route declares of its stream. last: makes the bytes that end it when the server stops; wait: called behind an
    empty piece, before the next one is asked for."""

    @property
    def last(self) -> Callable[[], bytes]: ...
    @property
    def wait(self) -> Callable[[], None]: ...


def no_wait() -> None:
    pass


class Unending(NamedTuple):
    """A stream that sends no last bytes when the server stops."""

    last: Callable[[], bytes] = bytes
    wait: Callable[[], None] = no_wait


class Stopping(Protocol):
    """The stopping event (`threading.Event`)."""

    def is_set(self) -> bool: ...


class Body:
    """A response body that calls `ended(error)` once: when its last byte has been sent (None) or an error broke it off. A
    client that disconnects ends it without an error. pieces: what is sent, by default the body itself."""

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
            return self._next()
        except StopIteration:
            raise
        except BaseException as exc:
            self._end(exc)
            raise

    def _next(self) -> bytes:
        return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                close()
        except BaseException as exc:
            self._end(exc)
            raise
        self._end(None)

    def _end(self, error: BaseException | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(error)


class StreamBody(Body):
    """The pieces of a stream. It calls `ended(outcome, error)` once. outcome: `ended` by itself, `stopped` with the server,
    `left` by its client (or dropped because the client does not read), `broken` by an error."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        stream: Stream,
        stopping: Stopping,
        ended: Callable[[str, BaseException | None], None],
    ) -> None:
        self._outcome = "left"
        self._wait = stream.wait
        self._is_behind_empty = False
        self._framed_pieces = self._framed(iter(pieces), stream.last, stopping)
        super().__init__(
            pieces, lambda error: ended(self._outcome if error is None else "broken", error), self._framed_pieces
        )

    def _next(self) -> bytes:
        """The next piece. What waits for long waits here, and not in the generators, whose frames would lie on the stack."""
        if self._is_behind_empty:
            try:
                self._wait()
            except GreenletExit as interrupted:
                return self._framed_pieces.throw(interrupted)
        piece = next(self._pieces)
        self._is_behind_empty = not piece
        return piece

    def _framed(
        self, pieces: Iterator[bytes], last: Callable[[], bytes], stopping: Stopping
    ) -> Generator[bytes, None, None]:
        yield b""  # makes the server send the head before it asks for the first piece
        try:
            for piece in pieces:
                yield piece
                if stopping.is_set():
                    break
        except GreenletExit:  # the worker interrupts a stream that waits: its client has left, or the server stops
            if not stopping.is_set():
                return
        if stopping.is_set():
            yield last()
        self._outcome = "stopped" if stopping.is_set() else "ended"
