"""The headers of v2's answers, for the document. A required one is in every answer that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Header(NamedTuple):
    """A header of answers. required: whether every answer that lists it has it."""

    name: str
    text: str
    example: str
    required: bool = True


REQUEST_ID: Final = Header(
    "X-Request-Id",
    "The id of the request, which the log has too: the caller's, if it sent one of at most 128 harmless characters.",
    "2f1c9a7d5b3e4860a1c2d3e4f5061728",
)
VERSION: Final = Header("X-API-Version", "The version of the API that answered.", "2")
TIMING: Final = Header(
    "Server-Timing",
    "How long the stages of the answer took, in milliseconds, and its trace (W3C Server Timing).",
    'shape;dur=0.4, traceparent;desc="00-2f1c9a7d5b3e4860a1c2d3e4f5061728-a1b2c3d4e5f60718-00"',
)
SERVED_BY: Final = Header(
    "X-Served-By",
    "The region and the replica that answered, such as `us-west2/6f0c1a2b`; absent where the server's platform names neither.",
    "us-west2/6f0c1a2b",
    False,
)
DATA_SOURCE: Final = Header(
    "X-Data-Source",
    "Where bars come from: `polygon`, the market-data provider; `recorded`, bars of the past; or `demo`, made-up bars.",
    "demo",
)
LIMITS: Final = (
    Header(
        "RateLimit-Policy",
        "The limit that the request counts against: the name of its group, requests `q` in a window of `w` seconds.",
        '"directions";q=60;w=60',
    ),
    Header("RateLimit", "What the limit leaves: requests `r`, and in `t` seconds one more.", '"directions";r=59;t=60'),
    Header("X-RateLimit-Limit", "The same limit in older words: requests in the window.", "60"),
    Header("X-RateLimit-Remaining", "Requests that are left.", "59"),
    Header("X-RateLimit-Reset", "When one more is allowed, seconds since 1970.", "1741277460"),
)
ANSWER: Final = (REQUEST_ID, SERVED_BY, DATA_SOURCE, VERSION, TIMING, *LIMITS)
"""Those of every answer that is no error."""

CACHED: Final = (
    Header(
        "ETag",
        "The tag of this answer; a request with it in `If-None-Match` gets 304 while the answer is the same.",
        '"6f0c1a2b3c4d5e6f708192a3b4c5d6e7"',
    ),
    Header(
        "Cache-Control",
        "For how many real seconds the answer holds: `max-age` ends at the moment at which it can next change.",
        "private, max-age=42",
    ),
)
"""Those of answers that are kept."""

ENDING: Final = (
    Header(
        "Deprecation",
        "Since when this version of the API is deprecated (RFC 9745); absent while it is not.",
        "@1798761600",
        False,
    ),
    Header(
        "Sunset",
        "When this version ends (RFC 8594); absent while that is not set.",
        "Thu, 01 Jul 2027 00:00:00 GMT",
        False,
    ),
    Header(
        "Link",
        "Where to read on: `next` of a page that is not the last one; `deprecation`, `sunset` and `successor-version` of a "
        "deprecated version.",
        '</versions>; rel="deprecation"',
        False,
    ),
)
"""Those of a version that is deprecated."""

PROBLEM: Final = (REQUEST_ID, SERVED_BY, DATA_SOURCE, VERSION, *LIMITS)
"""Those of every error."""

RETRY_AFTER: Final = Header("Retry-After", "After how many seconds the same request may work.", "17", False)
ALLOW: Final = Header("Allow", "The methods that may be used here.", "GET, HEAD, OPTIONS")
AUTHENTICATE: Final = Header("WWW-Authenticate", "How to send a key.", 'Bearer realm="predict"')
OF_STATUS: Final[Mapping[int, tuple[Header, ...]]] = {
    401: (AUTHENTICATE,),
    405: (ALLOW,),
    429: (RETRY_AFTER,),
    503: (RETRY_AFTER,),
}
"""Those of single statuses."""


SIGNATURE: Final = (
    Header(
        "webhook-id",
        "The id of the message, the same in every try and from every process.",
        "signal-polygon-SPY-2025-03-06T12",
    ),
    Header("webhook-timestamp", "When this try was signed, seconds since 1970.", "1741281003"),
    Header(
        "webhook-signature",
        "HMAC-SHA256 of id, timestamp and body, in base64 behind `v1,`; while the secret is changed two of them, with a space "
        "between.",
        "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
    ),
)
"""Those of the messages that the server sends (Standard Webhooks)."""


def header_objects() -> dict[str, Any]:
    """All headers as OpenAPI describes them, by name."""
    conditional = (header for headers in OF_STATUS.values() for header in headers)
    return {header.name: described(header) for header in (*ANSWER, *CACHED, *ENDING, *conditional)}


def described(header: Header) -> dict[str, Any]:
    """A header as OpenAPI describes it."""
    return {
        "description": header.text,
        "required": header.required,
        "schema": {"type": "string"},
        "example": header.example,
    }
