"""Request parameters of v1 (v1-contract.md 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.errors import BadRequest
from app.signals.policy import SUPPORTED

MAX_SYMBOLS = 20
MAX_SYMBOL_LENGTH = 12


class Tickers(NamedTuple):
    """Which tickers are asked for; `single` if one was named by `ticker=`."""

    symbols: tuple[str, ...]
    single: bool


def tickers(args: Mapping[str, str]) -> Tickers:
    """`ticker` (one symbol or `all`) or `tickers` (a list); absent, empty and `all` mean every supported one.

    Raises BadRequest: `ticker` names an unsupported symbol, or the list is no list of symbols.
    """
    one = args.get("ticker", "").strip().upper()
    if one and one != "ALL":
        if one not in SUPPORTED:
            raise BadRequest(f"{one[:MAX_SYMBOL_LENGTH]} is not supported", code="UNSUPPORTED_TICKER")
        return Tickers((one,), single=True)
    listed = [symbol.strip().upper() for symbol in args.get("tickers", "").split(",")] if not one else []
    symbols = tuple(dict.fromkeys(symbol for symbol in listed if symbol))
    if not symbols or symbols == ("ALL",):
        return Tickers(SUPPORTED, single=False)
    if len(symbols) > MAX_SYMBOLS or any(len(symbol) > MAX_SYMBOL_LENGTH for symbol in symbols):
        raise BadRequest(
            f"tickers takes at most {MAX_SYMBOLS} symbols of at most {MAX_SYMBOL_LENGTH} characters",
            code="UNSUPPORTED_TICKER",
        )
    return Tickers(symbols, single=False)
