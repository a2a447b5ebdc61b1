"""What is answered to what never became a request."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from gunicorn.http.errors import (
    ExpectationFailed,
    InvalidHTTPVersion,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    UnsupportedTransferCoding,
)

from serving.reading import HeadTimeout, UnknownMethod

OWN_FAULT: Final = (InvalidResponseHeader, InvalidResponseHeaderName)


class NoRoom(Exception):
    """This server holds as many connections as it can."""


UNREADABLE: Final[Mapping[type[BaseException], tuple[int, str]]] = {
    LimitRequestLine: (414, "the request line is too long: it may have 4,094 bytes. A shorter one is read"),
    LimitRequestHeaders: (
        431,
        "the headers are too large: there may be 64 of them, with 8,190 bytes in each, and 65,536 bytes with the request line "
        "together. Fewer or shorter ones are read",
    ),
    HeadTimeout: (408, "the request did not arrive in time: its headers have 5 s. Send it again, whole"),
    ExpectationFailed: (417, "this server knows no other expectation than 100-continue"),
    UnsupportedTransferCoding: (501, "this server knows no other transfer coding than chunked"),
    UnknownMethod: (501, "this server knows no such method"),
    NoRoom: (503, "this server holds as many connections as it can, and all are in use. One that ends frees a place"),
}
CODES: Final = {408: "REQUEST_TIMEOUT", 500: "INTERNAL", 503: "PIPELINE_UNAVAILABLE"}


def answer_to(exc: BaseException) -> tuple[int, str]:
    """Status and reason for what never became a request; 500 for a fault of this server."""
    if isinstance(exc, InvalidHTTPVersion) and isinstance(exc.version, tuple):
        return 505, "this server speaks HTTP/1.1"
    if type(exc) in UNREADABLE:
        return UNREADABLE[type(exc)]
    if type(exc).__module__ == "gunicorn.http.errors" and not isinstance(exc, OWN_FAULT):
        return 400, "this is not an HTTP request"
    return 500, "something went wrong on this server"


def refusal(status: int, reason: str) -> bytes:
    """An answer to what never became a request, in v1's shape."""
    code = CODES.get(status, "BAD_REQUEST")
    body = json.dumps({"error": f"{reason[0].upper()}{reason[1:]}.", "error_code": code}).encode() + b"\n"
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += f"X-Request-Id: {secrets.token_hex(16)}\r\n"
    if status == 503:
        head += "Retry-After: 1\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
