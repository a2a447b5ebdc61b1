"""Training rows of the swing models out of daily bars, and the fitting procedure, the same for every fold and for what ships.

One procedure, frozen, for each horizon: candidates are fitted on the first 80 % of the training days and judged by log-loss on
the last 20 % (the inner validation), with the horizon purged and kept free between the two; the simplest within one standard
error of the best wins, and the base rate is the simplest of all. How far the winner may move the base rate is fitted there
too. scikit-learn is needed here and nowhere at serving time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from app.errors import BrokenData, Unavailable
from app.market.bars import Bars, Bools, Floats, Ints
from app.market.calendar import Calendar, day_of_ms
from app.model.one_thread import one_thread
from app.model.scoring import by_day, losses, simplest
from app.model.swing import HORIZONS, Horizon
from app.model.swing_features import FEATURES, MIN_DAYS, swing_features
from app.model.v6 import probabilities

INNER_VALIDATION = 0.2
BLOCK_DAYS = 21
"""Length of the blocks in which days are resampled, a month: labels of neighbouring days overlap for a horizon at most."""

C_GRID = (0.001, 0.01, 0.1)
WEIGHTS = tuple(step / 10 for step in range(11))
VIX = "VIX"
VIX_INPUTS = ("vix", "vix_ratio_20d")
"""The close of the index on day t, and that against its mean of the 20 days before. For comparison alone: the server has no
VIX on every plan, so that nothing which is served may read it."""

INPUTS = FEATURES + VIX_INPUTS
VIX_DAYS = 20
VOLATILITY = ("volatility_20d",)
FEW = ("volatility_20d", "return_5d", "return_20d", "return_252d", "rsi_14")


@dataclass(frozen=True, slots=True)
class SwingRows:
    """Samples, one per (trading day, ticker), ascending in time; all columns have length n.

    day (ordinal); place: position of the day among all trading days; ticker: position in the tickers; x (n, len(INPUTS)), NaN
    where there is no VIX; up (n, 4): closes after HORIZONS > close of the day; known (n, 4): whether that close is among the
    bars; tie (n, 4).
    """

    day: Ints
    place: Ints
    ticker: Ints
    x: Floats
    up: Bools
    known: Bools
    tie: Bools

    def __len__(self) -> int:
        return len(self.day)

    def where(self, mask: Bools) -> SwingRows:
        return SwingRows(*(getattr(self, field.name)[mask] for field in fields(self)))


class Samples(NamedTuple):
    """The rows of one horizon with their labels, and the weights that give each day 1."""

    rows: SwingRows
    y: Bools
    weights: Floats
    horizon: int

    def where(self, mask: Bools) -> Samples:
        return Samples(self.rows.where(mask), self.y[mask], self.weights[mask], self.horizon)

    @property
    def base_rate(self) -> float:
        return float(np.average(self.y, weights=self.weights))


class Candidate(NamedTuple):
    """One thing to try: the inputs and the inverse strength of the L2 penalty; without inputs it is the base rate."""

    name: str
    inputs: tuple[str, ...]
    c: float


BASE = Candidate("base rate", (), 1.0)


class Choice(NamedTuple):
    """A fitted horizon and the candidate that it is."""

    candidate: Candidate
    model: Horizon


def candidates() -> list[Candidate]:
    """What the inner validation chooses from, the simplest first."""
    sets = (("logistic, volatility", VOLATILITY), ("logistic, few", FEW), ("logistic, all", FEATURES))
    return [BASE, *(Candidate(name, inputs, c) for name, inputs in sets for c in C_GRID)]


def build_rows(
    daily: Mapping[str, Bars], calendar: Calendar, vix: Bars | None = None
) -> tuple[SwingRows, dict[str, list[str]]]:
    """Samples of all completed days of all tickers, and what was left out: {reason: [days]}."""
    fear = {} if vix is None else _vix_inputs(vix)
    excluded: dict[str, list[str]] = {}
    collected: list[tuple[Any, ...]] = []
    for number, (ticker, bars) in enumerate(daily.items()):
        days = calendar.trading_days(day_of_ms(int(bars.t[0])), day_of_ms(int(bars.t[-1])))
        closes = {day_of_ms(ms): close for ms, close in zip(bars.t.tolist(), bars.c.tolist(), strict=True)}
        for last in range(MIN_DAYS, len(days) + 1):
            try:
                found = swing_features(bars, days[last - MIN_DAYS : last])
            except Unavailable as exc:
                excluded.setdefault(exc.message, []).append(f"{ticker} {days[last - 1]}")
                continue
            later = [days[last - 1 + h] if last - 1 + h < len(days) else None for h in HORIZONS]
            x = (*found.values, *fear.get(found.day, (np.nan, np.nan)))
            collected.append((found.day.toordinal(), number, x, *_labels(closes, found.day, later)))
    if not collected:
        raise BrokenData("the bars give no training row")
    collected.sort(key=lambda row: row[:2])
    days_of, tickers, inputs, up, known, tie = (np.array(column) for column in zip(*collected, strict=True))
    _, place = np.unique(days_of, return_inverse=True)
    return SwingRows(days_of, place, tickers, inputs, up, known, tie), excluded


def _vix_inputs(vix: Bars) -> dict[date, tuple[float, float]]:
    days = [day_of_ms(ms) for ms in vix.t.tolist()]
    return {
        days[i]: (float(vix.c[i]), float(vix.c[i] / vix.c[i - VIX_DAYS : i].mean())) for i in range(VIX_DAYS, len(days))
    }


def _labels(
    closes: Mapping[date, float], day: date, later: Sequence[date | None]
) -> tuple[list[bool], list[bool], list[bool]]:
    """Per horizon whether the later close is higher, whether it is known, and whether both are the same."""
    ends = [np.nan if end is None else closes.get(end, np.nan) for end in later]
    return [c > closes[day] for c in ends], [c == c for c in ends], [c == closes[day] for c in ends]


def samples_of(rows: SwingRows, horizon: int, last: date = date.max) -> Samples:
    """The rows whose label of a horizon is known by the close of `last`."""
    column = HORIZONS.index(horizon)
    end = int(rows.place[rows.day <= last.toordinal()].max())
    chosen = rows.where(rows.known[:, column] & (rows.place + horizon <= end))
    return Samples(chosen, chosen.up[:, column], day_weights(chosen), horizon)


def day_weights(rows: SwingRows) -> Floats:
    """1 / (rows of that day): the tickers of a day are one observation."""
    _, inverse, counts = np.unique(rows.place, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[inverse])


def before(samples: Samples, place: int) -> Samples:
    """What may be trained on when days from `place` on are to be predicted: labels that end more than a horizon before it."""
    return samples.where(samples.rows.place + 2 * samples.horizon < place)


def fit_horizon(samples: Samples, choice: Sequence[Candidate]) -> Choice:
    """The frozen procedure on the training samples of one horizon."""
    days = np.unique(samples.rows.place)
    split = int(days[int(len(days) * (1 - INNER_VALIDATION))])
    train, held = before(samples, split), samples.where(samples.rows.place >= split)
    fitted = [fit(train, candidate) for candidate in choice]
    found = [by_day(losses(predict(model, held.rows), held.y), held.rows.place) for model in fitted]
    chosen = simplest(found, _standard_error)
    weight = _weight(fitted[chosen], held) if choice[chosen].inputs else 0.0
    return Choice(choice[chosen], fit(samples, choice[chosen], weight))


def fit(samples: Samples, candidate: Candidate, weight: float = 1.0) -> Horizon:
    """One candidate on these samples."""
    from sklearn.linear_model import LogisticRegression

    columns = np.array([INPUTS.index(name) for name in candidate.inputs], dtype=np.int64)
    x = samples.rows.x[:, columns]
    if not len(columns):
        return Horizon(samples.base_rate, 0.0, columns, np.zeros(0), np.ones(0), np.zeros(0), 0.0)
    center, scale = x.mean(axis=0), x.std(axis=0)
    model = LogisticRegression(C=candidate.c, solver="newton-cholesky", max_iter=100, tol=1e-8)
    with one_thread():
        model.fit((x - center) / scale, samples.y, sample_weight=samples.weights)
    return Horizon(samples.base_rate, weight, columns, center, scale, model.coef_[0], float(model.intercept_[0]))


def predict(model: Horizon, rows: SwingRows) -> Floats:
    """`Horizon.probability` for every row."""
    x = (rows.x[:, model.columns] - model.center) / model.scale
    p = probabilities(x @ model.coef + model.intercept)
    return np.asarray(model.base_rate + model.weight * (p - model.base_rate))


def _standard_error(daily: Floats) -> float:
    """Of the mean of days, whose neighbours are not independent: by the means of blocks."""
    whole = len(daily) // BLOCK_DAYS
    means = daily[len(daily) - whole * BLOCK_DAYS :].reshape(whole, BLOCK_DAYS).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(whole))


def _weight(model: Horizon, held: Samples) -> float:
    """How far towards the regression the inner validation wants to go; 0 if it is not better than the base rate."""
    p = predict(model, held.rows)
    shrunk = [model.base_rate + weight * (p - model.base_rate) for weight in WEIGHTS]
    found = [float(np.average(losses(values, held.y), weights=held.weights)) for values in shrunk]
    return WEIGHTS[int(np.argmin(found))]
