"""What may go wrong between a client and the predict server."""

from __future__ import annotations

from typing import Any


class PredictError(Exception):
    """The base of all errors of this package. Errors of the network are those of `requests`."""


class ApiError(PredictError):
    """The server refused a request.

    status, code: what kind of refusal it is, as HTTP and the server name it; detail: the same in words; request_id: finds the
    request in the server's log; retry_after_s: seconds after which the server wants to be asked again, None where it says none.
    """

    def __init__(self, status: int, problem: dict[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.code = str(problem.get("error_code", ""))
        self.detail = str(problem.get("detail", ""))
        self.request_id = str(problem.get("request_id", ""))
        self.retry_after_s = retry_after_s
        super().__init__(f"{status} {self.code}: {self.detail}")


class ProtocolError(PredictError):
    """The answer is none of the predict server's, or a line of it is too long."""


class Stale(PredictError):
    """Nothing has come for longer than the server promised, so that what was heard last says nothing about now.

    ticker: which ticker is followed; silent_s: seconds without a line; after: the id of the last event that came.
    """

    def __init__(self, ticker: str, silent_s: float, after: str | None) -> None:
        self.ticker, self.silent_s, self.after = ticker, silent_s, after
        super().__init__(f"nothing has come about {ticker} for {silent_s:.0f} s")
