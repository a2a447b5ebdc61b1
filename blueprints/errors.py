"""Errors at the edge: which class gets which status, and what the body looks like in each version. The only place that
knows both.

v1 shows `{error, error_code}` (v1-contract.md 3.3), later versions application/problem+json (RFC 9457). A fault that nobody
foresaw says nothing about itself but the request's id; the log has the rest.
"""

from __future__ import annotations

import json
import logging
import math
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from flask import Flask, Response
from werkzeug.exceptions import ClientDisconnected, HTTPException

from app.errors import (
    BadRequest,
    Forbidden,
    Gone,
    NotEntitled,
    NotFound,
    PredictError,
    RateLimited,
    TryLater,
    Unauthorized,
    Unavailable,
)
from app.signals.policy import SUPPORTED
from blueprints.index import nothing_at
from blueprints.services import exchange

log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[PredictError], int], ...] = (
    (Unauthorized, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Gone, 410),
    (BadRequest, 400),
    (RateLimited, 429),
    (TryLater, 503),
    (NotEntitled, 503),
    (Unavailable, 503),
)
HTTP_CODES = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    408: "REQUEST_TIMEOUT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
}
HTTP_TEXTS = {
    400: "the request cannot be understood",
    405: "this method cannot be used here",
    413: "the body is too large",
    415: "the body must be JSON",
    429: "too many requests; try again later",
    500: "something went wrong on this server",
    502: "the market-data provider did not answer as it should",
    503: "this cannot be served now; try again later",
}
"""What the framework's own errors say here."""

HANDED_ON = ("Allow", "Retry-After")
MAX_INSTANCE = 200
Headers = list[tuple[str, str]]


class Asked(Protocol):
    """What an error needs to know of its request."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def trace_id(self) -> str: ...

    code: str | None


class Answer(NamedTuple):
    """An error ready to be sent."""

    status: int
    headers: Headers
    body: bytes


class _Told(NamedTuple):
    """An error as every version tells it."""

    status: int
    text: str
    code: str
    usage: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def register(app: Flask) -> None:
    app.register_error_handler(Exception, _handle)


def _handle(exc: Exception) -> Response:
    found = explain(exc, exchange())
    return Response(found.body, found.status, found.headers)


def explain(exc: Exception, asked: Asked) -> Answer:
    """Any error, in the shape of the version that was asked for; `asked.code` is its code from then on."""
    told = _told(exc, asked)
    asked.code = told.code
    shape, content_type = (_v1, "application/json") if asked.version == 1 else (_problem, "application/problem+json")
    body = json.dumps(shape(told, asked)).encode() + b"\n"
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *told.headers]
    return Answer(told.status, headers, body)


def _told(exc: Exception, asked: Asked) -> _Told:
    if isinstance(exc, HTTPException):
        return _http(exc, asked)
    status = next((status for kind, status in STATUS if isinstance(exc, kind)), None)
    if status is None or not isinstance(exc, PredictError):
        log.error("unforeseen fault in request %s", asked.id, exc_info=exc)
        return _Told(500, f"Something went wrong on this server (request {asked.id}).", "INTERNAL")
    usage = exc.usage if isinstance(exc, BadRequest) else None
    return _Told(status, sentence(exc.message), exc.code, usage, tuple(_advice(exc)))


def _advice(exc: PredictError) -> Headers:
    """What the caller may do, as headers."""
    if isinstance(exc, TryLater):
        return [("Retry-After", str(math.ceil(exc.retry_after)))]
    return [("WWW-Authenticate", 'Bearer realm="predict"')] if isinstance(exc, Unauthorized) else []


def _http(exc: HTTPException, asked: Asked) -> _Told:
    if isinstance(exc, ClientDisconnected):
        return _Told(408, "The body did not arrive.", "REQUEST_TIMEOUT")
    status = exc.code or 500
    headers = tuple((name, value) for name, value in exc.get_headers() if name in HANDED_ON)
    text = (
        nothing_at(asked.path, asked.version) if status == 404 else HTTP_TEXTS.get(status) or f"{exc.name} ({status})"
    )
    if status == 405:
        text = f"{text}: {dict(headers).get('Allow', 'none')} may be used"
    return _Told(status, sentence(text), _code(status), headers=headers)


def _code(status: int) -> str:
    """The error code of a status that came without one."""
    if status == 503:
        return "PIPELINE_UNAVAILABLE"
    return "INTERNAL" if status >= 500 else HTTP_CODES.get(status, "MISSING_PARAMETER")


def _v1(told: _Told, _: Asked) -> dict[str, Any]:
    body: dict[str, Any] = {"error": told.text, "error_code": told.code}
    if told.code == "UNSUPPORTED_TICKER":
        body["supported_tickers"] = list(SUPPORTED)
    if told.usage is not None:
        body["usage"] = told.usage
    return body


def _problem(told: _Told, asked: Asked) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(told.status).phrase,
        "status": told.status,
        "detail": told.text,
        "instance": asked.path[:MAX_INSTANCE],
        "error_code": told.code,
        "request_id": asked.id,
        "trace_id": asked.trace_id,
    }
    if told.usage is not None:
        body["usage"] = told.usage
    return body


def sentence(text: str) -> str:
    """A message as it is shown: a capital first, one full stop last."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
