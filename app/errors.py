"""Every error that the core raises, named by what the caller may do. Status codes are in blueprints/errors.py alone.

PredictError
  BadRequest          the caller must change the request (unknown ticker, bad date, ...)
    Unauthorized      the caller's API key is unknown, expired or missing
    Forbidden         this is for operators alone
    NotFound          there is no such thing, in this version
    Gone              the version asked for is past its end
  TryLater            the same request may work later; carries retry_after
    RateLimited       the caller asked too often
    BudgetSpent       the server's own budget of Polygon calls is spent, or Polygon says so (429)
    Upstream          Polygon failed, timed out, or answered nonsense
  NotEntitled         Polygon's plan has no such data; never retried
  Unavailable         a part is missing (no model, no key, no data); names the part
  BrokenData          bars, a file or an artefact are malformed; names the place
  SettingsError       a setting is wrong; names the environment variable
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple


class PredictError(Exception):
    """Root of the tree. code: one of the contract's error codes (v1-contract.md 3.3). message: may be shown to a client, since
    it holds no path, no address and no text of a library or of the provider. detail: the message for the log, which may."""

    code = "INTERNAL"

    def __init__(self, message: str, *, code: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail or message
        if code is not None:
            self.code = code


class Fault(NamedTuple):
    """One thing that is wrong with a request. pointer: where, as a JSON pointer (RFC 6901) into its parameters or its body."""

    pointer: str
    message: str


class BadRequest(PredictError):
    """The caller must change the request. usage: an example of how, where that helps; faults: each thing that is wrong, where
    several are known."""

    code = "MISSING_PARAMETER"

    def __init__(
        self, message: str, *, code: str | None = None, usage: str | None = None, faults: Sequence[Fault] = ()
    ) -> None:
        super().__init__(message, code=code)
        self.usage = usage
        self.faults = tuple(faults)


class Unauthorized(BadRequest):
    """The API key is unknown or expired, or it is missing where one is needed."""

    code = "UNAUTHORIZED"


class Forbidden(BadRequest):
    """This is for operators alone."""

    code = "FORBIDDEN"


class NotFound(BadRequest):
    """There is no such thing in the requested version."""

    code = "NOT_FOUND"


class Gone(BadRequest):
    """The requested version is past its end."""

    code = "GONE"


class TryLater(PredictError):
    """The same request may work after `retry_after` seconds."""

    code = "DATA_FETCH_ERROR"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after: float = 60.0, detail: str | None = None
    ) -> None:
        super().__init__(message, code=code, detail=detail)
        self.retry_after = retry_after


class RateLimited(TryLater):
    """The caller asked too often."""

    code = "TOO_MANY_REQUESTS"


class BudgetSpent(TryLater):
    """The server's own budget of Polygon calls is spent, or Polygon says that it is (429)."""

    code = "RATE_LIMITED"


class Upstream(TryLater):
    """Polygon failed, timed out, or answered nonsense."""


class NotEntitled(PredictError):
    """The Polygon plan has no such data. Permanent: the same request will not work later. since: the first day of the plan's
    history, if the requested day is before it."""

    code = "DATA_FETCH_ERROR"

    def __init__(
        self, message: str, *, code: str | None = None, detail: str | None = None, since: date | None = None
    ) -> None:
        super().__init__(message, code=code, detail=detail)
        self.since = since


class Unavailable(PredictError):
    """A part of the server is missing. part: `models`, `api_key`, `data` or `store`."""

    code = "PIPELINE_UNAVAILABLE"

    def __init__(self, message: str, *, part: str, code: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, code=code, detail=detail)
        self.part = part


class BrokenData(PredictError):
    """Bars, a file or an artefact are malformed; the message names the place."""


class SettingsError(PredictError):
    """A setting is wrong; the message names the environment variable."""


def sentence(text: str) -> str:
    """A message with a capital letter first and one full stop last."""
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "."
