"""Request parameters of v1 (v1-contract.md 3.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any, NamedTuple

from flask import request

from app.errors import BadRequest
from app.market.calendar import Calendar, Session, ny, ny_day
from app.market.inception import FIRST_DAY
from app.signals.policy import SUPPORTED
from blueprints.shared.values import parse_day

MAX_SYMBOLS = 50
MAX_SYMBOL_LENGTH = 32
MAX_PARAMETERS = 20
HOURS = range(4, 21)
REPLAY_USAGE = "/replay?date=YYYY-MM-DD&time=HH:MM&ticker=SPY or /replay?date=YYYY-MM-DD&hour=14&tickers=SPY,QQQ"


class Tickers(NamedTuple):
    """Which tickers are asked for; `single` if one was named by `ticker=`."""

    symbols: tuple[str, ...]
    single: bool


def tickers(args: Mapping[str, str]) -> Tickers:
    """`ticker` (one symbol or `all`) or `tickers` (a list); absent, empty and `all` mean every supported one.

    Raises BadRequest: `ticker` names an unsupported symbol, or the list is too long. An over-long symbol is cut.
    """
    one = args.get("ticker", "").strip().upper()
    if one and one != "ALL":
        if one not in SUPPORTED:
            raise BadRequest(_unsupported(one), code="UNSUPPORTED_TICKER")
        return Tickers((one,), single=True)
    listed = (
        [symbol.strip().upper()[:MAX_SYMBOL_LENGTH] for symbol in args.get("tickers", "").split(",")] if not one else []
    )
    symbols = tuple(dict.fromkeys(symbol for symbol in listed if symbol))
    if not symbols or symbols == ("ALL",):
        return Tickers(SUPPORTED, single=False)
    if len(symbols) > MAX_SYMBOLS:
        raise BadRequest(f"tickers takes at most {MAX_SYMBOLS} symbols", code="UNSUPPORTED_TICKER")
    return Tickers(symbols, single=False)


def _unsupported(symbol: str) -> str:
    symbols = re.split(r"[\s,;|]+", symbol[:MAX_SYMBOL_LENGTH])
    if len(symbols) > 1:
        known = [each for each in symbols if each in SUPPORTED]
        return f"ticker takes one symbol, tickers takes several: tickers={','.join(known[:2] if known[1:] else SUPPORTED[:2])}"
    text = f"{symbol[:MAX_SYMBOL_LENGTH]} is not supported"
    near = get_close_matches(symbol[:MAX_SYMBOL_LENGTH], SUPPORTED, n=1)
    return f"{text}. Perhaps {near[0]} is meant" if near else text


def _missing(what: str, args: Mapping[str, str]) -> str:
    """That a parameter is missing, and which of those given may be a misspelling of it."""
    for name in list(args)[:MAX_PARAMETERS]:
        near = get_close_matches(name.lower()[:MAX_SYMBOL_LENGTH], what.split(" or "), n=1)
        if near and name != near[0]:
            return f"{what} is missing: {name[:MAX_SYMBOL_LENGTH]} is no parameter, perhaps {near[0]} is meant"
    return f"{what} is missing"


class ReplayMoment(NamedTuple):
    """The moment a replay is about. label: `HH:MM` as asked for; session: of its day, None on a day without one, whose name is
    `holiday`, if it has one; is_ahead: what was asked for has not come yet, and `at` is now."""

    at: datetime
    label: str
    session: Session | None
    holiday: str | None = None
    is_ahead: bool = False

    @property
    def trading_day(self) -> bool:
        return self.session is not None

    @property
    def after_open(self) -> bool:
        return self.session is not None and self.at >= self.session.open

    @property
    def market_open(self) -> bool:
        return self.session is not None and self.session.is_open(self.at)


def replay_moment(args: Mapping[str, str], now: datetime, calendar: Calendar) -> ReplayMoment:
    """`date` with `time` or `hour`, clipped to now; `time` wins, `hour=9` is 09:30 (v1-contract.md 4.3, ruling V6).

    Raises BadRequest, one error code per row of the contract's validation table.
    """
    if not args.get("date"):
        raise BadRequest(_missing("date", args), usage=REPLAY_USAGE)
    if not args.get("time") and not args.get("hour"):
        raise BadRequest(_missing("time or hour", args), usage=REPLAY_USAGE)
    day = _day(args["date"], ny_day(now))
    moment = _time(args["time"]) if args.get("time") else _hour(args["hour"])
    asked, traded = ny(day, moment), day >= FIRST_DAY
    session, holiday = (calendar.session(day), calendar.holiday(day)) if traded else (None, None)
    return ReplayMoment(min(asked, now), f"{moment:%H:%M}", session, holiday, is_ahead=asked > now)


def _day(text: str, today: date) -> date:
    day = parse_day(text)
    if day is None:
        raise BadRequest("date must be a day of the calendar, YYYY-MM-DD", code="INVALID_DATE")
    if day > today:
        raise BadRequest(f"date lies in the future: in this market today is {today}", code="DATE_IN_FUTURE")
    return day


def _time(text: str) -> time:
    match = re.fullmatch(r"(\d\d):([0-5]\d)", text, re.ASCII)
    if match is None or int(match[1]) not in HOURS:
        raise BadRequest("time must be HH:MM, from 04:00 to 20:59", code="INVALID_TIME")
    return time(int(match[1]), int(match[2]))


def _hour(text: str) -> time:
    if not re.fullmatch(r"\d{1,2}", text, re.ASCII) or int(text) not in HOURS:
        raise BadRequest("hour must be a whole number from 4 to 20", code="INVALID_TIME")
    return time(9, 30) if int(text) == 9 else time(int(text))


def json_object() -> Mapping[str, Any]:
    """The request's body. Raises BadRequest if it is not a JSON object."""
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("the body must be a JSON object")
    return body
