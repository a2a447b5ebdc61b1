"""What became of a signal: its target, its returns, and which of its levels the bars reached first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.market.bars import Bars, Span, to_ms
from app.signals.outcomes import ExitKind, exit_of, is_rebased, outcome_of
from app.signals.policy import Decision
from tests.signals.test_policy import decision
from tests.support import new_york

Row = tuple[float, float, float, float]
LONG, SHORT, NEUTRAL = 0.95, 0.05, 0.5
WEAK = {LONG: 0.76, SHORT: 0.24}


def trade(p: float, *, limit: float | None = None, **changes: Any) -> Decision:
    """A decision of 13:00 at a price of 100; take profit and stop are 2 and 3 away on either side."""
    sign = 1 if p > 0.5 else -1
    entry = (
        {"entry_type": "MARKET", "entry_price": 100.0}
        if limit is None
        else {"entry_type": "LIMIT", "entry_price": limit}
    )
    levels = {"take_profit": 100.0 + 2 * sign, "stop_loss": 100.0 - 3 * sign}
    return replace(decision(0.9, p), price=100.0, **{**entry, **levels, **changes})


def bars(*rows: Row, begin: str = "13:00") -> Bars:
    """One-minute bars of open, high, low and close, of a LONG; `mirrored` turns them into those of a SHORT."""
    o, h, low, c = (np.array(column) for column in zip(*rows, strict=True))
    t = to_ms(new_york(f"2025-03-11 {begin}")) + Span.MINUTE.ms * np.arange(len(rows))
    return Bars(t, t + Span.MINUTE.ms, o, h, low, c, np.full(len(rows), 10.0))


def mirrored(of: Bars) -> Bars:
    return Bars(of.t, of.end, 200 - of.o, 200 - of.l, 200 - of.h, 200 - of.c, of.v)


QUIET: Row = (100.0, 100.5, 99.5, 100.0)
CASES: dict[str, tuple[float | None, list[Row], ExitKind, float | None]] = {
    "profit": (None, [QUIET, (100, 102.5, 100, 102)], ExitKind.TAKE_PROFIT, 2.0),
    "profit, to the cent": (None, [QUIET, (100, 102.0, 100, 101)], ExitKind.TAKE_PROFIT, 2.0),
    "profit at the open of a bar beyond": (None, [QUIET, (102.4, 103, 96, 97)], ExitKind.TAKE_PROFIT, 2.4),
    "stop": (None, [QUIET, (99, 99, 96.5, 97)], ExitKind.STOP_LOSS, -3.0),
    "stop at the open of a bar beyond": (None, [QUIET, (96.0, 102.5, 95, 97)], ExitKind.STOP_LOSS, -4.0),
    "both in one bar": (None, [QUIET, (100, 102.5, 96, 97)], ExitKind.AMBIGUOUS, None),
    "the first of two bars": (None, [(99, 99, 96.5, 97), (100, 103, 100, 103)], ExitKind.STOP_LOSS, -3.0),
    "neither": (None, [QUIET, (100, 101, 99.5, 100.5)], ExitKind.TIME_STOP, 0.5),
    "limit never reached": (99.0, [QUIET, (100, 103, 99.2, 103)], ExitKind.NOT_FILLED, None),
    "limit reached, then profit": (99.0, [(100, 100, 98.9, 99), (99, 102.5, 99, 102)], ExitKind.TAKE_PROFIT, 3 / 0.99),
    "limit and stop in one bar": (99.0, [(100, 100, 96, 97)], ExitKind.STOP_LOSS, -2 / 0.99),
    "limit and profit in one bar": (99.0, [(100, 102.5, 98.9, 102)], ExitKind.AMBIGUOUS, None),
    "filled at an open beyond the limit": (99.0, [(98, 102.5, 98, 102)], ExitKind.TAKE_PROFIT, 4 / 0.98),
    "profit before the limit is reached is none": (99.0, [(100, 102.5, 100, 102), QUIET], ExitKind.NOT_FILLED, None),
    "limit beyond the stop": (96.5, [(100, 100, 96.4, 97)], ExitKind.STOP_LOSS, 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_long_trade_ends_at_what_is_reached_first(name: str) -> None:
    limit, rows, kind, gain = CASES[name]
    left = exit_of(trade(LONG, limit=limit), bars(*rows))
    assert left is not None
    assert (left.kind, left.return_pct) == (kind, pytest.approx(gain) if gain is not None else None)


@pytest.mark.parametrize("name", CASES)
def test_a_short_trade_is_its_mirror_image(name: str) -> None:
    limit, rows, kind, gain = CASES[name]
    left = exit_of(trade(SHORT, limit=None if limit is None else 200 - limit), mirrored(bars(*rows)))
    assert left is not None
    assert left.kind == kind
    entry = left.entry if left.entry is not None else 1.0
    longs_entry = 200 - entry
    assert (left.return_pct is None) == (gain is None)
    if gain is not None and left.return_pct is not None:
        assert left.return_pct * entry == pytest.approx(gain * longs_entry)


def test_bars_before_the_decision_and_after_the_time_stop_do_not_count() -> None:
    before = bars((100, 103, 90, 100), begin="12:59")
    after = bars((100, 103, 90, 100), begin="15:50")
    between = bars(QUIET, begin="15:49")
    assert exit_of(trade(LONG), before) is None
    assert exit_of(trade(LONG), after) is None
    left = exit_of(trade(LONG), between)
    assert left is not None
    assert (left.kind, left.at) == (ExitKind.TIME_STOP, new_york("2025-03-11 15:50"))


def test_no_trade_has_no_exit_and_no_return_of_its_own() -> None:
    neutral = decision(0.9, NEUTRAL)
    assert exit_of(neutral, bars(QUIET)) is None
    assert outcome_of(neutral, neutral.price * 1.01).return_pct is None


@pytest.mark.parametrize(
    ("p", "close", "reached", "right"),
    [
        (0.9, 99.01, True, True),
        (0.9, 99.0, False, False),
        (0.9, 98.0, False, False),
        (0.1, 99.0, False, True),
        (0.1, 99.01, True, False),
        (0.4, 98.0, False, True),
        (0.5, 98.0, False, None),
    ],
)
def test_a_close_that_equals_its_reference_is_not_above_it(
    p: float, close: float, reached: bool, right: bool | None
) -> None:
    """Target B compares with 99, the 11:00 price (v6.md 2: a tie is 0)."""
    outcome = outcome_of(decision(0.9, p), close)
    assert (outcome.reached, outcome.right) == (reached, right)


def test_before_eleven_the_official_open_is_compared() -> None:
    early = decision(0.9, 0.5, hour=10)
    assert early.today_open == 98.0
    assert [outcome_of(early, close).right for close in (98.0, 98.01)] == [False, True]


@pytest.mark.parametrize(("p", "sign"), [(LONG, 1), (SHORT, -1)])
def test_returns_have_the_sign_of_the_trade(p: float, sign: int) -> None:
    outcome = outcome_of(trade(p), 101.0)
    assert (outcome.change_pct, outcome.return_pct) == (pytest.approx(1.0), pytest.approx(sign * 1.0))


def test_prices_on_another_basis_are_seen() -> None:
    assert is_rebased(decision(0.9), 49.0)
    assert not is_rebased(decision(0.9), 98.2)
