"""One ticker followed live, over as many connections as it takes."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

import requests

from predict_client.errors import ApiError, Stale
from predict_client.lines import Lines, Lost
from predict_client.responses import checked

HEARTBEAT_S = 15.0
"""Seconds within which the server promises a line, until one of them says otherwise."""

FIRST_EVENT_S = 45.0
"""Seconds that the first line of all may take: a server that has just started first fetches bars, for up to 30 s."""

LONGEST_PROMISE_S = 300.0
SHORTEST_BACKOFF_S, FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 0.5, 5.0
Connect = Callable[[str | None, float], requests.Response]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a ticker. id: its place in the sequence of the ticker, from which `follow` resumes; kind: what
    it is about, for instance `snapshot` or `signal`; data: the whole line."""

    id: str
    kind: str
    data: dict[str, Any]


class Follow(Iterator[Event]):
    """The events of one ticker. A connection that breaks, or that the server ends, is made anew and goes on behind the last
    event. Raises Stale if nothing comes for longer than the server promised, however often it was asked; the next call goes
    on. Raises ApiError if the server refuses for good, and ProtocolError if it is no predict server."""

    def __init__(
        self, ticker: str, connect: Connect, *, after: str | None, grace_s: float, on_connection: Callable[[str], None]
    ) -> None:
        """connect(after, wait_s): asks for the events behind an id, and waits at most so many seconds for bytes;
        on_connection(text): is told when the connection ends, when attempts begin to fail in another way, and when it is
        back."""
        self.ticker = ticker
        self.after = after
        """The id of the last event that came; None before the first."""
        self._connect = connect
        self._grace_s = grace_s
        self._promised_s = HEARTBEAT_S
        self._lines: Lines | None = None
        self._lost: Lost | None = None
        self._on_connection = on_connection
        self._interruption: str | None = None
        self._failures = 0
        self._silent_since = self._not_before = 0.0
        self._closed = threading.Event()
        self._turn = threading.Lock()

    def __next__(self) -> Event:
        with self._turn:
            try:
                return self._next_event()
            except BaseException:  # a KeyboardInterrupt too: what was read by halves must not be gone on with
                self._drop()
                raise

    def __enter__(self) -> Follow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the events, and the connection. Any thread may call it; one that waits for the next event ends its loop."""
        self._closed.set()
        lines = self._lines
        if lines is not None:
            lines.interrupt()
        if self._turn.acquire(blocking=False):
            self._drop()
            self._turn.release()

    def _next_event(self) -> Event:
        self._silent_since = time.monotonic()
        while (line := self._wait_for_line()) is not None:
            event = self._heard(line)
            if event is not None:
                return event
        raise StopIteration

    def _wait_for_line(self) -> dict[str, Any] | None:
        """The next line of any connection; None once it is closed. Raises Stale."""
        while not self._closed.is_set():
            allowed_s = self._promised_s if self.after is not None else max(self._promised_s, FIRST_EVENT_S)
            deadline = self._silent_since + allowed_s + self._grace_s
            try:
                line = self._next_line(deadline)
            except Lost as exc:
                self._lost, line = exc, None
                self._back_off(exc.retry_after_s, exc.what_happened)
            if line is not None:
                return line
            if time.monotonic() >= deadline:
                raise Stale(self.ticker, time.monotonic() - self._silent_since, self.after) from self._lost
        return None

    def _next_line(self, deadline: float) -> dict[str, Any] | None:
        """The next object on the connection, which is made if there is none. None if the server may not be asked before the
        deadline. Raises Lost."""
        if self._lines is None:
            self._closed.wait(max(0.0, min(self._not_before, deadline) - time.monotonic()))
            if self._closed.is_set() or time.monotonic() >= deadline:
                return None
            self._lines = self._open(deadline - time.monotonic())
        if self._closed.is_set():
            return None
        return self._lines.next(deadline)

    def _open(self, wait_s: float) -> Lines:
        try:
            return Lines(checked(self._connect(self.after, wait_s)))
        except requests.RequestException as exc:
            raise Lost(str(exc), what_happened="the server does not answer") from exc
        except ApiError as exc:
            if exc.status < 500 and exc.status != 429:
                raise
            raise Lost(str(exc), exc.retry_after_s, f"the server answers {str(exc).rstrip('.')}") from exc

    def _heard(self, line: dict[str, Any]) -> Event | None:
        """The event that a line is. None for a heartbeat, and for what stands around the events: the stages of the state at the
        beginning, which the first event says again, and the first and last line of a connection."""
        if "kind" in line:
            self._promised_s = _promised_s(line, self._promised_s)
            self.after = (
                self.after if line["id"] is None else str(line["id"])
            )  # a heartbeat before the first event has none
        elif line.get("status") == "following":
            self._promised_s = float(line["heartbeat_seconds"])
        else:
            self._heed(line)
            return None
        self._failures, self._lost, self._silent_since = 0, None, time.monotonic()
        if self._interruption is not None:
            self._interruption = None
            self._on_connection("the connection is back")
        kind = line.get("kind")
        return Event(str(line["id"]), kind, line) if kind not in (None, "heartbeat") else None

    def _heed(self, line: dict[str, Any]) -> None:
        """Does what the last line of a connection asks for. Other lines ask for nothing."""
        if line.get("status") == "error":
            problem = line.get("problem") or {}
            if 400 <= problem.get("status", 500) < 500:
                raise ApiError(problem["status"], problem, None)
            self._back_off(None, f"the server has a fault ({problem.get('error_code', 'unknown')})")
        elif "retry_after_ms" in line:
            self.after = line.get("after") or self.after
            self._back_off(line["retry_after_ms"] / 1000, "the server ends the connection")

    def _back_off(self, asked_s: float | None, what_happened: str) -> None:
        """Ends the connection. The next one is made when the server asked for it, or else after a pause that doubles."""
        self._drop()
        longest = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        seconds = random.uniform(longest / 2, longest) if asked_s is None else max(asked_s, SHORTEST_BACKOFF_S)
        self._not_before = time.monotonic() + seconds
        if what_happened != self._interruption and not self._closed.is_set():
            self._interruption = what_happened
            self._on_connection(f"{what_happened}; it is asked again in {seconds:.1f} s")

    def _drop(self) -> None:
        """Ends the connection, and with it what was promised on it."""
        self._promised_s = HEARTBEAT_S
        lines, self._lines = self._lines, None
        if lines is not None:
            lines.close()


def _promised_s(line: dict[str, Any], otherwise: float) -> float:
    """Within how many seconds the next line comes, by the server's own clock."""
    with suppress(KeyError, TypeError, ValueError):
        promised = datetime.fromisoformat(line["next_by"]) - datetime.fromisoformat(line["server_time"])
        return min(max(promised.total_seconds(), 0.0), LONGEST_PROMISE_S)
    return otherwise
