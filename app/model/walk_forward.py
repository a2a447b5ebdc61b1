"""Walk-forward (v6.md 7): expanding window, one calendar quarter per test block, every baseline beside the model.

What comes out is the probability that each rule gave each test row, before any of it is judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from app.errors import BrokenData
from app.market.bars import Bools, Floats
from app.market.calendar import ONE_DAY
from app.model.features import DECISION_HOURS, INPUTS
from app.model.samples import Rows, joined, slot_rows
from app.model.scoring import LEAST_DAYS
from app.model.training import Choice, Fitted, choose, day_weights, fit, fit_slot, logistic, slot_probabilities
from app.model.v6 import SLOTS, SlotName, probabilities

FIRST_TEST = date(2022, 1, 1)
"""Start of the first test block: about 350 training days lie before it in the recorded data."""

LAST_TEST = date(2024, 12, 31)
"""The first evaluation ends here; later rows are used once, when the full model is done (ruling L5)."""

EMBARGO_DAYS = 1
LEAST_BLOCKS = 8


class Block(NamedTuple):
    """One test block: first day, the day after the last, name."""

    start: date
    end: date
    name: str

    @property
    def last(self) -> date:
        return self.end - ONE_DAY


@dataclass(frozen=True, slots=True)
class Scored:
    """Test rows of one slot with the probabilities that the model and the baselines gave them, all (n,).

    y: whether the target came true; p: the model; base: B0, walk: B2, walk_v: B2v, b3: B3; now, now_base: B4 and its base rate
    """

    rows: Rows
    y: Bools
    p: Floats
    base: Floats
    walk: Floats
    walk_v: Floats
    b3: Floats
    now: Floats
    now_base: Floats
    quarter: Any

    def where(self, mask: Bools) -> Scored:
        """The rows for which `mask` holds."""
        rest = (getattr(self, field.name)[mask] for field in fields(self)[1:])
        return Scored(self.rows.where(mask), *rest)


@dataclass(frozen=True, slots=True)
class WalkForward:
    """The scored rows of each slot; by the name of each block what was fitted for it, and its test rows."""

    scored: Mapping[SlotName, Scored]
    fitted: Mapping[str, Fitted]
    tests: Mapping[str, Rows]


def walk_forward(rows: Rows, blocks: Sequence[Block], choice: Choice | None = None) -> WalkForward:
    """Every block, trained on the days before it. choice: what to fit; None to choose anew before each block."""
    parts: dict[SlotName, list[Scored]] = {name: [] for name in SLOTS}
    fitted, tests = {}, {}
    for block in blocks:
        past, test = split(rows, block)
        if not len(test):
            continue
        fitted[block.name] = model = fit(past, choice or choose(past))
        tests[block.name] = test
        for name in SLOTS:
            parts[name].append(_score(model, past, slot_rows(test, name), name, block))
    return WalkForward({name: together(part) for name, part in parts.items()}, fitted, tests)


def score_span(model: Fitted, rows: Rows, first: date, last: date) -> WalkForward:
    """The rows of first .. last as one block, by a model that is fitted already; the baselines are fitted on the days before.
    Raises BrokenData if the span has too few days, or there are none before it."""
    block = Block(first, last + ONE_DAY, f"{first}..{last}")
    days = np.unique(split_test(rows, block).day)
    if len(days) < LEAST_DAYS or rows.day.min() >= first.toordinal() - LEAST_DAYS:
        raise BrokenData(
            f"the recorded bars have fewer than {LEAST_DAYS} days in {block.name}, or too few before it for the baselines"
        )
    past, test = split(rows, block)
    scored = {name: _score(model, past, slot_rows(test, name), name, block) for name in SLOTS}
    return WalkForward(scored, {block.name: model}, {block.name: test})


def blocks_between(first: date, last: date) -> list[Block]:
    """The calendar quarters that lie in first .. last, or its months where these are fewer than LEAST_BLOCKS quarters (v6.md
    7). The first one begins with `first`, the last one ends with `last`."""
    quarters = list(_periods(first, last, 3))
    return quarters if len(quarters) >= LEAST_BLOCKS else list(_periods(first, last, 1))


def _periods(first: date, last: date, months: int) -> Iterator[Block]:
    start = first
    while start <= last:
        month = (start.month - 1) // months * months + months + 1
        end = date(start.year + (month > 12), (month - 1) % 12 + 1, 1)
        name = f"{start.year}Q{(start.month + 2) // 3}" if months == 3 else f"{start:%Y-%m}"
        yield Block(start, min(end, last + ONE_DAY), name)
        start = end


def split(rows: Rows, block: Block) -> tuple[Rows, Rows]:
    """The rows before a block, less the embargo, and those in it."""
    days = np.unique(rows.day)
    before = days[days < block.start.toordinal()]
    return rows.where(rows.day < before[-EMBARGO_DAYS]), split_test(rows, block)


def split_test(rows: Rows, block: Block) -> Rows:
    """The rows in a block."""
    return rows.where((rows.day >= block.start.toordinal()) & (rows.day < block.end.toordinal()))


def _score(model: Fitted, past: Rows, test: Rows, name: SlotName, block: Block) -> Scored:
    chosen = slot_rows(past, name)
    log_variance = model.log_variance(test)
    distance = np.log(test.price / test.reference(name))
    return Scored(
        rows=test,
        y=test.labels(name),
        p=model.probabilities(name, test),
        base=base_rates(chosen, chosen.labels(name), test),
        walk=random_walk(chosen, test, name),
        walk_v=normal_cdf(distance * np.exp(-0.5 * log_variance)),
        b3=_b3(chosen, test, name),
        now=_close_above_now(model, past, test, name),
        now_base=base_rates(chosen, chosen.now, test),
        quarter=np.full(len(test), block.name),
    )


def random_walk(past: Rows, test: Rows, name: SlotName) -> Floats:
    """Baseline B2: phi(ln(P/ref) / (sigma * sqrt(v_H))), v_H from the ticker's training days only."""
    v = _by_ticker_and_hour(past, past.remaining, test)
    return normal_cdf(np.log(test.price / test.reference(name)) / (test.sigma * np.sqrt(v)))


def base_rates(past: Rows, y: Bools, test: Rows) -> Floats:
    """Baseline B0: how often a label came true at the ticker's hour on the training days."""
    return _by_ticker_and_hour(past, y.astype(np.float64), test)


def _by_ticker_and_hour(past: Rows, values: Floats, test: Rows) -> Floats:
    """The mean of `values` over the training rows of each test row's ticker and hour, (n,)."""
    found = np.full(len(test), np.nan)
    for ticker in np.unique(test.ticker):
        for hour in DECISION_HOURS:
            at = (past.ticker == ticker) & (past.hour == hour)
            if at.any():
                found[(test.ticker == ticker) & (test.hour == hour)] = values[at].mean()
    return found


def _b3(past: Rows, test: Rows, name: SlotName) -> Floats:
    """Baseline B3: logistic regression on ln(P/ref)/sigma, time_pct and gap/sigma, per ticker."""
    found = np.empty(len(test))
    columns = [INPUTS.index(column) for column in b3_inputs(name)]
    for ticker in np.unique(test.ticker):
        own, at = past.where(past.ticker == ticker), test.ticker == ticker
        design, asked = (np.column_stack([x[:, columns], np.ones(len(x))]) for x in (own.x, test.x[at]))
        theta = logistic(design, own.labels(name), day_weights(own), np.ones(design.shape[1]))
        found[at] = probabilities(asked @ theta)
    return found


def b3_inputs(name: SlotName) -> tuple[str, ...]:
    """Inputs of baseline B3 for a slot (v6.md 7)."""
    return ("p11_move_sigma" if name == "late_b" else "open_move_sigma", "time_pct", "gap_sigma")


def _close_above_now(model: Fitted, past: Rows, test: Rows, name: SlotName) -> Floats:
    """Baseline B4: what the slot reads, fitted on whether the close is above the price at the decision."""
    slots = fit_slot(past, model.log_variance(past), name, model.choice.candidates[name], past.now)
    return slot_probabilities(slots, test, model.log_variance(test))


def normal_cdf(z: Floats) -> Floats:
    """The distribution function of the standard normal distribution."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def together(parts: Sequence[Scored]) -> Scored:
    """The rows of all parts, one after the other."""
    rest = (np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Scored)[1:])
    return Scored(joined([part.rows for part in parts]), *rest)
