"""Whether a record keeps what it states: the figures, and the test that finds a record which does not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from app.market.bars import Bools, Floats
from app.model.features import DECISION_HOURS
from app.model.scoring import LEAST_DAYS
from app.signals.evidence import (
    MOST_STATEMENTS,
    MOST_TRADED,
    RUN_LENGTH_DAYS,
    STANDS_DAYS,
    THRESHOLD,
    Side,
    day_sums,
    evidence,
    evidence_level,
    next_levels,
    no_levels,
)
from app.signals.policy import LONG_ABOVE
from app.signals.promise import Statement, score, statements_of
from tests.signals.test_policy import decision

FIRST = date(2025, 3, 11)
BETWEEN_TICKERS = 0.8
"""Correlation of the tickers' moves within a day."""


@dataclass
class Stated:
    """Probabilities of many records at once, each of days x 3 tickers x statements, and what came true. The first ones are of
    target A, by hour; the others of target B, from 11:00 on."""

    p: Floats
    reached: Bools

    def sums(self) -> Floats:
        """`day_sums` of every record, day and ticker."""
        excess = np.maximum(self.p, 1 - self.p) - ((self.p > 0.5) == self.reached)
        active = np.ones(self.p.shape[-1], dtype=np.bool_)
        active[1 : len(DECISION_HOURS)] = False
        traded = active & (np.abs(self.p - 0.5) > LONG_ABOVE - 0.5)
        return np.stack([excess.sum(-1) / MOST_STATEMENTS, (excess * traded).sum(-1) / MOST_TRADED], axis=-1)

    def statements(self, ticker: str = "SPY", model_id: str = "v6-SPY-one") -> list[Statement]:
        """Those of one ticker of the first record."""
        hours = [*(("A", hour) for hour in DECISION_HOURS), *(("B", hour) for hour in DECISION_HOURS[1:])]
        place = ("SPY", "QQQ", "IWM").index(ticker)
        rows = []
        for number, (of_day, came) in enumerate(zip(self.p[0, :, place], self.reached[0, :, place], strict=True)):
            for (target, hour), p, reached in zip(hours, of_day, came, strict=True):
                traded = (target == "B" or hour == 10) and abs(p - 0.5) > LONG_ABOVE - 0.5
                day = FIRST + timedelta(days=number)
                rows.append(Statement(day, ticker, hour, target, float(p), bool(reached), bool(traded), model_id))  # type: ignore[arg-type]
        return rows


def moving_markets(records: int, days: int, seed: int, sure: float = 1.0) -> Stated:
    """Three prices that move together, the same move being judged at each hour of a day. `sure`: how many times as far from one
    half the stated probabilities are as the right ones, on their normal scale."""
    rng = np.random.default_rng(seed)
    own, common = (rng.standard_normal((records, days, tickers, 7)) for tickers in (3, 1))
    ends = np.array([0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5])
    steps = np.sqrt(BETWEEN_TICKERS) * common + np.sqrt(1 - BETWEEN_TICKERS) * own
    price = np.cumsum(steps * np.sqrt(np.diff(ends, prepend=0.0)), axis=-1)
    at, left, close = price[..., :6], np.sqrt(ends[6] - ends[:6]), price[..., 6:]
    since_11 = at[..., 1:] - price[..., 1:2]
    p = np.concatenate([ndtr(sure * at / left), ndtr(sure * since_11 / left[1:])], axis=-1)
    up, above_11 = close > 0, close > price[..., 1:2]
    return Stated(p, np.concatenate([np.repeat(up, 6, -1), np.repeat(above_11, 5, -1)], axis=-1))


def days_to_alarm(sums: Floats) -> Floats:
    """Of records x days x tickers: the day on which the first ticker's evidence raises an alarm; infinite without one."""
    records, days, tickers, _ = sums.shape
    levels, found = np.broadcast_to(no_levels(), (records, tickers, *no_levels().shape)), np.full(records, np.inf)
    for day in range(days):
        levels = next_levels(levels, sums[:, day])
        alarms = (evidence_level(levels) >= THRESHOLD).any(axis=-1)
        found = np.where(alarms & np.isinf(found), day + 1, found)
    return found


def overstated(records: int, days: int, seed: int) -> Floats:
    """Sums of days whose traded signals state 0.75 to 0.85 and of which 0.65 come true, all of a ticker's together; up to six
    of a ticker and day, and as many for each ticker."""
    rng = np.random.default_rng(seed)
    own, common = (rng.standard_normal((records, days, tickers)) for tickers in (3, 1))
    came_true = np.sqrt(BETWEEN_TICKERS) * common + np.sqrt(1 - BETWEEN_TICKERS) * own < ndtri(0.65)
    stated = rng.uniform(0.75, 0.85, (records, days, 3, MOST_TRADED))
    there = np.arange(MOST_TRADED) < rng.integers(0, MOST_TRADED + 1, (records, days, 1, 1))
    excess = ((stated - came_true[..., None]) * there).sum(axis=-1)
    return np.stack([excess / MOST_STATEMENTS, excess / MOST_TRADED], axis=-1)


def test_the_simulated_sums_are_those_of_the_statements() -> None:
    stated = moving_markets(1, 5, seed=1)
    rows = stated.statements("QQQ")
    for number in range(5):
        of_day = [row for row in rows if row.day == FIRST + timedelta(days=number)]
        assert day_sums(of_day) == pytest.approx(stated.sums()[0, number, 1])


def test_records_that_keep_what_they_state_raise_a_false_alarm_every_two_years_at_most() -> None:
    """All three tickers together, whose hours and prices depend on each other."""
    found = days_to_alarm(moving_markets(100, 1500, seed=2).sums())
    alarms, days = np.isfinite(found).sum(), np.minimum(found, 1500).sum()
    assert alarms >= 50, "a test that never raises an alarm shows nothing"
    assert alarms / days < 1 / RUN_LENGTH_DAYS


def test_0_65_where_0_75_to_0_85_are_stated_is_found_within_half_a_year() -> None:
    found = days_to_alarm(overstated(200, 252, seed=3))
    assert np.median(found) < 84
    assert np.quantile(found, 0.9) < 168


def test_a_record_that_keeps_what_it_states_raises_no_alarm_and_its_intervals_hold_what_it_stated() -> None:
    stated = moving_markets(1, 250, seed=4)
    found = evidence(stated.statements())
    assert (found.days, found.alarms, found.contradicts) == (250, [], None)
    scored = score([row for ticker in ("SPY", "QQQ", "IWM") for row in stated.statements(ticker)])
    assert scored is not None
    assert scored.traded is not None
    assert scored.traded.interval is not None
    assert scored.traded.interval.low < scored.traded.stated < scored.traded.interval.high
    for loss in (scored.log_loss, scored.brier):
        assert loss.difference is not None
        assert loss.difference.low < 0 < loss.difference.high
    covered = [
        b.interval.low <= b.stated <= b.interval.high for b in scored.bins if b.interval and b.stated is not None
    ]
    assert len(covered) == 10
    assert sum(covered) >= 8


def test_a_record_that_is_too_sure_is_contradicted_from_the_day_of_the_alarm_on() -> None:
    rows = moving_markets(1, 100, seed=5, sure=2.0).statements()
    found = evidence(rows)
    assert found.contradicts is not None
    assert found.contradicts.side is Side.TOO_SURE
    assert found.contradicts == found.alarms[0]
    before = evidence([row for row in rows if row.day < found.contradicts.day])
    assert (before.alarms, before.contradicts) == ([], None)
    scored = score(rows)
    assert scored is not None
    assert scored.traded is not None
    assert scored.traded.interval is not None
    assert scored.traded.interval.high < scored.traded.stated
    assert scored.log_loss.difference is not None
    assert scored.log_loss.difference.low > 0


def test_a_record_that_is_not_sure_enough_is_found_too() -> None:
    found = evidence(moving_markets(1, 500, seed=6, sure=0.5).statements())
    assert found.alarms
    assert {alarm.side for alarm in found.alarms} == {Side.NOT_SURE_ENOUGH}


def test_an_alarm_ends_a_quarter_after_the_last_one_if_the_record_keeps_what_it_states_again() -> None:
    broken = moving_markets(1, 150, seed=7, sure=2.0).statements()
    last = evidence(broken).alarms[-1].day
    broken = [row for row in broken if row.day <= last]
    kept = [
        replace(row, day=last + (row.day - FIRST) + timedelta(days=1))
        for row in moving_markets(1, STANDS_DAYS, seed=8).statements()
    ]
    nearly = [row for row in kept if row.day < last + timedelta(days=STANDS_DAYS)]
    assert evidence([*broken, *nearly]).contradicts is not None
    ended = evidence([*broken, *kept])
    assert ended.contradicts is None
    assert ended.alarms[-1].day == last, "and what was, is still told"


def test_fewer_days_than_a_month_of_sessions_give_no_figure() -> None:
    rows = moving_markets(1, LEAST_DAYS, seed=9).statements()
    assert score(rows) is not None
    assert score([row for row in rows if row.day > FIRST]) is None
    assert score([]) is None
    assert (evidence([]).days, evidence([]).level) == (0, 0.0)


def test_a_bin_without_statements_is_there_and_says_so() -> None:
    rows = [replace(row, probability=0.55) for row in moving_markets(1, LEAST_DAYS, seed=10).statements()]
    scored = score(rows)
    assert scored is not None
    empty = [b for b in scored.bins if not b.statements]
    assert len(empty) == 9
    assert {(b.stated, b.observed, b.interval) for b in empty} == {(None, None, None)}
    assert scored.bins[5].stated == pytest.approx(0.55)


def test_a_bin_whose_outcomes_are_all_the_same_has_no_interval() -> None:
    """A bootstrap cannot say how far off it may be."""
    rows = [replace(row, probability=0.97, reached=True) for row in moving_markets(1, 30, seed=11).statements()]
    scored = score(rows)
    assert scored is not None
    assert (scored.bins[9].observed, scored.bins[9].interval) == (1.0, None)


def test_the_order_of_the_statements_changes_no_figure() -> None:
    rows = moving_markets(1, 60, seed=12).statements()
    shuffled: Sequence[Statement] = random.Random(1).sample(rows, len(rows))
    assert score(shuffled) == score(rows)
    assert evidence(shuffled) == evidence(rows)


def test_a_signal_states_target_a_and_from_11_on_target_b_which_is_then_the_one_that_is_traded() -> None:
    early, late = statements_of(decision(0.8, hour=10), 98.0), statements_of(decision(0.8, 0.2), 98.5)
    assert [(s.target, s.probability, s.reached, s.traded) for s in early] == [("A", 0.8, False, True)]
    assert [(s.target, s.probability, s.reached, s.traded) for s in late] == [
        ("A", 0.8, True, False),
        ("B", 0.2, False, True),
    ]
