"""Rows, procedure and walk-forward of the swing models: what a fold may know, and that only what is shown better is served."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from app.market.bars import Bars, Bools, Floats
from app.market.calendar import midnight_ms
from app.model import swing_evaluation as evaluation
from app.model.scoring import by_day
from app.model.swing import HORIZONS
from app.model.swing_features import FEATURES, MIN_DAYS
from app.model.swing_training import (
    INPUTS,
    SwingRows,
    before,
    build_rows,
    candidates,
    fit_horizon,
    predict,
    samples_of,
)
from tests.model.test_swing_features import upto, walk
from tests.support import CALENDAR

YEARS = 12


def synthetic(seed: int = 3, effect: float = 0.0, leak: bool = False, tickers: int = 2) -> SwingRows:
    """Rows of trading days of YEARS years whose labels follow the first feature as far as `effect` says."""
    rng = np.random.default_rng(seed)
    days = CALENDAR.trading_days(date(2001, 1, 2), date(2001 + YEARS - 1, 12, 31))
    place = np.repeat(np.arange(len(days)), tickers)
    x = rng.normal(size=(len(place), len(INPUTS)))
    p = 1 / (1 + np.exp(-(0.15 + effect * x[:, [0] * len(HORIZONS)])))
    up: Bools = rng.random((len(place), len(HORIZONS))) < p
    if leak:
        x[:, 0] = up[:, HORIZONS.index(5)] + rng.normal(size=len(place)) / 4
    ends = np.stack([place + horizon < len(days) for horizon in HORIZONS], axis=1)
    ordinals = np.array([day.toordinal() for day in days])[place]
    return SwingRows(ordinals, place, np.tile(np.arange(tickers), len(days)), x, up, ends, np.zeros_like(up))


def reported(rows: SwingRows, last: date = date(2007, 12, 31)) -> Any:
    """The report of the 5-day horizon; the first test year is 2006."""
    tickers = ("SPY", "QQQ")[: len(np.unique(rows.ticker))]
    return evaluation.report(evaluation.years_of(samples_of(rows, 5, last)), tickers)


@pytest.fixture
def without_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that ask for nothing of the boosted trees of the table, whose fits take longest: they say the base rate."""
    monkeypatch.setattr(evaluation, "_boosted", lambda past: past.base_rate)
    monkeypatch.setattr(evaluation, "_probabilities", lambda rate, block: np.full(len(block), rate))


@pytest.fixture(scope="module")
def real() -> tuple[SwingRows, Bars]:
    bars = walk(date(2019, 1, 2), date(2021, 12, 31))
    rows, excluded = build_rows({"SPY": bars, "QQQ": bars[400:]}, CALENDAR)
    assert not excluded
    return rows, bars


def test_rows_are_one_per_day_and_ticker_from_the_first_day_with_enough_history(real: tuple[SwingRows, Bars]) -> None:
    rows, bars = real
    keys = list(zip(rows.day.tolist(), rows.ticker.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert keys == sorted(keys)
    assert (rows.ticker == 0).sum() == len(bars) - MIN_DAYS + 1
    assert (rows.ticker == 1).sum() == len(bars) - 400 - MIN_DAYS + 1
    assert np.isfinite(rows.x[:, : len(FEATURES)]).all()


def test_labels_compare_the_close_with_the_one_after_as_many_trading_days(real: tuple[SwingRows, Bars]) -> None:
    rows, bars = real
    spy = rows.where(rows.ticker == 0)
    for column, horizon in enumerate(HORIZONS):
        known = spy.known[:, column]
        assert not known[-horizon:].any()
        assert known[:-horizon].all()
        later, now = bars.c[MIN_DAYS - 1 + horizon :], bars.c[MIN_DAYS - 1 : len(bars) - horizon]
        assert (spy.up[known, column] == (later > now)).all()


def test_the_future_deleted_changes_no_row(real: tuple[SwingRows, Bars]) -> None:
    rows, bars = real
    day = date(2020, 9, 16)
    shorter, _ = build_rows({"SPY": upto(bars, day)}, CALENDAR)
    same = rows.where((rows.ticker == 0) & (rows.day <= day.toordinal()))
    assert shorter.x.tobytes() == same.x.tobytes()
    assert (shorter.known.sum(axis=0) == len(same) - np.array(HORIZONS)).all(), "later closes are not labels"


def test_a_day_without_its_bar_has_no_row_and_is_no_label() -> None:
    bars, gap = walk(date(2019, 1, 2), date(2020, 12, 31)), date(2020, 12, 16)
    rows, excluded = build_rows({"SPY": bars.where(bars.t != midnight_ms(gap))}, CALENDAR)
    assert rows.day.max() < gap.toordinal(), "every later day reads it"
    assert f"the daily bar of {gap} is missing" in excluded
    last = rows.known[rows.day == date(2020, 12, 15).toordinal()][0]
    assert last.tolist() == [False, True, True, True]


@pytest.mark.parametrize("horizon", HORIZONS)
def test_what_is_trained_on_ends_a_horizon_before_what_is_predicted(horizon: int) -> None:
    samples = samples_of(synthetic(), horizon)
    start = int(samples.rows.place[samples.rows.day >= date(2009, 1, 2).toordinal()][0])
    past = before(samples, start)
    label_ends = past.rows.place + horizon
    assert label_ends.max() + horizon == start - 1, "the label's days purged, and as many kept free"


def test_no_close_after_the_last_day_is_a_label() -> None:
    rows, last = synthetic(), date(2010, 6, 30)
    for horizon in HORIZONS:
        samples = samples_of(rows, horizon, last)
        end = int(rows.place[rows.day <= last.toordinal()].max())
        assert samples.rows.place.max() + horizon == end


@pytest.mark.soak
def test_later_years_never_change_what_was_said_of_earlier_ones() -> None:
    rows = synthetic(effect=0.4)
    cut = date(2010, 1, 4).toordinal()
    other = replace(
        rows, x=np.where((rows.day >= cut)[:, None], -rows.x, rows.x), up=rows.up ^ (rows.day >= cut)[:, None]
    )
    one, two = (evaluation.years_of(samples_of(r, 5, date(2010, 3, 31))) for r in (rows, other))
    for year in range(2006, 2010):
        assert one[year].p.tobytes() == two[year].p.tobytes()
        assert one[year].served.tobytes() == two[year].served.tobytes()
    assert one[2010].choice.model.base_rate == two[2010].choice.model.base_rate, "purged: no label of 2010 is known"


def test_shuffled_labels_give_chance_and_the_base_rate_is_served() -> None:
    rows = synthetic(effect=0.4)
    order = np.random.default_rng(8).permutation(len(rows))
    found = reported(replace(rows, up=rows.up[order]))
    assert (found["skill_low"], found["skill"], found["skill_high"]) == (0.0, 0.0, 0.0)
    assert found["log_loss"] == found["base_log_loss"]
    chosen = found["baselines"][evaluation.CHOSEN]
    assert abs(chosen["gain"]) < 0.002
    assert 0.45 < found["auc"] < 0.55


@pytest.mark.usefixtures("without_trees")
def test_a_feature_that_holds_the_label_is_caught() -> None:
    """If a leak came in, the walk-forward would cry out."""
    found = reported(synthetic(leak=True))
    assert found["baselines"]["logistic, all inputs"]["gain"] > 0.3


@pytest.mark.usefixtures("without_trees")
def test_a_real_effect_is_served_once_the_years_before_have_shown_it() -> None:
    found = reported(synthetic(effect=0.5), date(2012, 12, 31))
    years = found["years"]
    assert [years[str(y)]["served"] for y in range(2006, 2013)] == [False] * 5 + [True] * 2
    assert found["skill_low"] > 0
    assert years["2012"]["log_loss"] < years["2012"]["base_log_loss"]
    assert years["2008"]["log_loss"] == years["2008"]["base_log_loss"]


def test_noise_is_left_at_the_base_rate_and_an_effect_is_not() -> None:
    noise, effect = (fit_horizon(samples_of(synthetic(effect=size), 3), candidates()) for size in (0.0, 0.5))
    assert (noise.candidate.name, noise.model.weight) == ("base rate", 0.0)
    assert effect.candidate.inputs
    assert effect.model.weight > 0.5


def test_days_weigh_the_same_whatever_the_number_of_tickers() -> None:
    rows = synthetic()
    lonely = rows.where((rows.ticker == 0) | (rows.place % 2 == 0))
    samples = samples_of(lonely, 1)
    assert samples.weights[samples.rows.place == 7].tolist() == [1.0]
    assert samples.weights[samples.rows.place == 8].tolist() == [0.5, 0.5]
    assert samples.base_rate == pytest.approx(float(by_day(samples.y.astype(float), samples.rows.place).mean()))


def test_fitting_twice_gives_the_same_bits() -> None:
    samples = samples_of(synthetic(effect=0.3), 10)
    one, two = (fit_horizon(samples, candidates()) for _ in range(2))
    assert one.candidate == two.candidate
    for name in ("center", "scale", "coef"):
        assert getattr(one.model, name).tobytes() == getattr(two.model, name).tobytes()


@pytest.mark.soak
def test_the_trees_of_the_comparison_are_the_same_each_time() -> None:
    """With more than 10,000 rows scikit-learn draws some to see when to stop."""
    samples = samples_of(synthetic(effect=0.3, tickers=8), 5)
    assert len(samples.y) > 10_000
    one, two = (evaluation._probabilities(evaluation._boosted(samples), samples.rows) for _ in range(2))
    assert one.tobytes() == two.tobytes()


def test_training_and_serving_give_the_same_probability() -> None:
    samples = samples_of(synthetic(effect=0.5), 5)
    model = fit_horizon(samples, candidates()).model
    together: Floats = predict(model, samples.rows)
    one_by_one = [model.probability(x) for x in samples.rows.x[:200, : len(FEATURES)]]
    assert together[:200].tolist() == pytest.approx(one_by_one, abs=1e-12)


def test_nothing_that_is_chosen_from_reads_the_vix() -> None:
    """The server has none on every plan."""
    assert not {name for candidate in candidates() for name in candidate.inputs} - set(FEATURES)


@pytest.mark.usefixtures("without_trees")
def test_the_intervals_resample_whole_months_and_days_as_one() -> None:
    """Doubling the tickers of a day, all alike, does not make an interval narrower."""
    one = synthetic(effect=0.2, tickers=1)
    doubled = SwingRows(*(np.repeat(getattr(one, name), 2, axis=0) for name in SwingRows.__slots__))
    doubled = replace(doubled, ticker=np.tile([0, 1], len(one)))
    first, second = (reported(rows)["baselines"]["logistic, few inputs"] for rows in (one, doubled))
    for end in ("gain_low", "gain_high"):
        assert first[end] == pytest.approx(second[end], abs=2e-4)
