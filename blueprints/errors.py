"""Errors at the edge: which class gets which status, and what the body looks like. The only place that knows both.

A fault that nobody foresaw says nothing about itself but its id; the log has the rest.
"""

from __future__ import annotations

import logging
import math
import uuid
from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from app.errors import BadRequest, NotEntitled, PredictError, RateLimited, TryLater, Unavailable
from app.signals.policy import SUPPORTED

log = logging.getLogger(__name__)

STATUS: tuple[tuple[type[PredictError], int], ...] = (
    (BadRequest, 400),
    (RateLimited, 429),
    (TryLater, 503),
    (NotEntitled, 503),
    (Unavailable, 503),
)
HTTP_CODES = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
}


def register(app: Flask) -> None:
    app.register_error_handler(PredictError, _predicted)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _unforeseen)


def _predicted(exc: PredictError) -> Response:
    status = next((status for kind, status in STATUS if isinstance(exc, kind)), None)
    if status is None:
        return _unforeseen(exc)
    usage = exc.usage if isinstance(exc, BadRequest) else None
    response = _answer(status, sentence(exc.message), exc.code, usage)
    if isinstance(exc, TryLater):
        response.headers["Retry-After"] = str(math.ceil(exc.retry_after))
    return response


def _http(exc: HTTPException) -> Response:
    status = exc.code or 500
    response = _answer(status, exc.description or exc.name, HTTP_CODES.get(status, "MISSING_PARAMETER"))
    for name, value in exc.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _unforeseen(exc: Exception) -> Response:
    fault = uuid.uuid4().hex[:12]
    log.error("unforeseen fault %s", fault, exc_info=exc)
    return _answer(500, f"Something went wrong on this server (fault {fault}).", "INTERNAL")


def _answer(status: int, text: str, code: str, usage: str | None = None) -> Response:
    body: dict[str, Any] = {"error": text, "error_code": code}
    if code == "UNSUPPORTED_TICKER":
        body["supported_tickers"] = list(SUPPORTED)
    if usage is not None:
        body["usage"] = usage
    response = jsonify(body)
    response.status_code = status
    return response


def sentence(text: str) -> str:
    """A message as it is shown: a capital first, one full stop last."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
