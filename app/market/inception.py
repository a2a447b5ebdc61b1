"""The first trading days of the supported funds: before them there is nothing to ask a provider for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Final

INCEPTION: Final[Mapping[str, date]] = {
    "SPY": date(1993, 1, 29),
    "QQQ": date(1999, 3, 10),
    "IWM": date(2000, 5, 26),
}
"""As the funds' issuers give them."""

FIRST_DAY: Final = min(INCEPTION.values())
"""No supported fund traded before."""


def first_day_of(ticker: str) -> date:
    """The first trading day of a fund; of others, that of the oldest supported one."""
    return INCEPTION.get(ticker, FIRST_DAY)


def has_begun(ticker: str, day: date) -> bool:
    """Whether the fund traded on `day` or before."""
    return day >= first_day_of(ticker)
