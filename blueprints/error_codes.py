"""Every error code there is: the one table from which come the page `/docs/errors`, the `type` and `title` of problems, and the
table in docs/clients.md. A test compares it with the codes that the code base can emit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

PAGE: Final = "/docs/errors"
OK: Final = 200


class ErrorCode(NamedTuple):
    """One code. statuses: those it comes with; 200 where it stands in an answer, about one ticker or one gate. title: what it
    means, in short; meaning: when it comes; advice: what the client should do."""

    code: str
    statuses: tuple[int, ...]
    title: str
    meaning: str
    advice: str


CODES: Final = (
    ErrorCode(
        "INVALID_PARAMETER",
        (400,),
        "A parameter is wrong",
        "A parameter of version 2 is wrong, unknown, missing or given twice; `errors` names each one.",
        "Correct the parameters that `errors` points to.",
    ),
    ErrorCode(
        "MISSING_PARAMETER",
        (400,),
        "A parameter is missing",
        "A parameter of version 1 is missing, or its body is not what the route takes.",
        "Add what the message names; `usage` shows an example.",
    ),
    ErrorCode(
        "INVALID_DATE",
        (400,),
        "The date is wrong",
        "`date` of version 1 is not a day of the calendar.",
        "Send YYYY-MM-DD.",
    ),
    ErrorCode(
        "INVALID_TIME",
        (400,),
        "The time is wrong",
        "`time` or `hour` of version 1 is not a time from 04:00 to 20:59.",
        "Send HH:MM, or a whole hour from 4 to 20.",
    ),
    ErrorCode(
        "DATE_IN_FUTURE",
        (400,),
        "The date lies ahead",
        "`date` of version 1 is after the market's today, which the message names.",
        "Ask for a day that has begun.",
    ),
    ErrorCode(
        "UNSUPPORTED_TICKER",
        (200, 400, 404),
        "The ticker is not supported",
        "The server has signals of SPY, QQQ and IWM. Version 1 answers 400, or says it in the entry of the ticker; version 2 "
        "answers 404. In the list `tickers` of version 2 it is an `INVALID_PARAMETER`.",
        "Ask for a supported ticker.",
    ),
    ErrorCode(
        "BAD_REQUEST",
        (400, 414, 417, 431, 501, 505),
        "The request cannot be understood",
        "What came is no HTTP/1.1 request, is beyond the bounds of a connection, has a broken body, or names a host that is "
        "not served.",
        "Correct the request: its line, its headers, its `Host` or its body.",
    ),
    ErrorCode(
        "UNSUPPORTED_VERSION",
        (400,),
        "There is no such version",
        "`X-API-Version` is not the number of a version.",
        "Send a version that `GET /versions` names.",
    ),
    ErrorCode(
        "VERSION_CONFLICT",
        (400,),
        "Two versions are asked for",
        "The path asks for one version and `X-API-Version` for another.",
        "Send one of the two.",
    ),
    ErrorCode(
        "UNAUTHORIZED",
        (401,),
        "The API key is not valid",
        "The key is unknown, has expired, or is sent in a form that is not read.",
        "Send a valid key in `X-API-Key`, or none.",
    ),
    ErrorCode(
        "FORBIDDEN",
        (403,),
        "The route is for operators",
        "`/metrics` needs an operator's key, the private port, or loopback.",
        "Ask as an operator.",
    ),
    ErrorCode(
        "NOT_FOUND",
        (404,),
        "There is nothing here",
        "There is no such path in the version that was asked for.",
        "Read `/docs` for the paths of version 2, or `GET /` for all of them.",
    ),
    ErrorCode(
        "METHOD_NOT_ALLOWED",
        (405,),
        "The method may not be used here",
        "The path exists, but not with this method.",
        "Use a method that `Allow` names.",
    ),
    ErrorCode(
        "REQUEST_TIMEOUT",
        (408,),
        "The request did not arrive in time",
        "Headers need at most 5 s and a body 10 s to arrive.",
        "Send the request again, at once and whole.",
    ),
    ErrorCode(
        "GONE",
        (410,),
        "The version has ended",
        "This version of the API is past its sunset.",
        "Use the version that the message names.",
    ),
    ErrorCode(
        "PAYLOAD_TOO_LARGE",
        (413,),
        "The body is too large",
        "A body has at most 1 MiB, and a form at most 100 parts.",
        "Send less.",
    ),
    ErrorCode(
        "UNSUPPORTED_MEDIA_TYPE",
        (415,),
        "The body is not JSON",
        "The route takes a body of JSON.",
        "Send `Content-Type: application/json`.",
    ),
    ErrorCode(
        "TOO_MANY_REQUESTS",
        (429,),
        "A limit is reached",
        "The client has used its requests of the window, or has as many requests or streams open as it may. The message names "
        "the limit, what is in use, and what frees it.",
        "Wait as long as `Retry-After` says, ask less often, or use a key with higher limits.",
    ),
    ErrorCode(
        "INTERNAL",
        (500, 502),
        "Something went wrong on the server",
        "The server has a fault. The answer tells nothing but the id of the request.",
        "Tell the operator the request id; the log has it too.",
    ),
    ErrorCode(
        "DATA_FETCH_ERROR",
        (200, 503),
        "Market data could not be fetched",
        "The provider of market data failed, was too slow, is not asked at the moment, or the server has no key for it.",
        "Try again after `Retry-After`, if there is one; otherwise the operator must act.",
    ),
    ErrorCode(
        "RATE_LIMITED",
        (200, 503),
        "The server's own budget is spent",
        "The server may not call its provider of market data for a while. It is not the client's limit.",
        "Try again after `Retry-After`.",
    ),
    ErrorCode(
        "PIPELINE_UNAVAILABLE",
        (503,),
        "The server cannot serve this now",
        "A part of the server is missing or busy, or it holds as many connections as it can.",
        "Try again after `Retry-After`, if there is one.",
    ),
    ErrorCode(
        "MODEL_UNAVAILABLE",
        (200, 503),
        "There is no model",
        "The model of the ticker is not loaded; `/health` says why.",
        "The operator must install it.",
    ),
    ErrorCode(
        "INSUFFICIENT_DATA",
        (200, 503),
        "There are too few bars",
        "It is before 10:00, or bars are missing that the answer needs.",
        "Ask again when more bars are known; the message says which are missing.",
    ),
    ErrorCode(
        "MISSING_DAILY_BAR",
        (200, 503),
        "A daily bar is missing",
        "A daily bar that the signal reads, or today's, is not known.",
        "Ask again later; the message names the day.",
    ),
    ErrorCode(
        "MISSING_DAILY_OPEN",
        (200, 503),
        "The official open is missing",
        "Today's daily bar has no opening price.",
        "Ask again later.",
    ),
    ErrorCode(
        "NO_MARKET_DATA",
        (200, 404),
        "The day has no bars",
        "The day is no trading day, or no bars of it are known; the message says which.",
        "Ask for another day, or again later.",
    ),
    ErrorCode(
        "MARKET_CLOSED",
        (200,),
        "The market is closed",
        "There is no signal outside trading hours. This is no error.",
        "Ask again when the market is open.",
    ),
    ErrorCode(
        "NEUTRAL_ZONE",
        (200,),
        "The probability allows no trade",
        "The active probability lies from 0.25 to 0.75. This is no error.",
        "Nothing: the decision holds for its hour.",
    ),
)
_BY_CODE: Final = {entry.code: entry for entry in CODES}


def entry_of(code: str) -> ErrorCode:
    """What the table says of a code. Raises KeyError if it is not in it."""
    return _BY_CODE[code]


def uri_of(code: str) -> str:
    """The address of a code's description: an absolute path, so that it holds for every host (RFC 9457 3.1.1)."""
    return f"{PAGE}#{code}"


def codes_of(status: int) -> Iterator[str]:
    """The codes that come with a status."""
    return (entry.code for entry in CODES if status in entry.statuses)
