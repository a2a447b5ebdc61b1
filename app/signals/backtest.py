"""What trading on the signals would have earned, out of sample: exits of policy.md 8 on the bars after each decision. Pure.

A trade is entered at the decision price, and left at the first of stop, take profit and time stop. Where one bar reaches both
levels, the stop counts as first; a bar that opens beyond a level is left at its open. Each side costs COST of the price.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from app.market.bars import Bars, Bools, Floats, Ints, to_ms
from app.market.calendar import Calendar
from app.model.evaluation import is_beyond
from app.model.features import decision_moment
from app.model.samples import Rows
from app.model.scoring import mean_by_days, surest
from app.model.walk_forward import Scored
from app.signals.policy import EXIT_DISTANCES, ExitDistances, time_stop

COST = 0.0001
"""One basis point a side."""

RULES = {"model": "p", "B2": "walk", "B2v": "walk_v"}
"""Whose probabilities are traded. The baselines take as many trades as the model: those of which they are surest."""


@dataclass(frozen=True, slots=True)
class Trades:
    """Trades of one rule, (n,): ordinal of the day, position of the ticker, net return as a share of the entry price, and what
    ended it: +1 the take profit, -1 the stop, 0 the time stop."""

    day: Ints
    ticker: Ints
    net: Floats
    ended: Ints

    def of(self, ticker: int) -> Trades:
        """The trades of one ticker."""
        at = self.ticker == ticker
        return Trades(self.day[at], self.ticker[at], self.net[at], self.ended[at])


def trading_view(
    active: Scored, tickers: Sequence[str], bars_of: Callable[[str], Bars], calendar: Calendar
) -> dict[str, Any]:
    """Per rule, for all tickers and each: trades, mean net return with its interval by days, and the rate of take profits
    beside the one that breaks even.

    active   scored rows of the target that is acted on
    bars_of  a ticker's intraday bars of all days
    """
    bars = [bars_of(ticker) for ticker in tickers]
    distances = [EXIT_DISTANCES[ticker] for ticker in tickers]
    found = {}
    for rule, column in RULES.items():
        sides = sides_at_coverage(getattr(active, column), int(is_beyond(active.p).sum()))
        trades = _trades(active.rows, sides, bars, distances, calendar)
        found[rule] = {"all": _figures(trades, None)} | {
            ticker: _figures(trades.of(position), distances[position]) for position, ticker in enumerate(tickers)
        }
    return found


def sides_at_coverage(p: Floats, n: int) -> Ints:
    """+1 and -1 for the n rows of which a rule is surest, 0 for the others."""
    chosen = surest(p, n)
    sides = np.zeros(len(p), dtype=np.int64)
    sides[chosen] = np.where(p[chosen] > 0.5, 1, -1)
    return sides


def follow(bars: Bars, side: int, price: float, distances: ExitDistances) -> tuple[float, int]:
    """The gross return of a trade as a share of its entry price, and what ended it, as in Trades. bars: from the entry to the
    time stop, at least one; side: +1 LONG, -1 SHORT."""
    target, stop = price * (1 + side * distances.take_profit), price * (1 - side * distances.stop_loss)
    best, worst = (bars.h, bars.l) if side > 0 else (bars.l, bars.h)
    lost, won = (_first(side * worst <= side * stop), _first(side * best >= side * target))
    i = min(lost, won, len(bars) - 1)
    opened = float(bars.o[i])
    if i == lost:
        left, ended = min(side * stop, side * opened) * side, -1
    elif i == won:
        left, ended = max(side * target, side * opened) * side, 1
    else:
        left, ended = float(bars.c[-1]), 0
    return side * (left / price - 1), ended


def _first(reached: Bools) -> int:
    """The first bar that reaches a level; their number if none does."""
    return int(np.argmax(reached)) if reached.any() else len(reached)


def _trades(
    rows: Rows, sides: Ints, bars: Sequence[Bars], distances: Sequence[ExitDistances], calendar: Calendar
) -> Trades:
    """The trades of a rule. A row without a bar between its hour and the time stop has none."""
    found = []
    for i in np.flatnonzero(sides):
        session = calendar.session(date.fromordinal(int(rows.day[i])))
        assert session is not None
        ticker, own = int(rows.ticker[i]), bars[int(rows.ticker[i])]
        first, last = np.searchsorted(
            own.t, [to_ms(decision_moment(session, int(rows.hour[i]))), to_ms(time_stop(session))]
        )
        if first < last:
            gross, ended = follow(own[int(first) : int(last)], int(sides[i]), float(rows.price[i]), distances[ticker])
            found.append((rows.day[i], ticker, gross - 2 * COST, ended))
    columns = list(zip(*found, strict=True)) or [()] * 4
    day, of_ticker, how = (np.array(columns[i], dtype=np.int64) for i in (0, 1, 3))
    return Trades(day, of_ticker, np.array(columns[2], dtype=np.float64), how)


def _figures(trades: Trades, distances: ExitDistances | None) -> dict[str, float | int | None]:
    """Returns in per cent. take_profits: their share of the trades that ended at a level; break_even: that share at which gains
    and stops cancel out, before costs (of one ticker alone, since each has its own distances)."""
    if not len(trades.net):
        return {"n": 0}
    mean = mean_by_days(100 * trades.net, trades.day)
    even = None if distances is None else distances.stop_loss / (distances.take_profit + distances.stop_loss)
    return {
        "n": len(trades.net),
        "mean_net_pct": round(mean.mean, 5),
        "low": round(mean.low, 5),
        "high": round(mean.high, 5),
        "gained": round(float((trades.net > 0).mean()), 5),
        "take_profits": round(float((trades.ended > 0).sum() / max(1, (trades.ended != 0).sum())), 5),
        "time_stops": round(float((trades.ended == 0).mean()), 5),
        "break_even": None if even is None else round(even, 5),
    }
