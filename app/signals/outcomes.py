"""What became of a locked signal once its day had closed: right or wrong on its target, and where a trade was left. Pure.

A trade is entered at the decision price with a MARKET order, and with a LIMIT order once a bar reaches its price. It is left at
the first of take profit, stop and time stop (policy.md 8) that the bars after the decision reach. Slippage and costs are left
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.market.bars import Bars, from_ms
from app.market.calendar import NY
from app.signals.policy import Decision

REBASED_BY = 0.02
"""By what share the open of a daily bar may differ from the one that a signal was made with. Beyond that the prices of the day
were re-based after the signal, by a split for example, and can no longer be compared with it."""


class ExitKind(StrEnum):
    """What ended a trade first. ambiguous: one bar holds two of them, so that their order is not known; not_filled: the LIMIT
    order was never filled, so that there was no trade."""

    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"
    TIME_STOP = "time_stop"
    AMBIGUOUS = "ambiguous"
    NOT_FILLED = "not_filled"


@dataclass(frozen=True, slots=True)
class Exit:
    """How a trade ended. entry, price: USD, None where there was no trade, and no price where the exit is ambiguous;
    at: the end of the bar in which it was left; return_pct: of the entry price, signed by the side of the trade."""

    kind: ExitKind
    entry: float | None = None
    price: float | None = None
    at: datetime | None = None
    return_pct: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a signal.

    close: USD, the official close (daily bar)
    reached: whether the active target came true: the close is above its reference; a tie is not above it (v6.md 2)
    right: whether the active probability was on that side; None of a probability of exactly one half
    change_pct: from the decision price to the close, whatever the side; return_pct: the same signed by the side of a trade
    """

    close: float
    reached: bool
    right: bool | None
    change_pct: float
    return_pct: float | None


def reference_of(decision: Decision) -> float:
    """The price that the active target compares the close with, USD: the official open (A), or the 11:00 price (B)."""
    if decision.session == "early":
        return decision.today_open
    assert decision.price_11am is not None
    return decision.price_11am


def is_rebased(decision: Decision, day_open: float) -> bool:
    """Whether the daily bar that opened at `day_open`, USD, is on another basis than the signal."""
    return abs(day_open / decision.today_open - 1) > REBASED_BY


def outcome_of(decision: Decision, close: float) -> Outcome:
    """The outcome of a signal whose day closed at `close`, USD."""
    reached = close > reference_of(decision)
    p, change = decision.p_active, _pct(decision.price, close)
    return Outcome(
        close=close,
        reached=reached,
        right=None if p == 0.5 else (p > 0.5) == reached,
        change_pct=change,
        return_pct=None if decision.action == "NO_TRADE" else _sign(decision) * change,
    )


def exit_of(decision: Decision, bars: Bars) -> Exit | None:
    """How the trade of a signal ended. bars: of its day, without holes. None without a trade, and where no bar lies between
    the decision and the time stop."""
    bars = bars.since(decision.locked_at).until(decision.time_limit)
    if decision.action == "NO_TRADE" or not len(bars):
        return None
    course = _Course(decision, bars)
    first = 0 if decision.entry_type == "MARKET" else course.filled_in()
    return Exit(ExitKind.NOT_FILLED) if first is None else course.exit_from(first)


class _Course:
    """The bars of a trade as its side sees them: of a SHORT with the signs turned, so that higher is better on both sides."""

    def __init__(self, decision: Decision, bars: Bars) -> None:
        assert decision.take_profit is not None
        assert decision.stop_loss is not None
        assert decision.entry_price is not None
        sign = _sign(decision)
        self._sign, self._bars = sign, bars
        self._entry, self._target, self._stop = (
            sign * level for level in (decision.entry_price, decision.take_profit, decision.stop_loss)
        )
        self._is_limit = decision.entry_type == "LIMIT"
        best, worst = (bars.h, bars.l) if sign > 0 else (bars.l, bars.h)
        self._open, self._best, self._worst = sign * bars.o, sign * best, sign * worst

    def filled_in(self) -> int | None:
        """The first bar that reaches the LIMIT price."""
        return next((i for i in range(len(self._bars)) if self._worst[i] <= self._entry), None)

    def exit_from(self, first: int) -> Exit:
        """The exit of a trade that is entered in bar `first`, before it or in it."""
        entry = min(self._entry, float(self._open[first])) if self._is_limit else self._entry
        for i in range(first, len(self._bars)):
            kind, price = self._hit(i, entry, is_fill=self._is_limit and i == first and self._open[i] > self._entry)
            if kind is not None:
                return self._exit(kind, entry, price, i)
        return self._exit(ExitKind.TIME_STOP, entry, self._sign * float(self._bars.c[-1]), len(self._bars) - 1)

    def _hit(self, i: int, entry: float, *, is_fill: bool) -> tuple[ExitKind | None, float | None]:
        """What ends the trade in a bar, and at which price. A bar that opens beyond a level is left at its open. is_fill:
        a LIMIT order is filled within the bar, so that it is not known whether its best price came before."""
        opened, gains, loses = float(self._open[i]), self._best[i] >= self._target, self._worst[i] <= self._stop
        if is_fill and entry <= self._stop:
            return ExitKind.STOP_LOSS, entry
        if not is_fill and opened <= self._stop:
            return ExitKind.STOP_LOSS, opened
        if not is_fill and opened >= self._target:
            return ExitKind.TAKE_PROFIT, opened
        if gains and (loses or is_fill):
            return ExitKind.AMBIGUOUS, None
        if loses:
            return ExitKind.STOP_LOSS, self._stop
        return (ExitKind.TAKE_PROFIT, self._target) if gains else (None, None)

    def _exit(self, kind: ExitKind, entry: float, price: float | None, i: int) -> Exit:
        at = from_ms(int(self._bars.end[i])).astimezone(NY)
        paid = self._sign * entry
        if price is None:
            return Exit(kind, paid, None, at)
        left = self._sign * price
        return Exit(kind, paid, left, at, self._sign * _pct(paid, left))


def _sign(decision: Decision) -> int:
    return 1 if decision.action == "LONG" else -1


def _pct(before: float, after: float) -> float:
    return (after / before - 1) * 100
