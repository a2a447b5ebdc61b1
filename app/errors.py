"""Every error the core raises, named by what the caller may do. No status codes here: blueprints/errors.py knows those.

PredictError
  BadRequest          the caller must change the request (unknown ticker, bad date, ...)
    Unauthorized      the caller's API key is unknown, expired or lacking
    Forbidden         the caller is known, or may be, but this is not for them
    NotFound          there is no such thing, in this version
    Gone              the version asked for is past its end
  TryLater            the same request may work later; carries retry_after
    RateLimited       the caller asked too often
    BudgetSpent       our own Polygon budget is spent, or Polygon says so (429)
    Upstream          Polygon failed, timed out, or answered nonsense
  NotEntitled         Polygon's plan has no such data; never retried
  Unavailable         a part is missing (no model, no key, no data); names the part
  BrokenData          bars, a file or an artefact are not what they must be; names the place
  SettingsError       a setting is wrong; names the environment variable
"""

from __future__ import annotations

from datetime import date


class PredictError(Exception):
    """Root of the tree. `code` is one of the contract's error codes (v1-contract.md 3.3). `message` may be shown to a client:
    it holds no path, no address and no words of a library or of the provider. `detail` is the same for the log, with them."""

    code = "INTERNAL"

    def __init__(self, message: str, *, code: str | None = None, detail: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail or message
        if code is not None:
            self.code = code


class BadRequest(PredictError):
    """The caller must change the request; `usage` shows how, where that helps."""

    code = "MISSING_PARAMETER"

    def __init__(self, message: str, *, code: str | None = None, usage: str | None = None) -> None:
        super().__init__(message, code=code)
        self.usage = usage


class Unauthorized(BadRequest):
    """The API key is unknown, expired, or not good for this; or there is none where one is needed."""

    code = "UNAUTHORIZED"


class Forbidden(BadRequest):
    """This is for operators."""

    code = "FORBIDDEN"


class NotFound(BadRequest):
    """There is no such thing in the version asked for."""

    code = "NOT_FOUND"


class Gone(BadRequest):
    """The version asked for is past its end."""

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
    """Our own Polygon budget is spent, or Polygon says that it is."""

    code = "RATE_LIMITED"


class Upstream(TryLater):
    """Polygon failed, timed out, or answered nonsense."""


class NotEntitled(PredictError):
    """Polygon's plan has no such data. Permanent: asking again does not help. `since`: the first day of the plan's history,
    if the day asked for lies before it."""

    code = "DATA_FETCH_ERROR"

    def __init__(
        self, message: str, *, code: str | None = None, detail: str | None = None, since: date | None = None
    ) -> None:
        super().__init__(message, code=code, detail=detail)
        self.since = since


class Unavailable(PredictError):
    """A part of the server is missing. `part` names it: `models`, `api_key`, `data`, `store`."""

    code = "PIPELINE_UNAVAILABLE"

    def __init__(self, message: str, *, part: str, code: str | None = None, detail: str | None = None) -> None:
        super().__init__(message, code=code, detail=detail)
        self.part = part


class BrokenData(PredictError):
    """Bars, a file or an artefact are not what they must be; the message names the place."""


class SettingsError(PredictError):
    """A setting is wrong; the message names the environment variable."""
