"""The fast path: answers that may be given again are given again below Flask, through the same limits.

A route says so by setting `exchange.keep`. Kept bytes end hard: at the moment that it names, and at any change of what the core
knows of its tickers (ruling A1).
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from middleware.limiting import Limits
from middleware.request_context import ENVIRON_KEY, Headers, Keep, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_ANSWERS = 256
MAX_BYTES = 16 << 20
MAX_QUERY = 512
FRESH, UNCHANGED = "200 OK", "304 Not Modified"
Address = tuple[int, str, str]
Revision = Callable[[tuple[str, ...]], int]
"""Counts the changes of what is known of some tickers."""


class Kept(NamedTuple):
    """An answer, and for how long it may be given again."""

    keep: Keep
    route: str | None
    group: str
    content_type: str
    etag: str
    body: bytes

    def is_good(self, now: float, revision: Revision) -> bool:
        keep = self.keep
        return keep.made <= now < keep.until and revision(keep.tickers) == keep.revision

    def give(self, environ: WSGIEnvironment, start_response: StartResponse, now: float) -> list[bytes]:
        """The answer, or that it is unchanged."""
        left = max(0, int((self.keep.until - now) / self.keep.speed))
        headers = [("ETag", self.etag), ("Cache-Control", f"private, max-age={left}")]
        known = environ.get("HTTP_IF_NONE_MATCH")
        if known is not None and _matches(known, self.etag):
            start_response(UNCHANGED, headers)
            return []
        headers += [("Content-Type", self.content_type), ("Content-Length", str(len(self.body)))]
        start_response(FRESH, headers)
        return [self.body] if environ["REQUEST_METHOD"] == "GET" else []


class Answers:
    """The answers kept, by version, path and query; the ones used longest ago go first. Safe between threads. `given`: how
    many were given again (`hit`), and made to be kept (`miss`)."""

    def __init__(self, max_answers: int = MAX_ANSWERS, max_bytes: int = MAX_BYTES) -> None:
        self._max_answers = max_answers
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[Address, Kept] = OrderedDict()
        self.bytes = 0
        self.given: Counter[tuple[str, ...]] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, address: Address) -> Kept | None:
        kept = self._kept.get(address)
        if kept is not None:
            with suppress(KeyError):  # dropped just now
                self._kept.move_to_end(address)
        return kept

    def put(self, address: Address, kept: Kept) -> None:
        with self._lock:
            self._drop(address)
            self._kept[address] = kept
            self.bytes += len(kept.body)
            while len(self._kept) > self._max_answers or self.bytes > self._max_bytes:
                self._drop(next(iter(self._kept)))

    def _drop(self, address: Address) -> None:
        gone = self._kept.pop(address, None)
        if gone is not None:
            self.bytes -= len(gone.body)


class Keeping:
    """The layer. `now()`: market time, seconds since 1970; `revision`: of the core."""

    def __init__(
        self,
        app: WSGIApplication,
        answers: Answers,
        limits: Limits,
        now: Callable[[], float],
        revision: Revision,
    ) -> None:
        self._app = app
        self._answers = answers
        self._limits = limits
        self._now = now
        self._revision = revision

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        context: RequestContext = environ[ENVIRON_KEY]
        address = (context.version, environ["PATH_INFO"], environ["QUERY_STRING"])
        kept, now = self._answers.get(address), self._now()
        if kept is None or not kept.is_good(now, self._revision):
            return self._ask(address, environ, start_response)
        context.route, context.group = kept.route, kept.group
        self._limits.count(context, kept.group)
        context.cache = "kept"
        self._answers.given["hit",] += 1
        return kept.give(environ, start_response, now)

    def _ask(self, address: Address, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Flask's answer, kept if it may be. HEAD is asked as GET, so that it says the same."""
        started: list[Any] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            started[:] = [status, headers, exc_info]
            return _no_writing

        asked_as = environ if environ["REQUEST_METHOD"] == "GET" else {**environ, "REQUEST_METHOD": "GET"}
        body = self._app(asked_as, start)
        context: RequestContext = environ[ENVIRON_KEY]
        if context.keep is None or started[0] != FRESH:
            start_response(*started)
            return body if environ["REQUEST_METHOD"] == "GET" else _unsent(body)
        kept = _kept(context, context.keep, started[1], _whole(body))
        context.cache = "made"
        self._answers.given["miss",] += 1
        now = self._now()
        is_good = kept.is_good(now, self._revision)
        if is_good and len(address[2]) <= MAX_QUERY:
            self._answers.put(address, kept)
        return kept.give(environ, start_response, now if is_good else context.keep.until)


def _kept(context: RequestContext, keep: Keep, headers: Headers, body: bytes) -> Kept:
    content_type = next(value for name, value in headers if name == "Content-Type")
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return Kept(keep, context.route, context.group or "other", content_type, etag, body)


def _whole(body: Iterable[bytes]) -> bytes:
    try:
        return b"".join(body)
    finally:
        _unsent(body)


def _unsent(body: Iterable[bytes]) -> list[bytes]:
    close = getattr(body, "close", None)
    if close is not None:
        close()
    return []


def _matches(known: str, etag: str) -> bool:
    """Whether `If-None-Match` names the tag, weakly compared (RFC 9110, 13.1.2)."""
    return known.strip() == "*" or any(part.strip().removeprefix("W/") == etag for part in known.split(","))


def _no_writing(_: bytes) -> object:
    raise RuntimeError("bodies are returned here, not written")
