"""What stands before an answer: which gate a failure is (policy.md 3), and which failures are those of a whole answer."""

from __future__ import annotations

from collections.abc import Sequence

from app.errors import BadRequest, BudgetSpent, NotEntitled, PredictError, Unavailable
from app.market.opens import MissingOpen
from app.pipeline.states import TickerSignal
from app.signals.policy import SUPPORTED, Gate


class MarketClosed(Unavailable):
    """There is no hourly signal because the market is closed."""

    def __init__(self) -> None:
        super().__init__("the market is closed", part="data", code=Gate.INSUFFICIENT_DATA.value)


class NotYet(PredictError):
    """The feed has not delivered everything up to the decision hour."""

    code = "DATA_FETCH_ERROR"


def why_undecided(signal: TickerSignal) -> PredictError:
    """The gate that stands before a decision, as the error of an answer that rests on one."""
    if signal.gate is Gate.MARKET_CLOSED:
        return MarketClosed()
    assert signal.gate is not None
    return signal.cause or Unavailable(signal.detail, part="data", code=signal.gate.value)


def known_of(tickers: Sequence[str]) -> list[str]:
    return [ticker for ticker in tickers if ticker in SUPPORTED]


def supported(ticker: str) -> str:
    if ticker not in SUPPORTED:
        raise BadRequest(f"{ticker} is not supported", code=Gate.UNSUPPORTED_TICKER.value)
    return ticker


def hides_newer(fault: PredictError | None) -> bool:
    """Whether a fault hides bars that there may be: a failed fetch does, a plan that lacks them does not."""
    return fault is not None and not isinstance(fault, NotEntitled)


def refuse_without_key(signals: Sequence[TickerSignal]) -> None:
    """Without a key and with nothing kept, an open market has no answer at all (v1-contract.md 3.3)."""
    refuse_keyless([s.cause for s in signals if s.gate is not Gate.UNSUPPORTED_TICKER])


def refuse_keyless(causes: Sequence[PredictError | None]) -> None:
    keyless = [c for c in causes if isinstance(c, Unavailable) and c.part == "api_key"]
    if causes and len(keyless) == len(causes):
        raise keyless[0]


def gate_of(why: PredictError) -> Gate:
    """The gate that a failure to compute a signal is."""
    if isinstance(why, MissingOpen):
        return Gate(why.code)
    if isinstance(why, NotEntitled):
        return Gate.MISSING_DAILY_BAR
    if isinstance(why, BudgetSpent):
        return Gate.RATE_LIMITED
    if isinstance(why, Unavailable) and why.part in ("data", "models"):
        return Gate.INSUFFICIENT_DATA if why.part == "data" else Gate.MODEL_UNAVAILABLE
    return Gate.DATA_FETCH_ERROR
