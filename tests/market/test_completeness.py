"""What bars say of a day's hours (policy.md 1)."""

from __future__ import annotations

from datetime import date, time

import numpy as np
import pytest

from app.market.bars import Bars, Span, to_ms
from app.market.calendar import OPEN, Session, ny
from app.market.completeness import is_traded_past

DAY = date(2025, 11, 28)
CLOSE = time(13)


def minutes_of(volumes: dict[tuple[time, time], float]) -> Bars:
    """One-minute bars between times with these volumes; a volume of 0 is no bar."""
    columns = [
        (t, volume)
        for (first, last), volume in volumes.items()
        for t in range(to_ms(ny(DAY, first)), to_ms(ny(DAY, last)), Span.MINUTE.ms)
        if volume
    ]
    t, v = (np.array(column) for column in zip(*columns, strict=True))
    price = np.full(len(t), 500.0)
    return Bars(t, t + Span.MINUTE.ms, price, price, price, price, v)


MORNING, AUCTION = (time(9, 30), time(13)), (time(13), time(13, 1))
EVENING, LATE = (time(13, 1), time(16)), (time(16), time(20))


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [
        ({MORNING: 1000, AUCTION: 700, EVENING: 700, LATE: 20}, True),
        ({MORNING: 1000, AUCTION: 90_000, EVENING: 30}, False),
        ({MORNING: 1000, AUCTION: 90_000}, False),
        ({MORNING: 1000, LATE: 900}, False),
        ({EVENING: 700}, True),
    ],
    ids=[
        "a whole day",
        "thin trading after the close",
        "nothing after the auction",
        "nothing before 16:00",
        "no morning",
    ],
)
def test_regular_trading_after_an_announced_close_is_told_from_the_extended_hours(
    volumes: dict[tuple[time, time], float], expected: bool
) -> None:
    session = Session(DAY, ny(DAY, OPEN), ny(DAY, CLOSE))
    assert is_traded_past(minutes_of(volumes), session, ny(DAY, time(16))) is expected
