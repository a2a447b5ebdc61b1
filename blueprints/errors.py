"""Error responses: which class of error gets which status, and the body in each version. This is the only module that knows
both.

v1 answers `{error, error_code}` (v1-contract.md 3.3), later versions application/problem+json (RFC 9457). The response to an
unexpected exception holds nothing but the id of the request; the log has the rest.
"""

from __future__ import annotations

import json
import logging
import math
from typing import Any, NamedTuple, Protocol

from flask import Flask, Response
from werkzeug.exceptions import ClientDisconnected, HTTPException

from app.errors import (
    BadRequest,
    Fault,
    Forbidden,
    Gone,
    NotEntitled,
    NotFound,
    PredictError,
    RateLimited,
    TryLater,
    Unauthorized,
    Unavailable,
    sentence,
)
from app.signals.policy import SUPPORTED
from blueprints.error_codes import entry_of, uri_of
from blueprints.index import nothing_at
from blueprints.services import request_context

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
    413: "the body is too large: it may have 1 MiB, a form also 100 parts at most. A smaller one is read",
    415: "the body must be JSON",
    429: "too many requests; try again later",
    500: "something went wrong on this server",
    502: "the market-data provider did not answer as it should",
    503: "this cannot be served now; try again later",
}
"""The text of errors that Flask and werkzeug raise."""

FORWARDED_HEADERS = ("Allow", "Retry-After")
MAX_INSTANCE = 200
Headers = list[tuple[str, str]]


class Request(Protocol):
    """What an error response needs to know of its request (`RequestContext`)."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def trace_id(self) -> str: ...

    code: str | None


class ErrorResponse(NamedTuple):
    """An error in the shape of one version."""

    status: int
    headers: Headers
    body: bytes


class ErrorDetails(NamedTuple):
    """What an error says in every version."""

    status: int
    text: str
    code: str
    usage: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    faults: tuple[Fault, ...] = ()


def register(app: Flask) -> None:
    app.register_error_handler(Exception, _handle)


def _handle(exc: Exception) -> Response:
    response = render_error(exc, request_context())
    return Response(response.body, response.status, response.headers)


def render_error(exc: Exception, request: Request) -> ErrorResponse:
    """Any error in the shape of the request's version. Sets `request.code`."""
    details = _details_of(exc, request)
    request.code = details.code
    shape, content_type = (_v1, "application/json") if request.version == 1 else (_problem, "application/problem+json")
    body = json.dumps(shape(details, request)).encode() + b"\n"
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), *details.headers]
    return ErrorResponse(details.status, headers, body)


def problem_of(exc: Exception, request: Request) -> dict[str, Any]:
    """Any error as a problem, for a response whose status has been sent. Sets `request.code`."""
    details = _details_of(exc, request)
    request.code = details.code
    return _problem(details, request)


def _details_of(exc: Exception, request: Request) -> ErrorDetails:
    if isinstance(exc, HTTPException):
        return _http(exc, request)
    status = next((status for kind, status in STATUS if isinstance(exc, kind)), None)
    if status is None or not isinstance(exc, PredictError):
        log.error("unforeseen fault in request %s", request.id, exc_info=exc)
        return ErrorDetails(500, f"Something went wrong on this server (request {request.id}).", "INTERNAL")
    usage, faults = (exc.usage, exc.faults) if isinstance(exc, BadRequest) else (None, ())
    return ErrorDetails(status, sentence(exc.message), exc.code, usage, tuple(_advice(exc)), faults)


def _advice(exc: PredictError) -> Headers:
    """Headers that say what the caller may do."""
    if isinstance(exc, TryLater):
        return [("Retry-After", str(math.ceil(exc.retry_after)))]
    return [("WWW-Authenticate", 'Bearer realm="predict"')] if isinstance(exc, Unauthorized) else []


def _http(exc: HTTPException, request: Request) -> ErrorDetails:
    if isinstance(exc, ClientDisconnected):
        return ErrorDetails(408, "The body did not arrive.", "REQUEST_TIMEOUT")
    status = exc.code or 500
    headers = tuple((name, _settled(value)) for name, value in exc.get_headers() if name in FORWARDED_HEADERS)
    text = (
        nothing_at(request.path, request.version)
        if status == 404
        else HTTP_TEXTS.get(status) or f"{exc.name} ({status})"
    )
    if status == 405:
        text = f"{text}: {dict(headers).get('Allow', 'none')} may be used"
    return ErrorDetails(status, sentence(text), _code(status), headers=headers)


def _settled(value: str) -> str:
    """The list in a header in alphabetical order; the framework lists methods in any."""
    return ", ".join(sorted(value.split(", ")))


def _code(status: int) -> str:
    """The error code of a status for which the framework names none."""
    if status == 503:
        return "PIPELINE_UNAVAILABLE"
    return "INTERNAL" if status >= 500 else HTTP_CODES.get(status, "MISSING_PARAMETER")


def _v1(details: ErrorDetails, _: Request) -> dict[str, Any]:
    body: dict[str, Any] = {"error": details.text, "error_code": details.code}
    if details.code == "UNSUPPORTED_TICKER":
        body["supported_tickers"] = list(SUPPORTED)
    if details.usage is not None:
        body["usage"] = details.usage
    return body


def _problem(details: ErrorDetails, request: Request) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": uri_of(details.code),
        "title": entry_of(details.code).title,
        "status": details.status,
        "detail": details.text,
        "instance": request.path[:MAX_INSTANCE],
        "error_code": details.code,
        "request_id": request.id,
        "trace_id": request.trace_id,
    }
    if details.usage is not None:
        body["usage"] = details.usage
    if details.faults:
        body["errors"] = [{"pointer": fault.pointer, "detail": sentence(fault.message)} for fault in details.faults]
    return body
