"""The 11:00 price that was shown, as part of the bars that features are computed from. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.market.bars import Bars, Floats, to_ms
from app.market.calendar import Session
from app.model.features import LATE_FROM, decision_moment


def with_price_11am(intraday: Bars, session: Session, price: float | None) -> Bars:
    """Returns the day's bars in which P11 (v6.md 2) is `price`, USD: the last regular bar that ended by 11:00 closes at it, and
    its high and low include it. A provider may correct that bar after P11 was shown; the price that was shown stays, and
    signals are computed about it. The bars are returned as they are where `price` is None or is their own P11, or where there
    is no such bar."""
    last = int(np.searchsorted(intraday.end, to_ms(decision_moment(session, LATE_FROM)), side="right")) - 1
    if price is None or last < 0 or intraday.t[last] < to_ms(session.open) or intraday.c[last] == price:
        return intraday
    high, low = max(float(intraday.h[last]), price), min(float(intraday.l[last]), price)
    return replace(
        intraday, h=_with(intraday.h, last, high), l=_with(intraday.l, last, low), c=_with(intraday.c, last, price)
    )


def _with(column: Floats, index: int, value: float) -> Floats:
    changed = column.copy()
    changed[index] = value
    return changed
