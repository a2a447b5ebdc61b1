"""What a trade on a signal would have earned: by hand, on bars of five minutes."""

from __future__ import annotations

import numpy as np
import pytest

from app.market.bars import Bars
from app.signals.backtest import follow, sides_at_coverage
from app.signals.policy import ExitDistances

LEVELS = ExitDistances(take_profit=0.01, stop_loss=0.02)


def bars(*rows: tuple[float, float, float, float]) -> Bars:
    """Five-minute bars of (open, high, low, close)."""
    t = 1_700_000_100_000 + 300_000 * np.arange(len(rows))
    o, h, low, c = np.array(rows).T
    return Bars(t, t + 300_000, o, h, low, c, np.ones(len(rows)))


def mirrored(found: Bars) -> Bars:
    """The same moves the other way round, about 100 USD."""
    return Bars(found.t, found.end, 200 - found.o, 200 - found.l, 200 - found.h, 200 - found.c, found.v)


FOLLOWED = {
    "the take profit": (bars((100, 100.5, 99.5, 100.2), (100.2, 101.5, 100, 101.2)), 0.01, 1),
    "the stop": (bars((100, 100.5, 99.5, 100.2), (100.2, 100.4, 97, 97.5)), -0.02, -1),
    "both in one bar: the stop first": (bars((100, 102, 97, 100)), -0.02, -1),
    "a bar that opens beyond the stop: at its open": (bars((100, 100.5, 99.5, 100), (97, 97.5, 96, 97)), -0.03, -1),
    "a bar that opens beyond the take profit: at its open": (
        bars((100, 100.5, 99.5, 100), (103, 104, 102, 103)),
        0.03,
        1,
    ),
    "the time stop": (bars((100, 100.5, 99.5, 100.2), (100.2, 100.4, 99.9, 100.3)), 0.003, 0),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_long_and_a_short_are_left_where_the_bars_say(name: str) -> None:
    course, gross, ended = FOLLOWED[name]
    assert follow(course, 1, 100.0, LEVELS) == (pytest.approx(gross), ended)
    assert follow(mirrored(course), -1, 100.0, LEVELS) == (pytest.approx(gross), ended)


def test_a_rule_takes_the_trades_of_which_it_is_surest() -> None:
    p = np.array([0.6, 0.1, 0.9, 0.5, 0.25])
    assert sides_at_coverage(p, 2).tolist() == [0, -1, 1, 0, 0]
    assert sides_at_coverage(p, 0).tolist() == [0, 0, 0, 0, 0]
