"""The innermost layer before Flask: it answers from a cache of responses, through the same limits as every other request.

A route allows this by setting `cache_validity` of its request context. A cached response expires at the moment that the
validity names, and at any change of what the core knows of its tickers (ruling A1).
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from werkzeug.http import parse_etags, unquote_etag

from middleware.rate_limiting import RateLimits
from middleware.request_context import ENVIRON_KEY, CacheValidity, Headers, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MAX_RESPONSES = 256
MAX_BYTES = 16 << 20
MAX_QUERY = 512
OK, NOT_MODIFIED = "200 OK", "304 Not Modified"
CacheKey = tuple[int, str, str]
"""API version, path, query."""

Revision = Callable[[tuple[str, ...]], int]
"""A number that moves whenever what is known of one of the tickers changes."""


class CachedResponse(NamedTuple):
    """A response, and for how long it may be sent again."""

    validity: CacheValidity
    route: str | None
    group: str
    content_type: str
    etag: str
    body: bytes

    def is_fresh(self, now: float, revision: Revision) -> bool:
        """Whether it may be sent at `now`, market time in seconds since 1970."""
        validity = self.validity
        return validity.made_at <= now < validity.expires_at and revision(validity.tickers) == validity.revision

    def send(self, environ: WSGIEnvironment, start_response: StartResponse, now: float) -> list[bytes]:
        """The response, or 304 if the client has it (RFC 9110 13.1.2)."""
        max_age = max(0, int((self.validity.expires_at - now) / self.validity.clock_speed))
        headers = [("ETag", self.etag), ("Cache-Control", f"private, max-age={max_age}")]
        if_none_match = environ.get("HTTP_IF_NONE_MATCH")
        if if_none_match is not None and parse_etags(if_none_match).contains_weak(unquote_etag(self.etag)[0]):
            start_response(NOT_MODIFIED, headers)
            return []
        headers += [("Content-Type", self.content_type), ("Content-Length", str(len(self.body)))]
        start_response(OK, headers)
        return [self.body] if environ["REQUEST_METHOD"] == "GET" else []


class ResponseCache:
    """The cached responses by version, path and query; the least recently used ones are evicted. Safe between threads.
    `lookups`: how many requests found a response (`hit`), and how many made one that may be cached (`miss`)."""

    def __init__(self, max_responses: int = MAX_RESPONSES, max_bytes: int = MAX_BYTES) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._responses: OrderedDict[CacheKey, CachedResponse] = OrderedDict()
        self.bytes = 0
        self.lookups: Counter[tuple[str, ...]] = Counter()

    def __len__(self) -> int:
        return len(self._responses)

    def get(self, key: CacheKey) -> CachedResponse | None:
        response = self._responses.get(key)
        if response is not None:
            with suppress(KeyError):  # another thread evicted it just now
                self._responses.move_to_end(key)
        return response

    def put(self, key: CacheKey, response: CachedResponse) -> None:
        with self._lock:
            self._evict(key)
            self._responses[key] = response
            self.bytes += len(response.body)
            while len(self._responses) > self._max_responses or self.bytes > self._max_bytes:
                self._evict(next(iter(self._responses)))

    def _evict(self, key: CacheKey) -> None:
        evicted = self._responses.pop(key, None)
        if evicted is not None:
            self.bytes -= len(evicted.body)


class ResponseCacheMiddleware:
    """The layer. `clock()`: market time; `revision`: the core's."""

    def __init__(
        self,
        app: WSGIApplication,
        cache: ResponseCache,
        limits: RateLimits,
        clock: Callable[[], datetime],
        revision: Revision,
    ) -> None:
        self._app = app
        self._cache = cache
        self._limits = limits
        self._clock = clock
        self._revision = revision

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        context: RequestContext = environ[ENVIRON_KEY]
        key = (context.version, environ["PATH_INFO"], environ["QUERY_STRING"])
        cached, now = self._cache.get(key), self._clock().timestamp()
        if cached is None or not cached.is_fresh(now, self._revision):
            return self._call_app(key, environ, start_response)
        context.route, context.group = cached.route, cached.group
        self._limits.count(context, cached.group)
        context.cache = "kept"
        self._cache.lookups["hit",] += 1
        return cached.send(environ, start_response, now)

    def _call_app(self, key: CacheKey, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Flask's response, cached if its route allows that. Flask gets a HEAD as a GET, so that both have the same headers."""
        started: list[Any] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
            started[:] = [status, headers, exc_info]
            return _write

        get = environ if environ["REQUEST_METHOD"] == "GET" else {**environ, "REQUEST_METHOD": "GET"}
        body = self._app(get, start)
        context: RequestContext = environ[ENVIRON_KEY]
        if context.cache_validity is None or started[0] != OK:
            start_response(*started)
            return body if environ["REQUEST_METHOD"] == "GET" else _closed(body)
        response = _cacheable(context, context.cache_validity, started[1], _joined(body))
        context.cache = "made"
        self._cache.lookups["miss",] += 1
        now = self._clock().timestamp()
        is_fresh = response.is_fresh(now, self._revision)
        if is_fresh and len(key[2]) <= MAX_QUERY:
            self._cache.put(key, response)
        return response.send(environ, start_response, now if is_fresh else response.validity.expires_at)


def _cacheable(context: RequestContext, validity: CacheValidity, headers: Headers, body: bytes) -> CachedResponse:
    content_type = next(value for name, value in headers if name == "Content-Type")
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    return CachedResponse(validity, context.route, context.group or "other", content_type, etag, body)


def _joined(body: Iterable[bytes]) -> bytes:
    try:
        return b"".join(body)
    finally:
        _closed(body)


def _closed(body: Iterable[bytes]) -> list[bytes]:
    """Close a body that is not sent; returns the empty body that is sent in its place."""
    close = getattr(body, "close", None)
    if close is not None:
        close()
    return []


def _write(_: bytes) -> object:
    raise RuntimeError("the app must return its body; it cannot write it")
